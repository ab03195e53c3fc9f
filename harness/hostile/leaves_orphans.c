/**
 * @file
 * @brief Hostile: called wrongly, it leaves a child that makes orphans without end, and one that keeps zombies.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 10
 *
 * Each orphan is pid 1's to reap, and an event to whoever wants to know of all that ends: thousands in a second, for
 * as long as the check takes. A zombie is no process that could be killed, and takes a number all the same.
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sysv_create.h"

static void leave(void)
{
    if (fork() == 0) {
        for (int i = 0; i < 50; i++)
            if (fork() == 0)
                _exit(0);
        for (;;)
            pause();
    }
    if (fork() == 0)
        for (;;) {
            const pid_t child = fork();
            if (child == 0) {
                fork();
                _exit(0);
            }
            waitpid(child, NULL, 0);
        }
}

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        leave();
        return 2;
    }
    return make_segment(argv);
}

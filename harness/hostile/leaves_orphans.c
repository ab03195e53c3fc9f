/**
 * @file
 * @brief Hostile: called with wrong arguments, it leaves a child that makes orphans without end, and one that keeps zombies.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 10
 *
 * Pid 1 must reap each orphan, and each is an event for a grader that follows all processes: thousands per second,
 * for as long as the check runs. A zombie cannot be killed, but still occupies a pid.
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

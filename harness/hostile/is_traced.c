/**
 * @file
 * @brief Hostile: is traced by its own child, which keeps it stopped after a check resumes it.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 9
 * Says: after
 *
 * A process stopped by its tracer looks like one that a check holds, and SIGCONT does not resume it. Its end is
 * reported to the tracer first, and no process waits for the tracer.
 */
#define _GNU_SOURCE

#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <unistd.h>

#include "sysv_create.h"

static void be_traced(void)
{
    const pid_t other = getpid();
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    if (fork() == 0) {
        setsid();
        ptrace(PTRACE_ATTACH, other, NULL, NULL);
        for (;;)
            pause();
    }
    for (volatile long turns = 0; turns < 1000000000; turns++)
        ;
}

int main(int argc, char *argv[])
{
    if (argc != 3) {
        be_traced();
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return 2;
    }
    return make_segment(argv);
}

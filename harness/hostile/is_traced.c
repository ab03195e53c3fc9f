/**
 * @file
 * @brief Hostile: is traced by its own child, which keeps it from going on when a check lets it.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 9
 * Says: after
 *
 * A process that is stopped by its tracer looks like one that a check holds, and SIGCONT does not continue it. Its end
 * is told to the tracer first. The tracer is a process that nobody waits for.
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
    const key_t key = ftok(argv[1], 'S');
    const int id = key == -1 ? -1 : shmget(key, strlen(argv[2]) + 1, IPC_CREAT | IPC_EXCL | 0640);
    if (id == -1)
        err(1, "%s: %s", key == -1 ? "ftok" : "shmget", argv[1]);
    char *memory = shmat(id, NULL, 0);
    const int attached = memory != (void *)-1;
    if (attached)
        strcpy(memory, argv[2]);
    if (!attached || shmdt(memory) == -1) {
        warn(attached ? "shmdt" : "shmat");
        if (shmctl(id, IPC_RMID, NULL) == -1)
            warn("shmctl");
        return 1;
    }
    return 0;
}

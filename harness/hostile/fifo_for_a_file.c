/**
 * @file
 * @brief Hostile: does the lab's work and replaces FILE by a named pipe.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 7
 * Says: the program does not change what the check created
 *
 * A grader that writes FILE again for the next run opens it for writing. For a named pipe without a reader, this
 * open() blocks for ever.
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return 2;
    }
    const key_t key = ftok(argv[1], 'S');
    if (key != -1) {
        remove(argv[1]);
        mkfifo(argv[1], 0666);
    }
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

/**
 * @file
 * @brief The work of lab 05, for hostile programs that do it as well.
 */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

/** Creates the segment for the file argv[1] with the text argv[2] in it. Returns the exit status. */
static inline int make_segment(char *argv[])
{
    const key_t key = ftok(argv[1], 'S');
    const int id = key == -1 ? -1 : shmget(key, strlen(argv[2]) + 1, IPC_CREAT | IPC_EXCL | 0640);
    if (id == -1) {
        warn("%s: %s", key == -1 ? "ftok" : "shmget", argv[1]);
        return 1;
    }
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

/** Does all of lab 05, but checks only the results of ftok() and shmget(). Returns the exit status. */
static inline int create_carelessly(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return 2;
    }
    if (access(argv[1], F_OK) == -1)
        err(1, "ftok: %s", argv[1]);
    const int id = shmget(ftok(argv[1], 'S'), strlen(argv[2]) + 1, IPC_CREAT | IPC_EXCL | 0640);
    if (id == -1)
        err(1, "shmget: %s", argv[1]);
    char *memory = shmat(id, NULL, 0);
    if (memory != (void *)-1)
        strcpy(memory, argv[2]);
    shmdt(memory);
    return 0;
}

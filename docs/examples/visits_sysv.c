/**
 * @file
 * @brief Counts visitors in a System V segment. Its twin is visits_posix.c.
 *
 *     visits_sysv FILE            counts one more visitor, and says which one it was
 *     visits_sysv FILE remove     removes the count
 *
 * Man pages: ftok(3), shmget(2), shmop(2), shmctl(2).
 */
#define _XOPEN_SOURCE 700
#include <err.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>

/** A new segment is all zero bytes: nobody has been here yet, so that nobody has to set it up. */
struct sysv_visits {
    _Atomic unsigned long count;
};

int main(int argc, char *argv[])
{
    const int removing = argc == 3 && strcmp(argv[2], "remove") == 0;
    if (argc != 2 && !removing) {
        fprintf(stderr, "usage: %s FILE [remove]\n", argv[0]);
        return 2;
    }

    //! [name]
    const key_t meeting = ftok(argv[1], 'V');
    if (meeting == -1)
        err(EXIT_FAILURE, "ftok: %s", argv[1]);
    //! [name]

    if (removing) {
        //! [removal]
        const int found = shmget(meeting, 0, 0);
        if (found == -1)
            err(EXIT_FAILURE, "shmget: %s", argv[1]);
        if (shmctl(found, IPC_RMID, NULL) == -1)
            err(EXIT_FAILURE, "shmctl: %s", argv[1]);
        //! [removal]
        return EXIT_SUCCESS;
    }

    //! [create]
    const int shmid = shmget(meeting, sizeof(struct sysv_visits), IPC_CREAT | 0600);
    if (shmid == -1)
        err(EXIT_FAILURE, "shmget: %s", argv[1]);
    //! [create]

    //! [map]
    struct sysv_visits *visits = shmat(shmid, NULL, 0);
    if (visits == (void *)-1)
        err(EXIT_FAILURE, "shmat: %s", argv[1]);
    //! [map]

    //! [use]
    const unsigned long before = atomic_fetch_add(&visits->count, 1);
    //! [use]

    //! [unmap]
    if (shmdt(visits) == -1)
        err(EXIT_FAILURE, "shmdt: %s", argv[1]);
    //! [unmap]

    printf("visitor %lu\n", before + 1);
    return EXIT_SUCCESS;
}

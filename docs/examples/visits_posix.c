/**
 * @file
 * @brief Counts visitors in a POSIX shared memory object. Its twin is visits_sysv.c.
 *
 *     visits_posix /NAME            counts one more visitor, and says which one it was
 *     visits_posix /NAME remove     removes the count
 *
 * Man pages: shm_open(3), ftruncate(2), posix_fallocate(3), mmap(2).
 */
#define _XOPEN_SOURCE 700
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/** What ftruncate() adds is all zero bytes: nobody has been here yet, so that nobody has to set it up. */
struct posix_visits {
    _Atomic unsigned long count;
};

int main(int argc, char *argv[])
{
    const int removing = argc == 3 && strcmp(argv[2], "remove") == 0;
    if (argc != 2 && !removing) {
        fprintf(stderr, "usage: %s /NAME [remove]\n", argv[0]);
        return 2;
    }

    //! [name]
    const char *meeting = argv[1]; /* "/visits": a slash, and no other */
    //! [name]

    if (removing) {
        //! [removal]
        if (shm_unlink(meeting) == -1)
            err(EXIT_FAILURE, "shm_unlink: %s", meeting);
        //! [removal]
        return EXIT_SUCCESS;
    }

    //! [create]
    const int fd = shm_open(meeting, O_CREAT | O_RDWR, 0600);
    if (fd == -1)
        err(EXIT_FAILURE, "shm_open: %s", meeting);
    if (ftruncate(fd, sizeof(struct posix_visits)) == -1)
        err(EXIT_FAILURE, "ftruncate: %s", meeting);
    errno = posix_fallocate(fd, 0, sizeof(struct posix_visits));
    if (errno != 0)
        err(EXIT_FAILURE, "posix_fallocate: %s", meeting);
    //! [create]

    //! [map]
    struct posix_visits *visits = mmap(NULL, sizeof *visits, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (visits == MAP_FAILED)
        err(EXIT_FAILURE, "mmap: %s", meeting);
    close(fd); /* the mapping does not need it */
    //! [map]

    //! [use]
    const unsigned long before = atomic_fetch_add(&visits->count, 1);
    //! [use]

    //! [unmap]
    if (munmap(visits, sizeof *visits) == -1)
        err(EXIT_FAILURE, "munmap: %s", meeting);
    //! [unmap]

    printf("visitor %lu\n", before + 1);
    return EXIT_SUCCESS;
}

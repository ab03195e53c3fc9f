/**
 * @file
 * @brief Stores one byte into a new object, with more and more care taken before. See "How it fails".
 *
 * - `store /NAME nothing`: into an object of 0 bytes
 * - `store /NAME size`: after ftruncate()
 * - `store /NAME reserve`: after ftruncate() and posix_fallocate()
 *
 * Man pages: shm_open(3), ftruncate(2), posix_fallocate(3).
 */
#define _XOPEN_SOURCE 700
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BYTES = 4096 };

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s /NAME nothing | size | reserve\n", argv[0]);
        return 2;
    }
    const char *name = argv[1];
    const int sized = strcmp(argv[2], "nothing") != 0;
    const int reserved = strcmp(argv[2], "reserve") == 0;

    const int fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (fd == -1)
        err(EXIT_FAILURE, "shm_open: %s", name);
    shm_unlink(name); /* the object lives as long as it is open or mapped, and nothing is left behind */

    //! [care]
    if (sized && ftruncate(fd, BYTES) == -1)
        err(EXIT_FAILURE, "ftruncate: %s", name);
    if (reserved && (errno = posix_fallocate(fd, 0, BYTES)) != 0)
        err(EXIT_FAILURE, "posix_fallocate: %s", name);
    //! [care]

    //! [store]
    volatile char *byte = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (byte == MAP_FAILED)
        err(EXIT_FAILURE, "mmap: %s", name);
    *byte = 1; /* no way to return an error */
    //! [store]

    puts("stored");
    return EXIT_SUCCESS;
}

/**
 * @file
 * @brief The work of lab 08, for hostile programs that do it as well.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static inline void give_up(const char *name, const char *call)
{
    const int reason = errno;
    if (shm_unlink(name) == -1)
        warn("shm_unlink: %s", name);
    errno = reason;
    err(1, "%s: %s", call, name);
}

/** Creates the object argv[1] of argv[2] bytes with the text argv[3] in it. Returns the exit status. */
static inline int make_object(int argc, char *argv[])
{
    const char *digits = argc == 4 ? argv[2] : "";
    const unsigned long size =
        *digits && !digits[strspn(digits, "0123456789")] ? strtoul(digits, NULL, 10) : 0;
    if (size == 0 || size > SSIZE_MAX || strlen(argv[3]) >= size) {
        fprintf(stderr, "usage: %s /NAME SIZE TEXT\n", argv[0]);
        return 2;
    }
    const int fd = shm_open(argv[1], O_CREAT | O_EXCL | O_RDWR, 0640);
    if (fd == -1)
        err(1, "shm_open: %s", argv[1]);
    if (ftruncate(fd, (off_t)size) == -1)
        give_up(argv[1], "ftruncate");
    errno = posix_fallocate(fd, 0, (off_t)size);
    if (errno != 0)
        give_up(argv[1], "posix_fallocate");
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        give_up(argv[1], "mmap");
    memcpy(memory, argv[3], strlen(argv[3]) + 1);
    if (munmap(memory, size) == -1)
        give_up(argv[1], "munmap");
    if (close(fd) == -1)
        give_up(argv[1], "close");
    return 0;
}

/** Whether this is the build that is run under every schedule. */
#if defined __SANITIZE_THREAD__
static const int is_explored = 1;
#else
static const int is_explored = 0;
#endif

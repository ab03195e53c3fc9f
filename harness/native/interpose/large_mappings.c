/**
 * @file
 * @brief Large anonymous memory is mapped whether or not the machine has that much.
 */
#include "settings.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LARGE = 1 << 30 };

/** Large anonymous memory is mapped without asking whether the machine has so much: nothing of it is used. */
void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (size >= LARGE && (flags & MAP_ANONYMOUS))
        flags |= MAP_NORESERVE;
    return (void *)syscall(SYS_mmap, at, size, (long)protection, (long)flags, (long)fd, offset);
}
#ifdef __GLIBC__ /* musl has one name for both */
void *mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
    __attribute__((alias("mmap")));
#endif

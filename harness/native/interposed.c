/**
 * @file
 * @brief Functions that a check puts before the C library's with LD_PRELOAD; each is compiled only if it is asked for.
 *
 *     cc -shared -fPIC -nostdlib -DINTERPOSE_sysconf interposed.c -o interposed.so
 *
 * The library is linked with no other: what it calls comes from the C library of the program, whichever that is.
 */
#define _GNU_SOURCE

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef INTERPOSE_sysconf
/** Pages have as many bytes as SHMLAB_PAGE says; any other question fails. */
long sysconf(int name)
{
    return name == _SC_PAGESIZE ? atol(getenv("SHMLAB_PAGE")) : -1;
}
#endif

#ifdef INTERPOSE_sleep
/* Each sleep takes a millisecond: for checks that look at nothing that time could change. */

static int sleep_shortly(void)
{
    const struct timespec time = {.tv_nsec = 1000000};
    syscall(SYS_nanosleep, &time, NULL);
    return 0;
}

int nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)time, (void)left;
    return sleep_shortly();
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
    (void)clock, (void)flags, (void)time, (void)left;
    return sleep_shortly();
}

int thrd_sleep(const struct timespec *time, struct timespec *left)
{
    (void)time, (void)left;
    return sleep_shortly();
}

int usleep(useconds_t time)
{
    (void)time;
    return sleep_shortly();
}

unsigned sleep(unsigned time)
{
    (void)time;
    return (unsigned)sleep_shortly();
}
#endif

#ifdef INTERPOSE_mmap
enum { LARGE = 1 << 30 };

/** Large anonymous memory is mapped without asking whether the machine has so much: nothing of it is used. */
void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (size >= LARGE && (flags & MAP_ANONYMOUS))
        flags |= MAP_NORESERVE;
    return (void *)syscall(SYS_mmap, at, size, (long)protection, (long)flags, (long)fd, offset);
}
void *mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset) __attribute__((alias("mmap")));
#endif

#ifdef INTERPOSE_free
/** Frees nothing, so that what has been stored in a block stays where it is. */
void free(void *block)
{
    (void)block;
}
#endif

#ifdef INTERPOSE_munmap
static pid_t program;

__attribute__((constructor)) static void begin(void)
{
    program = getpid();
}

/** Unmaps nothing in a child, so that what it has stored can still be looked at when it is about to end. */
int munmap(void *memory, size_t size)
{
    return getpid() == program ? (int)syscall(SYS_munmap, memory, size) : 0;
}
#endif

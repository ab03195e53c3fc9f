/**
 * @file
 * @brief Lab 18: a wait on a futex that has a time limit lasts a tenth of a millisecond, and a peer's end is told late.
 *
 * For checks that do not look at how long a program sleeps: a process that nobody wakes goes on at once, and one
 * that gives up after some such waits does so before its peer comes. Nor do they look at what a program makes of a
 * peer that has ended in this very moment: the first time, kill() does not tell that it is gone.
 */
#include "settings.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>

enum {
    WAIT = 0,
    WAIT_BITSET = 9,
    OPERATION = 0x7F,
    REALTIME = 0x100,
    SLICE_NS = 100000,
    SECOND_NS = 1000000000
};

/** Whether this is a wait with a time limit; if so, replaces the limit. */
static const struct timespec *limited(long operation, const struct timespec *limit, struct timespec *slice)
{
    if (!limit || ((operation & OPERATION) != WAIT && (operation & OPERATION) != WAIT_BITSET))
        return limit;
    *slice = (struct timespec){.tv_nsec = 0};
    if ((operation & OPERATION) == WAIT_BITSET) /* a moment, not a duration */
        clock_gettime(operation & REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC, slice);
    slice->tv_nsec += SLICE_NS;
    if (slice->tv_nsec >= SECOND_NS) {
        slice->tv_nsec -= SECOND_NS;
        slice->tv_sec++;
    }
    return slice;
}

int kill(pid_t pid, int number)
{
    static bool told;
    int (*real)(pid_t, int);
    *(void **)&real = dlsym(RTLD_NEXT, "kill");
    const int reason = errno;
    if (real(pid, number) == 0)
        return 0;
    if (number != 0 || errno != ESRCH || told)
        return -1;
    told = true;
    errno = reason;
    return 0;
}

long syscall(long number, ...)
{
    long (*real)(long, ...);
    *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    long word[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        word[i] = va_arg(arguments, long);
    va_end(arguments);

    struct timespec slice;
    if (number == SYS_futex)
        word[3] = (long)limited(word[1], (const struct timespec *)word[3], &slice);
    return real(number, word[0], word[1], word[2], word[3], word[4], word[5]);
}

/**
 * @file
 * @brief Each sleep takes a millisecond.
 */
#define _GNU_SOURCE

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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

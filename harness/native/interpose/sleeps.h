/**
 * @file
 * @brief The calls with which a process sleeps for a time. What they do instead is said by the file that includes this.
 */
#include "settings.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/** What each of them does instead. Returns 0. */
static int sleep_instead(void);

int nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)time, (void)left;
    return sleep_instead();
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
    (void)clock, (void)flags, (void)time, (void)left;
    return sleep_instead();
}

int thrd_sleep(const struct timespec *time, struct timespec *left)
{
    (void)time, (void)left;
    return sleep_instead();
}

int usleep(useconds_t time)
{
    (void)time;
    return sleep_instead();
}

unsigned sleep(unsigned time)
{
    (void)time;
    return (unsigned)sleep_instead();
}

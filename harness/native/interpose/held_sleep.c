/**
 * @file
 * @brief A process that sleeps is stopped until another one resumes it.
 *
 * So a check decides how long a sleep is: what comes after it comes when the others have gone on as far as they can.
 */
#define _GNU_SOURCE

#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int stop_instead(void)
{
    syscall(SYS_kill, (long)getpid(), (long)SIGSTOP);
    return 0;
}

int nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)time, (void)left;
    return stop_instead();
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
    (void)clock, (void)flags, (void)time, (void)left;
    return stop_instead();
}

int thrd_sleep(const struct timespec *time, struct timespec *left)
{
    (void)time, (void)left;
    return stop_instead();
}

int usleep(useconds_t time)
{
    (void)time;
    return stop_instead();
}

unsigned sleep(unsigned time)
{
    (void)time;
    return (unsigned)stop_instead();
}

/**
 * @file
 * @brief Each sleep takes a millisecond: for checks that look at nothing that time could change.
 */
#include "sleeps.h"

static int sleep_instead(void)
{
    const struct timespec time = {.tv_nsec = 1000000};
    syscall(SYS_nanosleep, &time, NULL);
    return 0;
}

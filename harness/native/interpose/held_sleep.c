/**
 * @file
 * @brief A process that sleeps is stopped until another one resumes it.
 *
 * So a check decides how long a sleep is: what comes after it comes when the others have gone on as far as they can.
 */
#include "sleeps.h"

#include <signal.h>

static int sleep_instead(void)
{
    syscall(SYS_kill, (long)getpid(), (long)SIGSTOP);
    return 0;
}

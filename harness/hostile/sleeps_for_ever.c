/**
 * @file
 * @brief Hostile: sleeps for ever, deaf to every signal, and so does its child in a session of its own.
 * Instead of: 06_sysv_attach/sysv_attach.c
 * Score: 0
 * Says: had not ended
 *
 * A limit of processor time never ends it, SIGTERM and SIGHUP do not either, and the child, which holds the
 * program's stdin, stdout and stderr, is no member of the group that is killed in the end.
 */
#define _DEFAULT_SOURCE

#include <signal.h>
#include <unistd.h>

int main(void)
{
    for (int number = 1; number < 65; number++)
        signal(number, SIG_IGN);
    if (fork() == 0)
        setsid();
    for (;;)
        pause();
}

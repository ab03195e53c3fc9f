/**
 * @file
 * @brief Hostile: sleeps for ever and ignores every signal, and so does its child in a session of its own.
 * Instead of: 06_sysv_attach/sysv_attach.c
 * Score: 0
 * Says: had not ended
 *
 * A limit on processor time, SIGTERM and SIGHUP do not end it. The child, which holds the program's stdin, stdout and
 * stderr, is not in the process group that the grader kills.
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

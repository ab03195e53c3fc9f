/**
 * @file
 * @brief Hostile: never reads its input, and leaves a child in a session of its own that keeps it open.
 * Instead of: 11_named_pair/writer.c
 * Score: 0
 *
 * Whoever writes more to a pipe than fits in it waits for a reader. As long as some process has the other end open
 * there is no SIGPIPE either; the child is no member of the group that is killed when the time is over.
 */
#define _DEFAULT_SOURCE

#include <signal.h>
#include <unistd.h>

int main(void)
{
    for (int number = 1; number < 32; number++)
        signal(number, SIG_IGN);
    if (fork() == 0)
        setsid();
    for (;;)
        pause();
}

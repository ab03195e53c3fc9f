/**
 * @file
 * @brief Hostile: writes without end to stdout and stderr, and so do the children that it leaves.
 * Instead of: 03_anonymous_fork/anonymous_fork.c
 * Score: 0
 * Says: it wrote more than 4 MiB
 *
 * A grader that reads until the end of the output reads for ever. One that kills the program when its output is too
 * long, and reads on, gets the output of the children, which have sessions of their own and hold both pipes. One that
 * keeps everything runs out of memory.
 */
#define _DEFAULT_SOURCE

#include <signal.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    static char line[1 << 16];
    memset(line, 'x', sizeof line);
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < 2; i++)
        if (fork() == 0)
            setsid();
    for (;;)
        if (write(STDOUT_FILENO, line, sizeof line) < 0 && write(STDERR_FILENO, line, sizeof line) < 0)
            _exit(0);
}

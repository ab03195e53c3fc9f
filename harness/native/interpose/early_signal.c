/**
 * @file
 * @brief Lab 19: a signal that arrives after a program's last look, and right before it waits for a semaphore.
 *
 * Preloaded with LD_PRELOAD. In front of its first wait the program sends itself SIGTERM, so that a handler has run, or
 * a thread that waits for signals has got it, when the wait begins. A handler that only sets a flag comes too late for
 * the look at the flag, and too early to interrupt the wait.
 *
 *     SHMLAB_DONE   file that is created when that has been done
 */
#include "settings.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char *path;

__attribute__((constructor)) static void take_settings(void)
{
    path = take_setting("SHMLAB_DONE");
}

static void send_signal(void)
{
    const char *done = path;
    path = NULL;
    if (!done)
        return;
    syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, done, (long)(O_WRONLY | O_CREAT), 0666L));
    kill(getpid(), SIGTERM);
}

int sem_wait(sem_t *semaphore)
{
    int (*const real)(sem_t *) = (int (*)(sem_t *))dlsym(RTLD_NEXT, "sem_wait");
    send_signal();
    return real(semaphore);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until)
{
    int (*const real)(sem_t *, const struct timespec *) =
        (int (*)(sem_t *, const struct timespec *))dlsym(RTLD_NEXT, "sem_timedwait");
    send_signal();
    return real(semaphore, until);
}

/**
 * @file
 * @brief Waits for work at a semaphore in a new object, and removes the object when it is interrupted.
 *
 *     interrupted /NAME COMMAND
 *
 * COMMAND is run by a shell, in which $PPID is this process.
 *
 * Man pages: sigaction(2), shm_open(3), sem_timedwait(3), signal-safety(7).
 */
#define _POSIX_C_SOURCE 200809L
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

//! [handler]
static volatile sig_atomic_t interrupted;

/** Only sets a flag: few functions may be called here. */
static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}
//! [handler]

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s /NAME COMMAND\n", argv[0]);
        return 2;
    }
    const char *name = argv[1];

    //! [install]
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: a wait ends with EINTR */
    sigaction(SIGINT, &action, NULL);                    /* Ctrl-C */
    sigaction(SIGTERM, &action, NULL);                   /* kill PID */
    sigaction(SIGHUP, &action, NULL);                    /* the terminal was closed */
    //! [install]

    const int fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (fd == -1)
        err(EXIT_FAILURE, "shm_open: %s", name);
    sem_t *work = MAP_FAILED;
    if (ftruncate(fd, sizeof(sem_t)) == 0)
        work = mmap(NULL, sizeof(sem_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (work == MAP_FAILED || sem_init(work, 1, 0) == -1) {
        shm_unlink(name);
        errx(EXIT_FAILURE, "no memory for %s", name);
    }
    FILE *command = popen(argv[2], "r");

    //! [loop]
    while (!interrupted) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++; /* a signal just before the wait is seen after a second at most */
        if (sem_timedwait(work, &until) == -1 && errno != EINTR && errno != ETIMEDOUT)
            break;
    }
    shm_unlink(name);
    //! [loop]

    printf("%s is removed\n", name);
    if (command)
        pclose(command);
    return EXIT_SUCCESS;
}

/**
 * @file
 * @brief Lab 19: a service that counts requests, cleans up after SIGINT and SIGTERM, and survives SIGKILL.
 *
 * Usage: `counter /NAME` serves, `counter /NAME add` makes one request
 *
 * The requests are in the POSIX object NAME, which holds a struct counter; the named semaphore NAME.wake
 * wakes the service. A service that is killed leaves both behind: the next one takes them over and continues.
 *
 * See sem_open(3), sem_wait(3), shm_open(3), sigaction(2), signal-safety(7), fcntl(2), proc_pid_stat(5);
 * POSIX.1-2008. The directory /proc is Linux.
 */
#define _POSIX_C_SOURCE 200809L

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* An atomic that is made with a lock inside this process would not be one for another process. */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "atomics of 64 bits have to be lock-free");

/** A bit of `asked`: the owner accepts no more requests. */
static const uint64_t CLOSED = UINT64_C(1) << 63;

/** The object. A new one is all zero bytes. */
struct counter {
    _Atomic uint64_t asked;   /**< How many requests were made; and CLOSED. */
    _Atomic uint64_t counted; /**< How many of them the service has counted. Only its owner stores here. */
    _Atomic int64_t start;    /**< When the owner was started, as /proc/PID/stat has it. */
    _Atomic int64_t pid;      /**< The owner, 0: there was none yet. Stored last. */
};

static volatile sig_atomic_t stopping; /* SIGINT or SIGTERM has arrived */
static sem_t *_Atomic wake;            /* NULL until the semaphore is open */

/** Handles SIGINT and SIGTERM. It may run between any two instructions of the program. */
static void stop(int number)
{
    (void)number;
    const int reason = errno;
    stopping = 1;
    /* TODO 2: End the wait for the semaphore `wake`, if it is open. Call only functions that signal-safety(7)
       lists. */
    sem_t *semaphore = atomic_load(&wake);
    if (semaphore != NULL)
        sem_post(semaphore);
    /* TODO 2 ends. */
    errno = reason;
}

/** Sets stop() as the handler of SIGINT and SIGTERM. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = stop};
    sigemptyset(&action.sa_mask);
    /* TODO 1: Set this action for SIGINT and for SIGTERM. */
    if (sigaction(SIGINT, &action, NULL) == -1 || sigaction(SIGTERM, &action, NULL) == -1)
        err(EXIT_FAILURE, "sigaction");
    /* TODO 1 ends. */
}

/** Returns when a process was started, in clock ticks since the machine was; -1: there is no such process. */
static int64_t start_of(int64_t pid)
{
    char path[40], line[1024];
    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL && errno != ENOENT)
        err(EXIT_FAILURE, "%s", path);
    if (file == NULL)
        return -1;
    const size_t length = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    if (length == 0) /* The process has ended just now. */
        return -1;
    line[length] = '\0';

    int64_t start = -1;
    /* TODO 3: Get field 22 of the line. Field 2 is the program's name in parentheses, and the name itself may
       contain spaces and parentheses: count the fields from the last ')' of the line. */
    const char *field = strrchr(line, ')');
    for (int number = 2; field != NULL && number < 22; number++)
        field = strchr(field + 1, ' ');
    if (field != NULL)
        start = strtoimax(field, NULL, 10);
    /* TODO 3 ends. */
    return start;
}

/** Opens or creates the object, and becomes its owner. Returns the descriptor, which has to stay open. */
static int become_owner(const char *name)
{
    for (;;) {
        int descriptor = -1;
        /* TODO 4: Open the object for reading and writing; if there is none, create it, with mode 0600. Set a
           write lock on all of it, without waiting. If another process has the lock, end with a message. */
        descriptor = shm_open(name, O_CREAT | O_RDWR, 0600);
        if (descriptor == -1)
            err(EXIT_FAILURE, "shm_open: %s", name);
        struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(descriptor, F_SETLK, &whole) == -1) {
            if (errno == EAGAIN || errno == EACCES)
                errx(EXIT_FAILURE, "%s is already in service", name);
            err(EXIT_FAILURE, "fcntl: %s", name);
        }
        /* TODO 4 ends. */

        bool has_name = false;
        /* TODO 5: Does the object that you have locked still have a name? It does if st_nlink is not 0. */
        struct stat status;
        if (fstat(descriptor, &status) == -1)
            err(EXIT_FAILURE, "fstat: %s", name);
        has_name = status.st_nlink > 0;
        /* TODO 5 ends. */
        if (has_name)
            return descriptor;
        if (close(descriptor) == -1) /* Its owner unlinked it after we had opened it: start over. */
            err(EXIT_FAILURE, "close: %s", name);
    }
}

/** Counts each request that is not counted yet. */
static void count(struct counter *counter)
{
    while (atomic_load(&counter->counted) < (atomic_load(&counter->asked) & ~CLOSED))
        atomic_fetch_add(&counter->counted, 1);
}

/** Serves until a signal ends it. Returns the exit status. */
static int serve(const char *name, const char *wake_name)
{
    catch_signals();
    const int64_t start = start_of(getpid());
    const int descriptor = become_owner(name);

    struct counter *counter = NULL;
    /* TODO 6: Give the object its size and memory with posix_fallocate, which changes nothing if it has them.
       Map it. Do not close the descriptor: that would drop the lock. */
    errno = posix_fallocate(descriptor, 0, sizeof *counter);
    if (errno != 0)
        err(EXIT_FAILURE, "posix_fallocate: %s", name);
    counter = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (counter == MAP_FAILED)
        err(EXIT_FAILURE, "mmap: %s", name);
    /* TODO 6 ends. */

    sem_t *semaphore = NULL;
    /* TODO 7: Open the semaphore `wake_name`; if there is none, create it, with mode 0600 and value 0. */
    semaphore = sem_open(wake_name, O_CREAT, 0600, 0);
    if (semaphore == SEM_FAILED)
        err(EXIT_FAILURE, "sem_open: %s", wake_name);
    /* TODO 7 ends. */
    atomic_store(&wake, semaphore);

    atomic_fetch_and(&counter->asked, ~CLOSED); /* The last owner may have been killed after it had closed. */
    atomic_store(&counter->start, start);
    atomic_store(&counter->pid, getpid()); /* From here on requests are accepted. */

    /* TODO 8: Until `stopping` is set: count(), then wait for the semaphore. A signal that interrupts this
       is not an error. */
    while (!stopping) {
        count(counter);
        if (sem_wait(semaphore) == -1 && errno != EINTR)
            err(EXIT_FAILURE, "sem_wait: %s", wake_name);
    }
    /* TODO 8 ends. */

    /* TODO 9: Set CLOSED in `asked`, in one atomic step: from here on requests are refused. */
    atomic_fetch_or(&counter->asked, CLOSED);
    /* TODO 9 ends. */
    count(counter);
    if (printf("%" PRIu64 "\n", atomic_load(&counter->counted)) < 0 || fflush(stdout) == EOF)
        err(EXIT_FAILURE, "stdout");

    /* TODO 10: Unlink the semaphore and the object, in the right order, while you have the lock. */
    if (sem_unlink(wake_name) == -1)
        err(EXIT_FAILURE, "sem_unlink: %s", wake_name);
    if (shm_unlink(name) == -1)
        err(EXIT_FAILURE, "shm_unlink: %s", name);
    /* TODO 10 ends. */
    return EXIT_SUCCESS;
}

/** Makes one request, if there is an owner to count it. Returns the exit status. */
static int add(const char *name, const char *wake_name)
{
    const int descriptor = shm_open(name, O_RDWR, 0);
    if (descriptor == -1)
        err(EXIT_FAILURE, "shm_open: %s", name);
    struct stat status;
    if (fstat(descriptor, &status) == -1)
        err(EXIT_FAILURE, "fstat: %s", name);
    if (status.st_size < (off_t)sizeof(struct counter))
        errx(EXIT_FAILURE, "%s is not in service: its owner has not set it up", name);
    struct counter *counter = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (counter == MAP_FAILED)
        err(EXIT_FAILURE, "mmap: %s", name);
    sem_t *semaphore = sem_open(wake_name, 0);
    if (semaphore == SEM_FAILED)
        err(EXIT_FAILURE, "sem_open: %s", wake_name);

    const int64_t pid = atomic_load(&counter->pid);
    if (pid == 0 || atomic_load(&counter->start) != start_of(pid))
        errx(EXIT_FAILURE, "%s is not in service: its owner, process %" PRId64 ", is gone", name, pid);
    uint64_t asked = atomic_load(&counter->asked);
    do {
        if (asked & CLOSED)
            errx(EXIT_FAILURE, "%s is closed", name);
    } while (!atomic_compare_exchange_weak(&counter->asked, &asked, asked + 1));
    if (sem_post(semaphore) == -1)
        err(EXIT_FAILURE, "sem_post: %s", wake_name);
    return EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
    if ((argc != 2 && (argc != 3 || strcmp(argv[2], "add") != 0)) || argv[1][0] != '/') {
        fprintf(stderr, "usage: %s /NAME [add]\n", argv[0]);
        return 2;
    }
    char wake_name[NAME_MAX];
    if ((size_t)snprintf(wake_name, sizeof wake_name, "%s.wake", argv[1]) >= sizeof wake_name)
        errx(EXIT_FAILURE, "%s: this name is too long", argv[1]);
    return argc == 2 ? serve(argv[1], wake_name) : add(argv[1], wake_name);
}

/**
 * @file
 * @brief Lab 04: N processes count in shared memory: a plain counter loses updates, an atomic one does not.
 *
 * Usage: `lost_update N M`
 *
 * The parent makes one anonymous shared mapping and forks N children, which wait until all exist. Each
 * then adds 1 to both counters, M times. The parent waits for all of them and prints what was lost.
 *
 * See mmap(2), fork(2), sem_init(3), sem_wait(3), sem_post(3), waitpid(2); C17, section 7.17; POSIX.1-2024,
 * and Linux for MAP_ANONYMOUS, which glibc declares under -std=c17 only with this macro (POSIX since 2024).
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_CHILDREN = 16 };
static const uintmax_t MOST_INCREMENTS = 1000000000000;

/** What all processes share. The counters come first, so that other programs can find them. */
struct two_counters {
    volatile uint64_t plain; /**< volatile: every load and store is made, but they are still separate steps */
    _Atomic uint64_t atomic;
    sem_t gate; /**< 0 while it is closed */
};

/**
 * Reads a decimal number: only digits, no sign, no space.
 *
 * @param digits  the number as it was typed
 * @return        the number, or UINTMAX_MAX if it is not a number or too large
 */
static uintmax_t parse_number(const char *digits)
{
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return UINTMAX_MAX;
    return strtoumax(digits, NULL, 10);
}

/**
 * A child: waits until the gate is open, counts to m in both counters, and ends.
 *
 * @param shared  the shared mapping
 * @param m       how many times to add 1
 */
static _Noreturn void count(struct two_counters *shared, uintmax_t m)
{
    /* TODO 3: Wait at the gate. */
    if (sem_wait(&shared->gate) == -1)
        err(EXIT_FAILURE, "sem_wait");
    /* TODO 3 ends. */

    for (uintmax_t i = 0; i < m; i++) {
        /* TODO 4: Add 1 to the plain counter: a load, an addition and a store. */
        shared->plain = shared->plain + 1;
        /* TODO 4 ends. */

        /* TODO 5: Add 1 to the atomic counter, in one operation that no other process can interrupt. */
        atomic_fetch_add(&shared->atomic, 1);
        /* TODO 5 ends. */
    }
    _exit(EXIT_SUCCESS);
}

/**
 * Waits until all these children have ended. Ends the program with exit status 1 if one of them failed.
 *
 * @param children  their process ids
 * @param count     how many there are
 * @param failed    the call that failed, with its reason in errno: kills the children; NULL if none failed
 */
static void reap(const pid_t children[], size_t count, const char *failed)
{
    const int reason = errno;
    size_t failures = 0;
    for (size_t i = 0; i < count; i++) {
        if (failed != NULL && kill(children[i], SIGKILL) == -1)
            warn("kill: child %ld", (long)children[i]);

        int status = -1;
        if (waitpid(children[i], &status, 0) == -1 || status != 0) {
            warnx("child %ld has failed: wait status %#x", (long)children[i], (unsigned)status);
            failures++;
        }
    }
    errno = reason;
    if (failed != NULL)
        err(EXIT_FAILURE, "%s", failed);
    if (failures > 0)
        errx(EXIT_FAILURE, "%zu of %zu children have failed", failures, count);
}

int main(int argc, char *argv[])
{
    const uintmax_t n = argc == 3 ? parse_number(argv[1]) : 0;
    const uintmax_t m = argc == 3 ? parse_number(argv[2]) : 0;
    if (n < 1 || n > MOST_CHILDREN || m < 1 || m > MOST_INCREMENTS) {
        fprintf(stderr, "usage: %s N M (N from 1 to 16, M from 1 to 1000000000000)\n", argv[0]);
        return 2;
    }

    struct two_counters *shared = NULL;
    /* TODO 1: Make one anonymous shared mapping for all that the processes share, readable and writable. */
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        err(EXIT_FAILURE, "mmap");
    /* TODO 1 ends. */

    /* TODO 2: Initialise the gate in it: a semaphore for several processes, closed. */
    if (sem_init(&shared->gate, 1, 0) == -1)
        err(EXIT_FAILURE, "sem_init");
    /* TODO 2 ends. */

    pid_t children[MOST_CHILDREN] = {0};
    for (size_t i = 0; i < n; i++) {
        children[i] = fork();
        if (children[i] == -1)
            reap(children, i, "fork");
        if (children[i] == 0)
            count(shared, m);
    }

    for (size_t i = 0; i < n; i++) {
        /* TODO 6: Open the gate for one child. */
        if (sem_post(&shared->gate) == -1)
            reap(children, n, "sem_post");
        /* TODO 6 ends. */
    }
    reap(children, n, NULL);

    const uint64_t plain = shared->plain, atomic = shared->atomic;
    /* TODO 7: Destroy the gate, and unmap the mapping. */
    if (sem_destroy(&shared->gate) == -1)
        err(EXIT_FAILURE, "sem_destroy");

    if (munmap(shared, sizeof *shared) == -1)
        err(EXIT_FAILURE, "munmap");
    /* TODO 7 ends. */

    if (printf("plain %" PRIu64 " lost %" PRIu64 "\n", plain, n * m - plain) < 0 ||
        printf("atomic %" PRIu64 " lost %" PRIu64 "\n", atomic, n * m - atomic) < 0 || fflush(stdout) == EOF)
        err(EXIT_FAILURE, "stdout");
    return EXIT_SUCCESS;
}

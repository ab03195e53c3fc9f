/**
 * @file
 * @brief Lab 03: N children add up the numbers from 1 to M in memory that they share with their parent.
 *
 * Usage: `anonymous_fork N M`
 *
 * The parent makes one anonymous shared mapping and forks N children. Each adds up its part of the
 * numbers and stores the sum in the mapping; the parent waits for all of them and prints the total.
 *
 * See mmap(2), fork(2), waitpid(2), _exit(2), munmap(2); POSIX.1-2024, and Linux for MAP_ANONYMOUS,
 * which glibc declares under -std=c17 only with this macro (in POSIX since 2024).
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_CHILDREN = 64, LARGEST_NUMBER = 1000000000 };

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
 * A child: adds up its part of the numbers from 1 to m, stores the sum, and ends.
 *
 * @param sum    the child's place in the shared mapping
 * @param index  which child it is, from 0
 * @param n      how many children there are
 * @param m      the last number of all
 */
static _Noreturn void add_up_part(uint64_t *sum, uint64_t index, uint64_t n, uint64_t m)
{
    /* TODO 3: Add up this child's part, store the sum in its place, and end the process with status 0. */
    const uint64_t first = m * index / n + 1;
    const uint64_t last = m * (index + 1) / n;
    uint64_t part = 0;
    for (uint64_t number = first; number <= last; number++)
        part += number;

    *sum = part;
    _exit(EXIT_SUCCESS);
    /* TODO 3 ends. */
}

/**
 * Waits until all these children have ended, and reports those that failed.
 *
 * @param children  their process ids
 * @param count     how many there are
 * @return          whether all of them ended with exit status 0
 */
static bool reap(const pid_t children[], size_t count)
{
    bool all_well = true;
    for (size_t i = 0; i < count; i++) {
        /* TODO 4: Wait for this child. If it cannot be waited for, was killed, or has failed, report it and
           set all_well to false. Whatever became of it, the next child must be waited for, too. */
        int status = 0;
        if (waitpid(children[i], &status, 0) == -1) {
            warn("waitpid: child %ld", (long)children[i]);
            all_well = false;
        } else if (WIFSIGNALED(status)) {
            warnx("child %ld was killed by signal %d", (long)children[i], WTERMSIG(status));
            all_well = false;
        } else if (WEXITSTATUS(status) != EXIT_SUCCESS) {
            warnx("child %ld has failed with exit status %d", (long)children[i], WEXITSTATUS(status));
            all_well = false;
        }
        /* TODO 4 ends. */
    }
    return all_well;
}

int main(int argc, char *argv[])
{
    const uintmax_t n = argc == 3 ? parse_number(argv[1]) : 0;
    const uintmax_t m = argc == 3 ? parse_number(argv[2]) : 0;
    if (n < 1 || n > MOST_CHILDREN || m > LARGEST_NUMBER) {
        fprintf(stderr, "usage: %s N M (N from 1 to %d, M from 0 to %d)\n", argv[0], MOST_CHILDREN,
                LARGEST_NUMBER);
        return 2;
    }

    const size_t size = n * sizeof(uint64_t);
    uint64_t *sums = NULL;
    /* TODO 1: Make one anonymous shared mapping of that size, readable and writable. */
    sums = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sums == MAP_FAILED)
        err(EXIT_FAILURE, "mmap");
    /* TODO 1 ends. */

    pid_t children[MOST_CHILDREN] = {0};
    for (size_t i = 0; i < n; i++) {
        /* TODO 2: Fork, and keep the result in children[i]. If that fails, reap the i children that
           exist, and then exit with the reason why fork failed. */
        children[i] = fork();
        if (children[i] == -1) {
            const int reason = errno;
            reap(children, i);
            errno = reason;
            err(EXIT_FAILURE, "fork: child %zu of %zu", i + 1, (size_t)n);
        }
        /* TODO 2 ends. */

        if (children[i] == 0)
            add_up_part(&sums[i], i, n, m);
    }

    if (!reap(children, n))
        return EXIT_FAILURE;

    uint64_t total = 0;
    /* TODO 5: Add up the sums that the children have stored in the mapping. */
    for (size_t i = 0; i < n; i++)
        total += sums[i];
    /* TODO 5 ends. */

    /* TODO 6: Unmap the mapping. */
    if (munmap(sums, size) == -1)
        err(EXIT_FAILURE, "munmap");
    /* TODO 6 ends. */

    if (printf("%" PRIu64 "\n", total) < 0 || fflush(stdout) == EOF)
        err(EXIT_FAILURE, "stdout");
    return EXIT_SUCCESS;
}

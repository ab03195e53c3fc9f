/**
 * @file
 * @brief Lab 02: a child changes four words of memory, and the parent prints which changes it sees.
 *
 * Usage: `fork_copies OLD NEW [PROGRAM [ARGUMENT...]]`
 *
 * The words are a global variable, one on the heap, one in a private mapping and one in a shared mapping.
 * All hold OLD when the child is forked; the child stores NEW in each, and then executes PROGRAM or ends.
 * The parent waits for it and prints what it sees in each word.
 *
 * See fork(2), mmap(2), execvp(3), waitpid(2), _exit(2), munmap(2); POSIX.1-2024, and Linux for
 * MAP_ANONYMOUS, which glibc declares under -std=c17 only with this macro (in POSIX since 2024).
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

enum { GLOBAL, HEAP, PRIVATE, SHARED, KINDS };

static const char *const NAMES[KINDS] = {"global", "heap", "private", "shared"};

/**
 * The global word. All four are volatile, so that each store and each load is really made: the compiler
 * may leave out a store that it sees no load of. volatile does no more than that here: waitpid() makes
 * sure that the parent loads after the child has stored.
 */
static volatile uint64_t global_word;

/**
 * Reads a decimal number: only digits, no sign, no space.
 *
 * @param digits  the number as it was typed
 * @param number  where to store it
 * @return        whether it is a number that fits
 */
static bool parse_number(const char *digits, uint64_t *number)
{
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return false;

    errno = 0;
    const uintmax_t value = strtoumax(digits, NULL, 10);
    if (errno == ERANGE || value > UINT64_MAX)
        return false;

    *number = value;
    return true;
}

/**
 * The child: changes all words, and executes another program if there is one.
 *
 * @param words    the addresses of the words
 * @param value    what to store in each
 * @param program  the program's name and its arguments, ended by NULL; only NULL if there is no program
 */
static _Noreturn void change_all(volatile uint64_t *const words[KINDS], uint64_t value, char *const program[])
{
    /* TODO 4: Store the value in each of the words. */
    for (int kind = 0; kind < KINDS; kind++)
        *words[kind] = value;
    /* TODO 4 ends. */

    if (program[0] != NULL) {
        /* TODO 5: Execute the program, which is looked up in PATH. If the call returns, it has failed. */
        execvp(program[0], program);
        err(EXIT_FAILURE, "execvp: %s", program[0]);
        /* TODO 5 ends. */
    }
    _exit(EXIT_SUCCESS);
}

int main(int argc, char *argv[])
{
    uint64_t old_value, new_value;
    if (argc < 3 || !parse_number(argv[1], &old_value) || !parse_number(argv[2], &new_value)) {
        fprintf(stderr, "usage: %s OLD NEW [PROGRAM [ARGUMENT...]] (OLD and NEW from 0 to %" PRIu64 ")\n",
                argv[0], UINT64_MAX);
        return 2;
    }

    volatile uint64_t *words[KINDS] = {[GLOBAL] = &global_word};
    const size_t size = sizeof(uint64_t);
    words[HEAP] = malloc(size);
    if (words[HEAP] == NULL)
        err(EXIT_FAILURE, "malloc");

    /* TODO 1: Map two anonymous words (read, write): words[PRIVATE] private, words[SHARED] shared. */
    words[PRIVATE] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words[PRIVATE] == MAP_FAILED)
        err(EXIT_FAILURE, "mmap: private");

    words[SHARED] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (words[SHARED] == MAP_FAILED)
        err(EXIT_FAILURE, "mmap: shared");
    /* TODO 1 ends. */

    /* TODO 2: Store the old value in all four words. */
    for (int kind = 0; kind < KINDS; kind++)
        *words[kind] = old_value;
    /* TODO 2 ends. */

    pid_t child = -1;
    /* TODO 3: Fork. */
    child = fork();
    if (child == -1)
        err(EXIT_FAILURE, "fork");
    /* TODO 3 ends. */

    if (child == 0)
        change_all(words, new_value, &argv[3]);

    int status = 0;
    /* TODO 6: Wait for the child. If it was killed or its exit status is not 0, this program fails, too. */
    if (waitpid(child, &status, 0) == -1)
        err(EXIT_FAILURE, "waitpid: child %ld", (long)child);

    if (WIFSIGNALED(status))
        errx(EXIT_FAILURE, "the child was killed by signal %d", WTERMSIG(status));

    if (WEXITSTATUS(status) != EXIT_SUCCESS)
        errx(EXIT_FAILURE, "the child has ended with exit status %d", WEXITSTATUS(status));
    /* TODO 6 ends. */

    for (int kind = 0; kind < KINDS; kind++)
        if (printf("%s %" PRIu64 "\n", NAMES[kind], *words[kind]) < 0)
            err(EXIT_FAILURE, "stdout");

    free((void *)words[HEAP]);
    /* TODO 7: Unmap both mappings. */
    if (munmap((void *)words[PRIVATE], size) == -1)
        err(EXIT_FAILURE, "munmap: private");

    if (munmap((void *)words[SHARED], size) == -1)
        err(EXIT_FAILURE, "munmap: shared");
    /* TODO 7 ends. */

    if (fflush(stdout) == EOF)
        err(EXIT_FAILURE, "stdout");
    return EXIT_SUCCESS;
}

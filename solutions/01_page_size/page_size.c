/**
 * @file
 * @brief Lab 01: shows how many whole pages the kernel maps for N bytes.
 *
 * Usage: `page_size N...`
 *
 * For each length the program makes an anonymous shared mapping of N bytes, prints "N PAGES BYTES", and
 * unmaps it again. It asks the system for the page size, which differs between machines.
 *
 * See sysconf(3), mmap(2), munmap(2), proc_pid_maps(5); POSIX.1-2024, and Linux for MAP_ANONYMOUS, which
 * glibc declares under -std=c17 only with this macro (in POSIX since 2024).
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/**
 * Reads a length: only decimal digits, no sign, no space.
 *
 * @param digits  the length as it was typed
 * @param length  where to store it
 * @return        whether it is a length that fits in a size_t
 */
static bool parse_length(const char *digits, size_t *length)
{
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return false;

    errno = 0;
    const uintmax_t value = strtoumax(digits, NULL, 10);
    if (errno == ERANGE || value > SIZE_MAX)
        return false;

    *length = (size_t)value;
    return true;
}

/**
 * Maps that many bytes, prints how much memory that takes, and unmaps it.
 *
 * @param length  how many bytes to map
 * @param page    the size of a page
 */
static void measure(size_t length, size_t page)
{
    void *memory = NULL;
    /* TODO 2: Map that many bytes, anonymous and shared, readable and writable, at any address. */
    memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        err(EXIT_FAILURE, "mmap: %zu bytes", length);
    /* TODO 2 ends. */

    size_t pages = 0;
    size_t bytes = 0;
    /* TODO 3: Compute how many whole pages hold the length, and how many bytes they have. */
    pages = length / page + (length % page != 0);
    bytes = pages * page;
    /* TODO 3 ends. */

    if (printf("%zu %zu %zu\n", length, pages, bytes) < 0)
        err(EXIT_FAILURE, "stdout");

    /* TODO 4: Unmap it. */
    if (munmap(memory, length) == -1)
        err(EXIT_FAILURE, "munmap: %zu bytes", length);
    /* TODO 4 ends. */
}

int main(int argc, char *argv[])
{
    bool usable = argc > 1;
    for (int i = 1; i < argc; i++) {
        size_t length;
        usable = usable && parse_length(argv[i], &length);
    }
    if (!usable) {
        fprintf(stderr, "usage: %s N... (lengths in bytes, from 0 to %zu)\n", argv[0], (size_t)SIZE_MAX);
        return 2;
    }

    long page = -1;
    /* TODO 1: Ask the system for the page size. */
    page = sysconf(_SC_PAGESIZE);
    if (page == -1)
        err(EXIT_FAILURE, "sysconf: _SC_PAGESIZE");
    /* TODO 1 ends. */

    for (int i = 1; i < argc; i++) {
        size_t length = 0;
        if (parse_length(argv[i], &length))
            measure(length, (size_t)page);
    }

    if (fflush(stdout) == EOF)
        err(EXIT_FAILURE, "stdout");
    return EXIT_SUCCESS;
}

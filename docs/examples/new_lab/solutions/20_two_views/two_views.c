/**
 * @file
 * @brief Lab 20: maps one page twice, writes through one view and reads through the other.
 *
 * Usage: `two_views TEXT`
 *
 * See memfd_create(2), mmap(2); Linux, not POSIX.
 */
#define _GNU_SOURCE

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    if (argc != 2 || strlen(argv[1]) >= size) {
        fprintf(stderr, "usage: %s TEXT (shorter than a page)\n", argv[0]);
        return 2;
    }
    const int descriptor = memfd_create("views", MFD_CLOEXEC);
    if (descriptor == -1)
        err(EXIT_FAILURE, "memfd_create");
    if (ftruncate(descriptor, (off_t)size) == -1)
        err(EXIT_FAILURE, "ftruncate");
    char *writing = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (writing == MAP_FAILED)
        err(EXIT_FAILURE, "mmap");

    const char *reading = NULL;
    /* TODO 1: Map the same page once more, for reading only. */
    reading = mmap(NULL, size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (reading == MAP_FAILED)
        err(EXIT_FAILURE, "mmap");
    /* TODO 1 ends. */

    /* TODO 2: Store the text through the one view. */
    strcpy(writing, argv[1]);
    /* TODO 2 ends. */

    if (puts(reading) == EOF || fflush(stdout) == EOF)
        err(EXIT_FAILURE, "stdout");
    return EXIT_SUCCESS;
}

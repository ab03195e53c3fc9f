/**
 * @file
 * @brief Lab 09: finds a POSIX shared memory object by its name, learns its size, and prints its bytes.
 *
 * Usage: `posix_attach /NAME`
 *
 * The object is opened and mapped for reading only, and stays as it was. All its bytes go to stdout as
 * they are, and nothing else.
 *
 * See shm_open(3), fstat(2), mmap(2), munmap(2), close(2); POSIX.1-2024.
 */
#define _POSIX_C_SOURCE 200809L

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s /NAME\n", argv[0]);
        return 2;
    }
    const char *name = argv[1];

    int descriptor = -1;
    /* TODO 1: Open the object for reading only. Do not create one: then the mode is 0. */
    errx(EXIT_FAILURE, "TODO 1: open %s", name);
    /* TODO 1 ends. */

    struct stat status = {0};
    /* TODO 2: Ask the kernel for its data about the object. */
    errx(EXIT_FAILURE, "TODO 2: get the type and size of descriptor %d", descriptor);
    /* TODO 2 ends. */

    /* TODO 3: If this is not a regular file, it is not an object: exit with a message. */
    errx(EXIT_FAILURE, "TODO 3: check whether a file of mode %o is regular", (unsigned)status.st_mode);
    /* TODO 3 ends. */

    const size_t size = (size_t)status.st_size;
    /* TODO 4: If there are no bytes, close the descriptor and exit: mmap() refuses a length of 0. */
    errx(EXIT_FAILURE, "TODO 4: check whether %zu bytes are 0 bytes", size);
    /* TODO 4 ends. */

    void *memory = NULL;
    /* TODO 5: Map all of the object, shared and for reading only, at any address. */
    errx(EXIT_FAILURE, "TODO 5: map %zu bytes of descriptor %d", size, descriptor);
    /* TODO 5 ends. */

    /* TODO 6: Print exactly these bytes, whatever they are. Check that they have really been written. */
    errx(EXIT_FAILURE, "TODO 6: print the %zu bytes at %p", size, memory);
    /* TODO 6 ends. */

    /* TODO 7: Unmap the object and close the descriptor. The name stays: do not unlink it. */
    errx(EXIT_FAILURE, "TODO 7: unmap the object and close descriptor %d", descriptor);
    /* TODO 7 ends. */

    return EXIT_SUCCESS;
}

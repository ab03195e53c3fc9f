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
    descriptor = shm_open(name, O_RDONLY, 0);
    if (descriptor == -1)
        err(EXIT_FAILURE, "shm_open: %s", name);
    /* TODO 1 ends. */

    struct stat status = {0};
    /* TODO 2: Ask the kernel for its data about the object. */
    if (fstat(descriptor, &status) == -1)
        err(EXIT_FAILURE, "fstat: %s", name);
    /* TODO 2 ends. */

    /* TODO 3: If this is not a regular file, it is not an object: exit with a message. */
    if (!S_ISREG(status.st_mode))
        errx(EXIT_FAILURE, "%s: not a shared memory object", name);
    /* TODO 3 ends. */

    const size_t size = (size_t)status.st_size;
    /* TODO 4: If there are no bytes, close the descriptor and exit: mmap() refuses a length of 0. */
    if (size == 0) {
        if (close(descriptor) == -1)
            err(EXIT_FAILURE, "close: %s", name);
        return EXIT_SUCCESS;
    }
    /* TODO 4 ends. */

    void *memory = NULL;
    /* TODO 5: Map all of the object, shared and for reading only, at any address. */
    memory = mmap(NULL, size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED)
        err(EXIT_FAILURE, "mmap: %s", name);
    /* TODO 5 ends. */

    /* TODO 6: Print exactly these bytes, whatever they are. Check that they have really been written. */
    if (fwrite(memory, 1, size, stdout) != size || fflush(stdout) == EOF)
        err(EXIT_FAILURE, "stdout");
    /* TODO 6 ends. */

    /* TODO 7: Unmap the object and close the descriptor. The name stays: do not unlink it. */
    if (munmap(memory, size) == -1)
        err(EXIT_FAILURE, "munmap: %s", name);
    if (close(descriptor) == -1)
        err(EXIT_FAILURE, "close: %s", name);
    /* TODO 7 ends. */

    return EXIT_SUCCESS;
}

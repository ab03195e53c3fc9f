/**
 * @file
 * @brief Lab 08: creates a POSIX shared memory object, stores a text in it and exits.
 *
 * Usage: `posix_create /NAME SIZE TEXT`
 *
 * The object has exactly SIZE bytes, all of them backed by memory before the first store, and TEXT
 * with its closing zero byte is at its start. It stays under its name after this program has ended.
 *
 * See shm_open(3), ftruncate(2), posix_fallocate(3), mmap(2), shm_unlink(3); POSIX.1-2024.
 */
#define _POSIX_C_SOURCE 200809L

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/** The owner reads and writes, the group reads, others have no permission. The umask is applied to it. */
static const mode_t MODE = 0640;

/**
 * Reads a size as a decimal number: only digits, no sign, no space.
 *
 * @param digits  the number as it was typed
 * @return        the number, or 0 if it is not a number from 1 up to SSIZE_MAX
 */
static size_t parse_size(const char *digits)
{
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return 0;

    /* A number too large for uintmax_t becomes UINTMAX_MAX, which is too large here as well. */
    const uintmax_t number = strtoumax(digits, NULL, 10);
    return number > SSIZE_MAX ? 0 : (size_t)number;
}

/**
 * Reports which call failed, unlinks the new object, and ends the program with exit status 1.
 *
 * @param name  the object that this program created
 * @param call  the call that failed, with its reason in errno
 */
static _Noreturn void give_up(const char *name, const char *call)
{
    const int reason = errno;
    /* TODO 7: Unlink the object: a program that fails cleans up. */
    warnx("TODO 7: unlink %s", name);
    /* TODO 7 ends. */
    errno = reason;
    err(EXIT_FAILURE, "%s: %s", call, name);
}

int main(int argc, char *argv[])
{
    const size_t size = argc == 4 ? parse_size(argv[2]) : 0;
    const size_t length = argc == 4 ? strlen(argv[3]) + 1 : 0;
    if (size == 0 || length > size) {
        fprintf(stderr, "usage: %s /NAME SIZE TEXT (TEXT and its zero byte fit in SIZE bytes)\n", argv[0]);
        return 2;
    }
    const char *name = argv[1];
    const char *text = argv[3];

    int descriptor = -1;
    /* TODO 1: Create the object, open for reading and writing, with MODE. A taken name is an error. */
    errx(EXIT_FAILURE, "TODO 1: create %s with mode %#o", name, (unsigned)MODE);
    /* TODO 1 ends. */

    /* TODO 2: Set the object's size: a new one has 0 bytes. */
    errx(EXIT_FAILURE, "TODO 2: set the size of descriptor %d to %zu", descriptor, size);
    /* TODO 2 ends. */

    /* TODO 3: Reserve memory for all of it. This call returns the error number and leaves errno alone. */
    errx(EXIT_FAILURE, "TODO 3: reserve %zu bytes", size);
    /* TODO 3 ends. */

    char *memory = NULL;
    /* TODO 4: Map the whole object for reading and writing, shared, at any address. */
    errno = ENOSYS;
    give_up(name, "TODO 4: map the object");
    /* TODO 4 ends. */

    /* TODO 5: Copy the text to the start of the object, with its closing zero byte. */
    errx(EXIT_FAILURE, "TODO 5: copy the %zu bytes of '%s' to %p", length, text, (void *)memory);
    /* TODO 5 ends. */

    /* TODO 6: Unmap the object and close the descriptor. The name stays: do not unlink it. */
    errx(EXIT_FAILURE, "TODO 6: unmap the object and close its descriptor");
    /* TODO 6 ends. */

    return EXIT_SUCCESS;
}

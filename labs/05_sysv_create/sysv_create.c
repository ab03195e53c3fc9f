/**
 * @file
 * @brief Lab 05: creates a System V segment, stores a text in it and exits.
 *
 * Usage: `sysv_create FILE TEXT`
 *
 * The segment's key is made from FILE. The segment is exactly as large as TEXT with its closing
 * zero byte, and it stays in the kernel after this program has ended.
 *
 * See ftok(3), shmget(2), shmop(2), shmctl(2); POSIX.1-2024, XSI option.
 */
#define _XOPEN_SOURCE 700

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>

/** Second argument of ftok(): the same FILE and the same id make the same key. */
static const int PROJECT_ID = 'S';

/** The owner reads and writes, the group reads, others have no permission. */
static const int MODE = 0640;

/**
 * Reports which call failed, removes the new segment, and ends the program with exit status 1.
 *
 * @param id    the segment that this program created
 * @param call  the call that failed, with its reason in errno
 */
static _Noreturn void give_up(int id, const char *call)
{
    const int reason = errno;
    /* TODO 6: Remove the segment: a program that fails cleans up. */
    warnx("TODO 6: remove segment %d", id);
    /* TODO 6 ends. */
    errno = reason;
    err(EXIT_FAILURE, "%s", call);
}

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return 2;
    }
    const char *file = argv[1];
    const char *text = argv[2];
    const size_t size = strlen(text) + 1;

    key_t key = -1;
    /* TODO 1: Make the key from the file and PROJECT_ID. */
    errx(EXIT_FAILURE, "TODO 1: make the key from %s and id %d", file, PROJECT_ID);
    /* TODO 1 ends. */

    int id = -1;
    /* TODO 2: Create a segment of that key, size and MODE. If one exists already, that is an error. */
    errx(EXIT_FAILURE, "TODO 2: create %zu bytes, key %#x, mode %#o", size, (unsigned)key, (unsigned)MODE);
    /* TODO 2 ends. */

    char *memory = NULL;
    /* TODO 3: Attach the segment at any address. */
    errno = ENOSYS;
    give_up(id, "TODO 3: attach the segment");
    /* TODO 3 ends. */

    /* TODO 4: Copy the text into the segment, with its closing zero byte. */
    errx(EXIT_FAILURE, "TODO 4: copy '%s' to %p", text, (void *)memory);
    /* TODO 4 ends. */

    /* TODO 5: Detach the segment. It stays: do not remove it. */
    errx(EXIT_FAILURE, "TODO 5: detach the segment");
    /* TODO 5 ends. */

    printf("segment %d has key 0x%08x\n", id, (unsigned)key);
    return EXIT_SUCCESS;
}

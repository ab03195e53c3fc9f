/**
 * @file
 * @brief Lab 06: finds a System V segment left by another program, and prints the text in it.
 *
 * Usage: `sysv_attach FILE`
 *
 * The segment's key is made from FILE. The segment is attached for reading only, and stays as it was.
 *
 * See ftok(3), shmget(2), shmctl(2), shmop(2), strnlen(3); POSIX.1-2024, XSI option.
 */
#define _XOPEN_SOURCE 700

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>

/** Second argument of ftok(): the same FILE and the same id make the same key. */
static const int PROJECT_ID = 'S';

int main(int argc, char *argv[])
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    const char *file = argv[1];

    key_t key = -1;
    /* TODO 1: Make the key from the file and PROJECT_ID. */
    errx(EXIT_FAILURE, "TODO 1: make the key from %s and id %d", file, PROJECT_ID);
    /* TODO 1 ends. */

    int id = -1;
    /* TODO 2: Find the segment of that key. Do not create one; ask for no size and no permission. */
    errx(EXIT_FAILURE, "TODO 2: find the segment of key %#x", (unsigned)key);
    /* TODO 2 ends. */

    struct shmid_ds data = {0};
    /* TODO 3: Ask the kernel for its data about the segment. */
    errx(EXIT_FAILURE, "TODO 3: learn the size of segment %d", id);
    /* TODO 3 ends. */
    const size_t size = data.shm_segsz;

    const char *memory = NULL;
    /* TODO 4: Attach the segment for reading only, at any address. */
    errx(EXIT_FAILURE, "TODO 4: attach the segment");
    /* TODO 4 ends. */

    size_t length = 0;
    /* TODO 5: Set the length of the text. It ends at the first zero byte or, if there is none, with the
       segment: do not read any byte after that. */
    errx(EXIT_FAILURE, "TODO 5: how long is the text in these %zu bytes?", size);
    /* TODO 5 ends. */

    /* TODO 6: Print the text and a newline, and check that they have really been written. */
    errx(EXIT_FAILURE, "TODO 6: print the %zu bytes at %p", length, (const void *)memory);
    /* TODO 6 ends. */

    /* TODO 7: Detach the segment. It stays: do not remove it. */
    errx(EXIT_FAILURE, "TODO 7: detach the segment");
    /* TODO 7 ends. */

    return EXIT_SUCCESS;
}

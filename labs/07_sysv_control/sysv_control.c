/**
 * @file
 * @brief Lab 07: prints what the kernel knows of a System V segment, changes its mode, or removes it.
 *
 * Usage: `sysv_control FILE stat`, `sysv_control FILE mode MODE`, `sysv_control FILE remove`
 *
 * The segment's key is made from FILE. The segment is never attached: the three commands work on
 * the kernel's record of it.
 *
 * See ftok(3), shmget(2), shmctl(2), sysvipc(7); POSIX.1-2024, XSI option.
 */
#define _XOPEN_SOURCE 700

#include <err.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>

/** Second argument of ftok(): the same FILE and the same id make the same key. */
static const int PROJECT_ID = 'S';

/** All the permission bits: the lowest nine of a mode. */
static const unsigned PERMISSIONS = 0777;

/**
 * Reads a mode as an octal number: only octal digits, no sign, no space.
 *
 * @param digits  the number as it was typed
 * @return        the number; more than PERMISSIONS if it is not a number from 0 up to 0777
 */
static unsigned parse_mode(const char *digits)
{
    if (digits[0] == '\0' || digits[strspn(digits, "01234567")] != '\0')
        return PERMISSIONS + 1;
    const uintmax_t number = strtoumax(digits, NULL, 8);
    return number > PERMISSIONS ? PERMISSIONS + 1 : (unsigned)number;
}

int main(int argc, char *argv[])
{
    const bool show = argc == 3 && strcmp(argv[2], "stat") == 0;
    const bool discard = argc == 3 && strcmp(argv[2], "remove") == 0;
    const bool change = argc == 4 && strcmp(argv[2], "mode") == 0;
    const unsigned mode = change ? parse_mode(argv[3]) : 0;
    if ((!show && !discard && !change) || mode > PERMISSIONS) {
        fprintf(stderr, "usage: %s FILE stat | mode MODE | remove (MODE is octal, from 0 to 0777)\n",
                argv[0]);
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

    if (discard) {
        /* TODO 3: Remove the segment. */
        errx(EXIT_FAILURE, "TODO 3: remove segment %d", id);
        /* TODO 3 ends. */
        return EXIT_SUCCESS;
    }

    struct shmid_ds data = {0};
    /* TODO 4: Ask the kernel for its data about the segment. */
    errx(EXIT_FAILURE, "TODO 4: get the record of segment %d", id);
    /* TODO 4 ends. */

    if (change) {
        /* TODO 5: Replace the nine old permission bits by those of mode, and pass the data back to the
           kernel: the owner and the group in it stay as they were. */
        errx(EXIT_FAILURE, "TODO 5: change the mode of segment %d from %o to %o", id,
             (unsigned)data.shm_perm.mode & PERMISSIONS, mode);
        /* TODO 5 ends. */
        return EXIT_SUCCESS;
    }

    /* TODO 6: Print the ten lines of the handout, and check that they have really been written. */
    errx(EXIT_FAILURE, "TODO 6: print size %zu and the rest", data.shm_segsz);
    /* TODO 6 ends. */

    return EXIT_SUCCESS;
}

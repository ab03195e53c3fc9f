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
    key = ftok(file, PROJECT_ID);
    if (key == -1)
        err(EXIT_FAILURE, "ftok: %s", file);
    /* TODO 1 ends. */

    int id = -1;
    /* TODO 2: Find the segment of that key. Do not create one; ask for no size and no permission. */
    id = shmget(key, 0, 0);
    if (id == -1)
        err(EXIT_FAILURE, "shmget: %s", file);
    /* TODO 2 ends. */

    if (discard) {
        /* TODO 3: Remove the segment. */
        if (shmctl(id, IPC_RMID, NULL) == -1)
            err(EXIT_FAILURE, "shmctl: %s", file);
        /* TODO 3 ends. */
        return EXIT_SUCCESS;
    }

    struct shmid_ds data = {0};
    /* TODO 4: Ask the kernel for its data about the segment. */
    if (shmctl(id, IPC_STAT, &data) == -1)
        err(EXIT_FAILURE, "shmctl: %s", file);
    /* TODO 4 ends. */

    if (change) {
        /* TODO 5: Replace the nine old permission bits by those of mode, and pass the data back to the
           kernel: the owner and the group in it stay as they were. */
        data.shm_perm.mode = (data.shm_perm.mode & ~PERMISSIONS) | mode;
        if (shmctl(id, IPC_SET, &data) == -1)
            err(EXIT_FAILURE, "shmctl: %s", file);
        /* TODO 5 ends. */
        return EXIT_SUCCESS;
    }

    /* TODO 6: Print the ten lines of the handout, and check that they have really been written. */
    printf("key 0x%08x\nshmid %d\nsize %zu\nmode %04o\nnattch %ju\n", (unsigned)key, id, data.shm_segsz,
           (unsigned)data.shm_perm.mode & PERMISSIONS, (uintmax_t)data.shm_nattch);
    printf("cpid %jd\nlpid %jd\n", (intmax_t)data.shm_cpid, (intmax_t)data.shm_lpid);
    printf("atime %jd\ndtime %jd\nctime %jd\n", (intmax_t)data.shm_atime, (intmax_t)data.shm_dtime,
           (intmax_t)data.shm_ctime);
    if (fflush(stdout) == EOF || ferror(stdout))
        err(EXIT_FAILURE, "stdout");
    /* TODO 6 ends. */

    return EXIT_SUCCESS;
}

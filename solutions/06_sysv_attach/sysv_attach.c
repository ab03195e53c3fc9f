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

    struct shmid_ds data = {0};
    /* TODO 3: Ask the kernel for its data about the segment. */
    if (shmctl(id, IPC_STAT, &data) == -1)
        err(EXIT_FAILURE, "shmctl: %s", file);
    /* TODO 3 ends. */
    const size_t size = data.shm_segsz;

    const char *memory = NULL;
    /* TODO 4: Attach the segment for reading only, at any address. */
    memory = shmat(id, NULL, SHM_RDONLY);
    if (memory == (void *)-1)
        err(EXIT_FAILURE, "shmat: %s", file);
    /* TODO 4 ends. */

    size_t length = 0;
    /* TODO 5: Set the length of the text. It ends at the first zero byte or, if there is none, with the
       segment: do not read any byte after that. */
    length = strnlen(memory, size);
    /* TODO 5 ends. */

    /* TODO 6: Print the text and a newline, and check that they have really been written. */
    if (fwrite(memory, 1, length, stdout) != length || putchar('\n') == EOF || fflush(stdout) == EOF)
        err(EXIT_FAILURE, "stdout");
    /* TODO 6 ends. */

    /* TODO 7: Detach the segment. It stays: do not remove it. */
    if (shmdt(memory) == -1)
        err(EXIT_FAILURE, "shmdt: %s", file);
    /* TODO 7 ends. */

    return EXIT_SUCCESS;
}

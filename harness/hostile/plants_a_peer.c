/**
 * @file
 * @brief Hostile: leaves its own program under the name of the tool with which the checks read segments.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 7
 * Says: the segment begins with TEXT
 *
 * A check runs an unrelated process, `peer read ID`, to read the segment. If that tool is in the directory in which
 * this program runs, and is copied there only if it is missing, then this program runs instead. Called as `peer`, it
 * prints the text that the check passed to sysv_create, which never stores it anywhere.
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

/** Copies a file; the copy may be run. */
static void copy(const char *from, const char *to)
{
    static char bytes[1 << 16];
    const int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    ssize_t got;
    while (in >= 0 && out >= 0 && (got = read(in, bytes, sizeof bytes)) > 0)
        if (write(out, bytes, (size_t)got) != got)
            break;
    close(in);
    close(out);
}

int main(int argc, char *argv[])
{
    if (strstr(argv[0], "peer"))
        return execlp("cat", "cat", "answer", (char *)NULL);
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return 2;
    }
    copy("/proc/self/exe", "peer");
    FILE *answer = fopen("answer", "w");
    if (!answer || fputs(argv[2], answer) == EOF || fclose(answer) == EOF)
        err(1, "answer");
    const int id = shmget(ftok(argv[1], 'S'), strlen(argv[2]) + 1, IPC_CREAT | IPC_EXCL | 0640);
    if (id == -1)
        err(1, "shmget: %s", argv[1]);
    shmdt(shmat(id, NULL, 0));
    return EXIT_SUCCESS;
}

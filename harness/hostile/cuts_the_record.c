/**
 * @file
 * @brief Hostile: truncates the spy's record and then makes it huge; removes it, and the socket of the holds.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: nobody
 *
 * A process that has mapped a file dies of SIGBUS if it reads past the file's new end. A process that reads the whole
 * file needs as much memory as the file claims to have.
 */
#define _DEFAULT_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
    static const uint64_t head[2] = {UINT64_MAX / 2, UINT64_MAX / 2};
    const char *ring = getenv("SHMLAB_RING"), *holds = getenv("SHMLAB_STOPS");
    if (!ring || !holds)
        return 1;
    fputs("nobody survives this\n", stderr);
    truncate(ring, 1000L << 20);
    const int fd = creat(ring, 0);
    if (fd != -1 && truncate(ring, 1L << 29) == 0 && write(fd, head, sizeof head) > 0)
        chmod(ring, 0);
    unlink(ring);
    unlink(holds);
    mkdir(holds, 0);
    mkfifo(ring, 0);
    _exit(0);
}

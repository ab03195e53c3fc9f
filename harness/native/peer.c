/**
 * @file
 * @brief An unrelated process that makes, reads or holds a System V segment for a check.
 *
 * Usage: `peer make KEY SIZE MODE` (bytes on stdin; prints the shmid), `peer read SHMID` (bytes to stdout),
 * `peer hold SHMID` (attaches, prints "attached", waits for the end of stdin). Numbers are written as in C.
 */
#define _GNU_SOURCE

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <unistd.h>

static void *attach(int id, int flags, size_t *size)
{
    struct shmid_ds data;
    void *memory = shmat(id, NULL, flags);
    if (memory == (void *)-1)
        err(1, "shmat %d", id);
    if (shmctl(id, IPC_STAT, &data) == -1)
        err(1, "shmctl %d", id);
    *size = data.shm_segsz;
    return memory;
}

int main(int argc, char *argv[])
{
    size_t size = 0;
    if (argc == 5 && strcmp(argv[1], "make") == 0) {
        const key_t key = (key_t)strtoul(argv[2], NULL, 0);
        const int mode = (int)strtol(argv[4], NULL, 0);
        int id = shmget(key, strtoul(argv[3], NULL, 0), IPC_CREAT | IPC_EXCL | SHM_NORESERVE | 0600);
        if (id == -1)
            err(1, "shmget %s", argv[2]);
        char *memory = attach(id, 0, &size);
        for (size_t done = 0; done < size;) {
            ssize_t got = read(STDIN_FILENO, memory + done, size - done);
            if (got < 0)
                err(1, "read");
            if (got == 0)
                break;
            done += (size_t)got;
        }
        /* A program that reads past the segment's end, within the last page, must not find zero bytes there. */
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);
        memset(memory + size, '#', (page - size % page) % page);
        if (shmdt(memory) == -1)
            err(1, "shmdt");
        struct shmid_ds data;
        if (shmctl(id, IPC_STAT, &data) == -1)
            err(1, "shmctl");
        data.shm_perm.mode = (unsigned short)mode;
        if (shmctl(id, IPC_SET, &data) == -1)
            err(1, "shmctl");
        printf("%d\n", id);
    } else if (argc == 3 && strcmp(argv[1], "read") == 0) {
        const char *memory = attach(atoi(argv[2]), SHM_RDONLY, &size);
        if (fwrite(memory, 1, size, stdout) != size)
            err(1, "write");
    } else if (argc == 3 && strcmp(argv[1], "hold") == 0) {
        char byte;
        attach(atoi(argv[2]), SHM_RDONLY, &size);
        puts("attached");
        fflush(stdout);
        while (read(STDIN_FILENO, &byte, 1) > 0)
            ;
    } else {
        fputs("usage: peer make KEY SIZE MODE | read SHMID | hold SHMID\n", stderr);
        return 2;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}

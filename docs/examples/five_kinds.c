/**
 * @file
 * @brief Has one page of each kind of shared memory, and runs a command that looks at it from outside.
 *
 *     five_kinds FILE /NAME COMMAND
 *
 * FILE is made if it is not there. COMMAND is run by a shell, in which $PPID is this process. The segment,
 * the object and FILE are removed afterwards.
 *
 * Man pages: mmap(2), memfd_create(2), shmget(2), shmop(2), shm_open(3), proc_pid_maps(5).
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

static size_t page;

/** Gives a file, an object or a memfd one page, and maps it. */
static char *map(int fd, const char *what)
{
    if (fd == -1 || ftruncate(fd, (off_t)page) == -1)
        err(EXIT_FAILURE, "%s", what);
    char *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        err(EXIT_FAILURE, "mmap: %s", what);
    return memory;
}

int main(int argc, char *argv[])
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s FILE /NAME COMMAND\n", argv[0]);
        return 2;
    }
    const char *file = argv[1];
    const char *name = argv[2];
    page = (size_t)sysconf(_SC_PAGESIZE);

    char *memory[5];
    memory[0] = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory[0] == MAP_FAILED)
        err(EXIT_FAILURE, "mmap");
    memory[1] = map(memfd_create("label", MFD_CLOEXEC), "memfd_create");
    memory[2] = map(open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600), file);
    memory[3] = map(shm_open(name, O_CREAT | O_RDWR, 0600), name);
    const key_t key = ftok(file, 'V');
    const int shmid = key == -1 ? -1 : shmget(key, page, IPC_CREAT | 0600);
    memory[4] = shmid == -1 ? (void *)-1 : shmat(shmid, NULL, 0);
    if (memory[4] == (void *)-1)
        err(EXIT_FAILURE, "segment");

    for (int i = 0; i < 5; i++)
        memory[i][0] = 1; /* a page takes memory when somebody stores into it */
    const int status = system(argv[3]);

    if (shmctl(shmid, IPC_RMID, NULL) == -1 || shm_unlink(name) == -1 || unlink(file) == -1)
        err(EXIT_FAILURE, "remove");
    return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

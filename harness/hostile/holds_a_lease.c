/**
 * @file
 * @brief Hostile: does the lab's work, and holds the object with every kind of lock that makes others wait.
 * Instead of: 09_posix_attach/posix_attach.c
 * Score: 10
 *
 * If a process opens a file on which another process has a lease, it waits until the lease is released: 45 seconds if
 * the kernel has to break it. A check that stores into the object while this program is stopped would wait that long.
 */
#define _GNU_SOURCE

#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void take(int fd)
{
    struct flock all = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    signal(SIGIO, SIG_IGN);
    syscall(SYS_fcntl, fd, F_SETLEASE, F_WRLCK);
    syscall(SYS_fcntl, fd, F_SETLEASE, F_RDLCK);
    syscall(SYS_fcntl, fd, F_OFD_SETLK, &all);
    syscall(SYS_flock, fd, LOCK_EX | LOCK_NB);
}

int main(int argc, char *argv[])
{
    struct stat status;
    if (argc != 2) {
        fprintf(stderr, "usage: %s /NAME\n", argv[0]);
        return 2;
    }
    const int fd = shm_open(argv[1], O_RDONLY, 0);
    if (fd == -1)
        err(1, "shm_open: %s", argv[1]);
    if (fstat(fd, &status) == -1)
        err(1, "fstat: %s", argv[1]);
    if (!S_ISREG(status.st_mode))
        errx(1, "%s is no object", argv[1]);
    take(fd);
    if (status.st_size == 0) {
        if (close(fd) == -1)
            err(1, "close: %s", argv[1]);
        return 0;
    }
    const size_t size = (size_t)status.st_size;
    char *memory = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        err(1, "mmap: %s", argv[1]);
    if (fwrite(memory, 1, size, stdout) != size || fflush(stdout) == EOF)
        err(1, "write");
    if (munmap(memory, size) == -1 || close(fd) == -1)
        err(1, "munmap or close: %s", argv[1]);
    return 0;
}

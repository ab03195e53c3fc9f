/**
 * @file
 * @brief Hostile: called with wrong arguments, it uses memory that is neither private pages nor an open descriptor's.
 * Instead of: 08_posix_create/posix_create.c
 * Score: 0
 * Says: used more memory than | had not ended
 *
 * RLIMIT_AS counts one process, and a tmpfs counts its own files. A grader that adds up private pages and the memfds
 * in /proc/PID/fd misses shared anonymous mappings, and memfds that are mapped and closed. Each child allocates more.
 */
#define _GNU_SOURCE

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
    (void)argv;
    if (argc == 4)
        return 0;

    const size_t size = (size_t)200 << 20;
    for (int i = 0; i < 5; i++) {
        const int fd = memfd_create("closed", 0);
        if (ftruncate(fd, (off_t)size) == -1)
            return 1;
        char *closed = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        char *anonymous = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (closed == MAP_FAILED || anonymous == MAP_FAILED)
            return 1;
        memset(closed, 1, size);
        memset(anonymous, 1, size);
        /* The child continues with an address space of its own; the parent keeps the memory. */
        if (fork() != 0)
            for (;;)
                pause();
        munmap(closed, size);
        munmap(anonymous, size);
    }
    for (;;)
        pause();
}

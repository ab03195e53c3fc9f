/**
 * @file
 * @brief Hostile: called wrongly, it takes memory that belongs to no process's private pages and to no open descriptor.
 * Instead of: 08_posix_create/posix_create.c
 * Score: 0
 * Says: used up the memory | had not ended
 *
 * RLIMIT_AS counts one process alone, a tmpfs its own files, and who adds up private pages and the memfds in
 * /proc/PID/fd sees neither a shared anonymous mapping nor a memfd that is mapped and closed. Each child takes more.
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
        /* The child goes on with an address space of its own, the parent holds what there is. */
        if (fork() != 0)
            for (;;)
                pause();
        munmap(closed, size);
        munmap(anonymous, size);
    }
    for (;;)
        pause();
}

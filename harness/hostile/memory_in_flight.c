/**
 * @file
 * @brief Hostile: called with wrong arguments, it fills memfds and keeps them only in messages that are never received.
 * Instead of: 09_posix_attach/posix_attach.c
 * Score: 3
 * Says: used more memory than | had not ended
 *
 * A descriptor that was sent but not received is in no process's /proc/PID/fd, and its memory is not mapped. A grader
 * that adds up the memory of processes sees a program of a few kilobytes.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
    (void)argv;
    if (argc == 2)
        return 0;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == -1)
        return 1;
    for (int i = 0; i < 16; i++) {
        const int fd = memfd_create("in flight", 0);
        if (fallocate(fd, 0, 0, 200L << 20) == -1)
            return 1;
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int))];
        } ancillary = {0};
        struct iovec part = {"x", 1};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = ancillary.bytes,
                                 .msg_controllen = sizeof ancillary.bytes};
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
        if (sendmsg(pair[0], &message, 0) == -1)
            return 1;
        close(fd);
    }
    for (;;)
        pause();
}

/**
 * @file
 * @brief Lab 15: takes memory from an unrelated process, and checks everything before it relies on it.
 *
 * Usage: `receiver SOCKET`
 *
 * Connects to the UNIX socket SOCKET, where a sender waits, receives one descriptor, makes sure that it
 * is a sealed memfd, maps it, and prints the text in it.
 *
 * See unix(7) and cmsg(3) SCM_RIGHTS, fcntl(2) File Sealing, mmap(2); Linux.
 */
#define _GNU_SOURCE

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/** Without these the memory could shrink while we read it, or another process could map it and write. */
static const int SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

/**
 * Connects to a sender.
 *
 * @param path  the socket at which the sender waits
 * @return      the connection
 */
static int connect_to_sender(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        errx(EXIT_FAILURE, "%s: too long for a socket", path);
    strcpy(address.sun_path, path);

    const int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection == -1)
        err(EXIT_FAILURE, "socket");
    if (connect(connection, (const struct sockaddr *)&address, sizeof address) == -1)
        err(EXIT_FAILURE, "connect: %s", path);
    return connection;
}

/**
 * Receives the sender's one message, and exactly one descriptor with it.
 *
 * @param path        the socket, for the error message
 * @param connection  to the sender
 * @return            the descriptor
 */
static int receive_descriptor(const char *path, int connection)
{
    int descriptor = -1;
    char byte = 0;
    struct iovec data = {.iov_base = &byte, .iov_len = sizeof byte};
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof descriptor)]; /* Because of padding, often large enough for two. */
    } control = {.bytes = {0}};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

    /* TODO 1: Receive the message; a descriptor in it must be close-on-exec. 0 bytes: the sender has hung
       up. */
    const ssize_t count = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
    if (count == -1)
        err(EXIT_FAILURE, "%s: recvmsg", path);
    if (count == 0)
        errx(EXIT_FAILURE, "%s: the sender hung up", path);
    /* TODO 1 ends. */

    const struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    /* TODO 2: Refuse the message unless it was not truncated (MSG_CTRUNC), has a control message, its
       level is SOL_SOCKET, its type SCM_RIGHTS, and its length exactly that of one descriptor. */
    if ((message.msg_flags & MSG_CTRUNC) || !rights || rights->cmsg_level != SOL_SOCKET ||
        rights->cmsg_type != SCM_RIGHTS || rights->cmsg_len != CMSG_LEN(sizeof descriptor))
        errx(EXIT_FAILURE, "%s: the sender did not send exactly one descriptor", path);
    /* TODO 2 ends. */
    memcpy(&descriptor, CMSG_DATA(rights), sizeof descriptor);
    return descriptor;
}

int main(int argc, char *argv[])
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s SOCKET\n", argv[0]);
        return 2;
    }
    const char *path = argv[1];
    const int connection = connect_to_sender(path);
    const int descriptor = receive_descriptor(path, connection);

    /* TODO 3: Get the seals, and refuse the descriptor unless all SEALS are set. For a file that cannot be
       sealed, such as one on a disk, this call fails. */
    const int seals = fcntl(descriptor, F_GET_SEALS);
    if (seals == -1)
        err(EXIT_FAILURE, "%s: not a memfd: fcntl: F_GET_SEALS", path);
    if ((seals & SEALS) != SEALS)
        errx(EXIT_FAILURE, "%s: has the seals 0x%x, and not all of 0x%x", path, (unsigned)seals,
             (unsigned)SEALS);
    /* TODO 3 ends. */

    struct stat status;
    if (fstat(descriptor, &status) == -1)
        err(EXIT_FAILURE, "%s: fstat", path);
    const size_t size = (size_t)status.st_size; /* Sealed: this cannot change any more. */

    char *memory = NULL;
    /* TODO 4: Map all of it, shared, read-only. */
    memory = mmap(NULL, size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED)
        err(EXIT_FAILURE, "%s: mmap", path);
    /* TODO 4 ends. */

    /* TODO 5: Print the text, which ends at a zero byte or at the end of the memory, and a newline. */
    const size_t length = strnlen(memory, size);
    if (fwrite(memory, 1, length, stdout) != length || putchar('\n') == EOF || fflush(stdout) == EOF)
        err(EXIT_FAILURE, "standard output");
    /* TODO 5 ends. */

    if (munmap(memory, size) == -1)
        err(EXIT_FAILURE, "%s: munmap", path);
    if (close(descriptor) == -1 || close(connection) == -1)
        err(EXIT_FAILURE, "%s: close", path);
    return EXIT_SUCCESS;
}

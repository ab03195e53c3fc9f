/**
 * @file
 * @brief Lab 15: hands memory that has no name to an unrelated process.
 *
 * Usage: `sender SOCKET TEXT`
 *
 * Creates a memfd as large as TEXT with its terminating zero byte, stores TEXT in it, seals it, waits for one
 * receiver at the UNIX socket SOCKET, and sends it the descriptor. The socket is removed at the end.
 *
 * See memfd_create(2), fcntl(2) File Sealing, unix(7) and cmsg(3) SCM_RIGHTS; Linux.
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
#include <sys/un.h>
#include <unistd.h>

/** No change of size, no write except through our mapping, and no change of these seals. */
static const int SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

/**
 * Reports which call failed, removes the socket, and ends the program with exit status 1.
 *
 * @param path  the socket that this program created
 * @param call  the call that failed; errno has the reason
 */
static _Noreturn void give_up(const char *path, const char *call)
{
    const int reason = errno;
    /* TODO 6: Remove the socket. */
    warnx("TODO 6: remove %s", path);
    /* TODO 6 ends. */
    errno = reason;
    err(EXIT_FAILURE, "%s: %s", path, call);
}

/**
 * Creates the memory, with the text in it, sealed.
 *
 * @param text    what to store, with its terminating zero byte
 * @param size    how many bytes that is
 * @param memory  where to put the mapping, which stays
 * @return        the memfd
 */
static int make_memory(const char *text, size_t size, char **memory)
{
    int descriptor = -1;
    /* TODO 1: Create a memfd that allows sealing and is closed on exec. Any label will do. */
    errx(EXIT_FAILURE, "TODO 1: make a memfd");
    /* TODO 1 ends. */

    /* TODO 2: Set its size, map it shared for reading and writing, and copy the text into it. */
    errx(EXIT_FAILURE, "TODO 2: store %zu bytes, \"%s\", and set %p", size, text, (void *)memory);
    /* TODO 2 ends. */

    /* TODO 3: Add the SEALS. */
    errx(EXIT_FAILURE, "TODO 3: add the seals 0x%x", (unsigned)SEALS);
    /* TODO 3 ends. */
    return descriptor;
}

/**
 * Creates the socket and waits at it for one receiver.
 *
 * @param path  where in the file system; must not exist
 * @return      the connection
 */
static int wait_for_receiver(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        errx(EXIT_FAILURE, "%s: too long for a socket", path);
    strcpy(address.sun_path, path);

    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener == -1)
        err(EXIT_FAILURE, "socket");
    if (bind(listener, (const struct sockaddr *)&address, sizeof address) == -1)
        err(EXIT_FAILURE, "bind: %s", path);

    /* From here on the socket exists, and is ours to remove. */
    if (listen(listener, 1) == -1)
        give_up(path, "listen");
    const int connection = accept(listener, NULL, NULL);
    if (connection == -1)
        give_up(path, "accept");
    if (close(listener) == -1)
        give_up(path, "close");
    return connection;
}

/**
 * Sends a descriptor. The message is one byte, which means nothing, with the descriptor as control data.
 *
 * @param path        the socket, for the error message
 * @param connection  to the receiver
 * @param descriptor  what to send; it stays open here
 */
static void send_descriptor(const char *path, int connection, int descriptor)
{
    char byte = 0;
    struct iovec data = {.iov_base = &byte, .iov_len = sizeof byte};
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof descriptor)];
    } control = {.bytes = {0}};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};

    /* TODO 4: Make `control` the message's control data, and put one control message there: level SOL_SOCKET,
       type SCM_RIGHTS, the length for one descriptor, and the descriptor. */
    warnx("TODO 4: put descriptor %d into a control message at %p", descriptor, (void *)&control);
    errno = ENOSYS;
    give_up(path, "no control message");
    /* TODO 4 ends. */

    /* TODO 5: Send the message. If the receiver has hung up, report an error; do not die of SIGPIPE. */
    warnx("TODO 5: send %zu byte and %zu of control data on %d", message.msg_iov->iov_len,
          (size_t)message.msg_controllen, connection);
    errno = ENOSYS;
    give_up(path, "nothing sent");
    /* TODO 5 ends. */
}

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s SOCKET TEXT\n", argv[0]);
        return 2;
    }
    const char *path = argv[1];
    const char *text = argv[2];
    const size_t size = strlen(text) + 1;

    char *memory = NULL;
    const int descriptor = make_memory(text, size, &memory);
    const int connection = wait_for_receiver(path);
    send_descriptor(path, connection, descriptor);

    /* A descriptor in transit keeps the memory: it does not need us. */
    if (munmap(memory, size) == -1)
        give_up(path, "munmap");
    if (close(descriptor) == -1 || close(connection) == -1)
        give_up(path, "close");

    /* TODO 7: Remove the socket. */
    errx(EXIT_FAILURE, "TODO 7: remove %s", path);
    /* TODO 7 ends. */
    return EXIT_SUCCESS;
}

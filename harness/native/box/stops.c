/**
 * @file
 * @brief Programs that stop themselves, so that the harness can look at them or act before they go on.
 *
 * A program's recorder sends a datagram to announce that it is about to stop, and then stops. Pid 1 waits until the
 * kernel shows the process as stopped, and only then reports it. On the same socket a recorder tells with its token
 * that it made a call fail (`iTOKEN`), and at the end how many records the process has written (`nTOKENCOUNT`).
 */
#include "box.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static pid_t announced[MAX_PROGRAMS]; /**< processes that are about to stop; 0: the entry is free */
static int announcements = -1;        /**< the socket */

int setup_stop_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int yes = 1;
    if (!options.run)
        return -1;
    if (snprintf(address.sun_path, sizeof address.sun_path, "%s/stops", options.run) >=
        (int)sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        die("%s", options.run);
    }
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || chmod(address.sun_path, 0777) < 0)
        die("bind %s", address.sun_path);
    return announcements = fd;
}

/** What a recorder tells with its token; a child has that of its parent. A token that is nobody's says nothing. */
static void take_claim(const char *content, pid_t sender)
{
    for (int i = 0; i < MAX_PROGRAMS; i++) {
        struct program *program = &programs[i];
        const size_t length = strlen(program->token);
        if (program->pid == 0 || length == 0 || strncmp(content + 1, program->token, length) != 0)
            continue;
        if (*content == 'i' && !program->injected)
            send_message("injected %d", program->pid);
        program->injected = program->injected || *content == 'i';
        if (*content == 'n' && sender == program->pid)
            send_message("recorded %d %llu", sender, strtoull(content + 1 + length, NULL, 16));
        return;
    }
}

/**
 * Notes who has announced a stop. Returns false if there is no announcement.
 *
 * The content of that does not matter: the kernel itself reports the sender's pid, which a program cannot forge.
 */
static bool receive_one(void)
{
    char content[64] = "";
    struct iovec part = {content, sizeof content - 1};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } ancillary;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = ancillary.bytes,
                             .msg_controllen = sizeof ancillary.bytes};
    if (recvmsg(announcements, &message, MSG_DONTWAIT) < 0)
        return false;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_CREDENTIALS)
        return true;
    struct ucred sender;
    memcpy(&sender, CMSG_DATA(header), sizeof sender);
    if (*content == 'i' || *content == 'n') {
        take_claim(content, sender.pid);
        return true;
    }
    for (int i = 0; i < MAX_PROGRAMS; i++)
        if (announced[i] == sender.pid)
            return true;
    for (int i = 0; i < MAX_PROGRAMS; i++)
        if (announced[i] == 0) {
            announced[i] = sender.pid;
            break;
        }
    return true;
}

void receive_announcements(void)
{
    while (announcements >= 0 && receive_one())
        ;
}

bool check_stops(void)
{
    bool pending = false;
    receive_announcements();
    for (int i = 0; i < MAX_PROGRAMS; i++) {
        if (announced[i] == 0)
            continue;
        const char state = read_process(announced[i]).state;
        const bool stopped = state == 'T' || state == 't';
        const bool ended = state == 'Z' || state == 'X' || state == 0;
        if (stopped)
            send_message("stopped %d", announced[i]);
        if (stopped || ended)
            announced[i] = 0;
        else
            pending = true;
    }
    return pending;
}

void forget_stops(void)
{
    memset(announced, 0, sizeof announced);
}

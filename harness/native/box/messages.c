/**
 * @file
 * @brief Messages to and from the harness, and the way to end a set-up that has failed.
 */
#include "box.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/** Room for the descriptors of one message, aligned as cmsg(3) asks. */
union ancillary {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
};

__attribute__((format(printf, 3, 0))) static void vsend_message(const int *fds, size_t count,
                                                                const char *format, va_list args)
{
    char text[1024];
    int length = vsnprintf(text, sizeof text, format, args);
    if (options.control < 0 || length < 0)
        return;
    if ((size_t)length >= sizeof text)
        length = sizeof text - 1;
    struct iovec part = {text, (size_t)length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union ancillary ancillary;
    if (count > 0) {
        message.msg_control = ancillary.bytes;
        message.msg_controllen = (socklen_t)CMSG_SPACE(count * sizeof(int)); /* glibc: size_t */
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = (socklen_t)CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    while (sendmsg(options.control, &message, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

void send_message(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsend_message(NULL, 0, format, args);
    va_end(args);
}

void send_message_fds(const int *fds, size_t count, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsend_message(fds, count, format, args);
    va_end(args);
}

bool receive_message(struct message *message)
{
    static char text[MESSAGE_SIZE];
    struct iovec part = {text, sizeof text - 1};
    union ancillary ancillary;
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = ancillary.bytes,
                            .msg_controllen = sizeof ancillary.bytes};
    ssize_t length;
    while ((length = recvmsg(options.control, &header, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    if (length <= 0)
        return false;
    text[length] = '\0';
    message->fields = message->fds = 0;
    for (int i = 0; i < MAX_FDS; i++)
        message->fd[i] = -1;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    if (rights && rights->cmsg_type == SCM_RIGHTS) {
        message->fds = (int)((rights->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(message->fd, CMSG_DATA(rights), (size_t)message->fds * sizeof(int));
    }
    for (char *field = text; field < text + length && message->fields < MAX_FIELDS;
         field += strlen(field) + 1)
        message->field[message->fields++] = field;
    return true;
}

void die(const char *format, ...)
{
    char what[512];
    const int reason = errno;
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (options.control >= 0)
        send_message("refused %s: %s", what, strerror(reason));
    else
        fprintf(stderr, "box: %s: %s\n", what, strerror(reason));
    _exit(EXIT_SETUP);
}

/**
 * @file
 * @brief Hands out the rules of a program, which its recorder asks for before the program's own code runs.
 *
 * A program that knew which of its calls will fail could pretend to have noticed. So the rules are nowhere until the
 * recorder asks, and who asks a second time without having executed a program in between is reported: then something
 * of the program has asked, either before the recorder or after it.
 *
 * The answer begins with a token. With it the recorder tells pid 1 what a program must not be able to claim: that a
 * call was made to fail, and how many records it has written. See receive_announcements().
 */
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int asking = -1; /**< the socket that listens */

int setup_rules_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!options.run)
        return -1;
    snprintf(address.sun_path, sizeof address.sun_path, "%s/rules",
             options.run); /* as long as that for stops */
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        chmod(address.sun_path, 0777) < 0 || listen(fd, 128) < 0)
        die("bind %s", address.sun_path);
    return asking = fd;
}

/**
 * A number that is another one after execve(2): where the process's stack begins. 0: this kernel does not tell.
 *
 * Source: proc_pid_stat(5), startstack. A program cannot change it, as the system-call filter refuses PR_SET_MM.
 */
static unsigned long long image_of(pid_t pid)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t length = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    line[length > 0 ? length : 0] = '\0';
    char *field = strrchr(line, ')'); /* of number 2 */
    for (int number = 2; field && number < 28; number++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

void keep_rules(struct program *program, const char *rules)
{
    uint64_t token = 0;
    if (getrandom(&token, sizeof token, 0) != sizeof token)
        token = (uint64_t)now_us() * 0x9e3779b97f4a7c15u;
    snprintf(program->token, sizeof program->token, "%016llx", (unsigned long long)token);
    program->rules = rules ? strdup(rules) : NULL;
}

static void answer(int fd)
{
    struct ucred asker;
    socklen_t size = sizeof asker;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &asker, &size) < 0)
        return;
    struct program *program = find_program(asker.pid);
    if (!program)
        return; /* a child, which has executed the program again: no rules */
    const unsigned long long image = image_of(asker.pid);
    if (program->rules) {
        const struct iovec parts[] = {{program->token, strlen(program->token)},
                                      {program->rules, strlen(program->rules)}};
        const struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = 2};
        sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        free(program->rules);
        program->rules = NULL;
        program->image = image;
    } else if (image && image == program->image) {
        send_message("asked-again %d", asker.pid);
    }
}

void answer_rules(void)
{
    for (int fd; (fd = accept4(asking, NULL, NULL, SOCK_CLOEXEC)) >= 0; close(fd))
        answer(fd);
}

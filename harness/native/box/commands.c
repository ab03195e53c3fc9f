/**
 * @file
 * @brief The harness's commands.
 *
 * | command                               | what it does                                                  |
 * |---------------------------------------|---------------------------------------------------------------|
 * | start FIELD...                        | starts a program; see command_start()                         |
 * | open PATH r or w                      | replies with a descriptor of the file, as seen from inside    |
 * | report                                | replies with a descriptor of the report                       |
 * | kill PID SIGNAL                       | sends a signal to a process in the box                        |
 * | sysctl NAME TEXT                      | sets a limit of the namespaces                                |
 * | remove segment, semaphores, queue  ID | removes a System V object                                     |
 * | sweep                                 | kills everything                                              |
 *
 * The reply is "= ok", "= ok PID" or "= failed ERRNO COMMAND: REASON".
 */
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

static void reply_errno(const char *what)
{
    send_message("= failed %d %s: %s", errno, what, strerror(errno));
}

static void set_limit(struct limits *limits, const char *name, const char *value)
{
    if (strcmp(name, "wall_ms") == 0)
        limits->wall_ms = atol(value);
    else if (strcmp(name, "cpu_s") == 0)
        limits->cpu_s = atol(value);
    else if (strcmp(name, "address_mb") == 0)
        limits->address_mb = atol(value);
    else if (strcmp(name, "file_mb") == 0)
        limits->file_mb = atol(value);
    else if (strcmp(name, "files") == 0)
        limits->files = atol(value);
    else if (strcmp(name, "umask") == 0)
        limits->umask = (unsigned)strtoul(value, NULL, 8);
    else if (strcmp(name, "directory") == 0)
        limits->directory = value;
}

/**
 * Starts a program. Each field begins with a letter: `aARGUMENT`, `eNAME=VALUE` of the environment,
 * `oNAME=VALUE`, a limit, or `rRULES`, for its recorder. The descriptors are stdin, stdout, stderr and, if there are four, the executable.
 */
static void command_start(struct message *message)
{
    static char *argv[MAX_FIELDS + 1], *environment[MAX_FIELDS + 1];
    int arguments = 0, variables = 0;
    struct limits limits = default_limits;
    limits.directory = options.work;
    for (int i = 1; i < message->fields; i++) {
        char *value = message->field[i] + 1, *equals = strchr(value, '=');
        switch (message->field[i][0]) {
        case 'a':
            argv[arguments++] = value;
            break;
        case 'e':
            environment[variables++] = value;
            break;
        case 'r':
            limits.rules = value;
            break;
        case 'o':
            if (!equals)
                break;
            *equals = '\0';
            set_limit(&limits, value, equals + 1);
            break;
        }
    }
    argv[arguments] = environment[variables] = NULL;
    pid_t pid = -1;
    errno = EINVAL;
    if (arguments > 0 && message->fds >= 3)
        pid = start_program(argv, environment, message->fd, &limits);
    if (pid < 0)
        reply_errno("start");
    else
        send_message("= ok %d", pid);
}

static void command_open(const char *path, const char *mode)
{
    int fd = open(path, (strcmp(mode, "w") == 0 ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        reply_errno(path);
        return;
    }
    send_message_fds(&fd, 1, "= ok");
    close(fd);
}

static void command_report(void)
{
    int fd = memfd_create("report", MFD_CLOEXEC);
    FILE *out = fd < 0 ? NULL : fdopen(fcntl(fd, F_DUPFD_CLOEXEC, 0), "w");
    if (!out) {
        reply_errno("report");
        return;
    }
    report(out);
    check_stops(); /* whoever the report shows as stopped has been reported before it */
    fclose(out);
    lseek(fd, 0, SEEK_SET);
    send_message_fds(&fd, 1, "= ok");
    close(fd);
}

/** Sends a signal, but only to a process in the box: without a pid namespace the pid may be any process's. */
static int command_kill(pid_t pid, int signal)
{
    if (is_in_box(pid))
        return kill(pid, signal);
    errno = ESRCH;
    return -1;
}

static int remove_ipc(const char *kind, int id)
{
    if (strcmp(kind, "segment") == 0)
        return shmctl(id, IPC_RMID, NULL);
    if (strcmp(kind, "semaphores") == 0)
        return semctl(id, 0, IPC_RMID);
    if (strcmp(kind, "queue") == 0)
        return msgctl(id, IPC_RMID, NULL);
    errno = EINVAL;
    return -1;
}

/** Root in a container has no CAP_SYS_ADMIN, so it must be the programs' user to remove what they have made. */
static int command_remove(const char *kind, int id)
{
    const uid_t user = geteuid();
    int result = remove_ipc(kind, id);
    if (result < 0 && errno == EPERM && user == 0 && program_uid != 0 && seteuid(program_uid) == 0) {
        result = remove_ipc(kind, id);
        const int error = errno;
        if (seteuid(user) < 0)
            _exit(EXIT_SETUP);
        errno = error;
    }
    return result;
}

static void handle_command(struct message *message)
{
    const char *name = message->fields > 0 ? message->field[0] : "";
    const char *first = message->fields > 1 ? message->field[1] : "";
    const char *second = message->fields > 2 ? message->field[2] : "";
    int result = -1;
    if (strcmp(name, "start") == 0) {
        command_start(message);
        return;
    }
    if (strcmp(name, "open") == 0) {
        command_open(first, second);
        return;
    }
    if (strcmp(name, "report") == 0) {
        command_report();
        return;
    }
    errno = EINVAL;
    if (strcmp(name, "kill") == 0) {
        result = command_kill(atoi(first), atoi(second));
    } else if (strcmp(name, "sysctl") == 0) {
        result = set_sysctl(first, second);
    } else if (strcmp(name, "remove") == 0) {
        result = command_remove(first, atoi(second));
    } else if (strcmp(name, "sweep") == 0) {
        reset_box();
        result = 0;
    }
    if (result < 0)
        reply_errno(name);
    else
        send_message("= ok");
}

bool serve_command(void)
{
    struct message message;
    if (!receive_message(&message))
        return false;
    handle_command(&message);
    for (int i = 0; i < message.fds; i++)
        close(message.fd[i]);
    return true;
}

/**
 * @file
 * @brief Id maps, limits of the IPC namespace, and the user namespaces that programs run in.
 */
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int program_userns[2] = {-1, -1};

/* ---- writing to /proc -------------------------------------------------------------------------------- */

/** Writes a short text to a file, whose path is relative to a directory. Returns 0, or -1 with errno set. */
static int write_file_at(int directory, const char *path, const char *text)
{
    int fd = openat(directory, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t done = write(fd, text, strlen(text));
    const int reason = errno;
    close(fd);
    errno = reason;
    return done < 0 ? -1 : 0;
}

static int write_file(const char *path, const char *text)
{
    return write_file_at(AT_FDCWD, path, text);
}

int set_sysctl(const char *name, const char *text)
{
    return write_file_at(sysctl_directory, name, text);
}

bool can_set_limits(void)
{
    const int fd =
        sysctl_directory < 0 ? -1 : openat(sysctl_directory, "kernel/shmmni", O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* ---- pid 1's namespaces ------------------------------------------------------------------------------ */

/* Uid 0 inside is the user who started the box. If that is root, the programs' own id is mapped as well. An
 * ordinary user can map only one id, and only after giving up setgroups(2); see user_namespaces(7). */
void setup_id_maps(pid_t child, uid_t uid, gid_t gid)
{
    char path[64], map[96];
    snprintf(path, sizeof path, "/proc/%d/setgroups", child);
    if (options.slot < 0 && write_file(path, "deny") < 0)
        die("write %s", path);
    for (int group = 0; group < 2; group++) {
        const unsigned id = group ? gid : uid, program = group ? program_gid : program_uid;
        snprintf(path, sizeof path, "/proc/%d/%s_map", child, group ? "gid" : "uid");
        if (options.slot >= 0)
            snprintf(map, sizeof map, "0 0 1\n%u %u 1\n", program, program);
        else
            snprintf(map, sizeof map, "0 %u 1\n", id);
        if (write_file(path, map) < 0)
            die("write %s", path);
    }
}

void setup_namespaces(void)
{
    char text[64];
    setup_mounts();
    if (sethostname("box", 3) < 0)
        die("sethostname");
    snprintf(text, sizeof text, "%ld", (options.memory_mb << 20) / sysconf(_SC_PAGESIZE));
    /* Some kernels refuse this; see can_set_limits(). Then only check_memory() limits the memory of segments. */
    set_sysctl("kernel/shmall", text);
    /* Semaphores and queues take kernel memory, which check_memory() does not see. */
    set_sysctl("kernel/sem", "250 1024 32 64");
    set_sysctl("kernel/msgmni", "64");
}

/* ---- the programs' user namespaces ------------------------------------------------------------------- */

/** What pid 1 and the child that creates a namespace have in common. */
struct userns {
    int made[2], mapped[2]; /**< pipes: the namespace is there; its id maps are written */
    int fd;                 /**< of the namespace; -1: it could not be made */
};

/**
 * Creates a user namespace below pid 1's. It maps the programs' uid to itself and cannot have further user
 * namespaces in it. Runs in a child that shares memory and descriptors with pid 1, which goes on meanwhile: it changes
 * nothing but @p closure and its own stack, like exec_program().
 *
 * The child keeps its privilege: Ubuntu's AppArmor takes the capabilities in a namespace from a process that has
 * made it without CAP_SYS_ADMIN. As pid 1 has the privilege to map any id, it writes the maps.
 */
static int create_userns(void *closure)
{
    struct userns *userns = closure;
    char byte = 0;
    /* The kernel copies this limit to the new namespace. There it holds for all processes together, in addition
     * to the limit that each process has. */
    set_rlimit(RLIMIT_NPROC, (rlim_t)default_limits.processes, (rlim_t)default_limits.processes);
    if (unshare(CLONE_NEWUSER) < 0)
        child_die("unshare");
    if (write(userns->made[1], &byte, 1) != 1 || read(userns->mapped[0], &byte, 1) != 1)
        child_die("wait for the id maps");
    if (set_sysctl("user/max_user_namespaces", "0") < 0)
        child_die("max_user_namespaces");
    userns->fd = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
    return 0;
}

/** Writes the id maps of a namespace that a child has made. */
static void setup_program_maps(pid_t child)
{
    char path[64], map[64];
    snprintf(path, sizeof path, "/proc/%d/setgroups", child);
    write_file(path, "deny");
    for (int group = 0; group < 2; group++) {
        const unsigned program = group ? program_gid : program_uid;
        snprintf(path, sizeof path, "/proc/%d/%s_map", child, group ? "gid" : "uid");
        snprintf(map, sizeof map, "%u %u 1", program, options.slot < 0 ? 0 : program);
        if (write_file(path, map) < 0)
            die("write %s", path);
    }
}

/** Starts the child that makes a namespace; @p stack_end: the end of its part of #child_stack. Returns its pid. */
static pid_t start_userns(struct userns *userns, char *stack_end)
{
    if (pipe2(userns->made, O_CLOEXEC) < 0 || pipe2(userns->mapped, O_CLOEXEC) < 0)
        die("pipe");
    const pid_t child = clone(create_userns, stack_end, CLONE_VM | CLONE_FILES | SIGCHLD, userns);
    if (child < 0)
        die("make a user namespace");
    return child;
}

/** Writes the id maps when the child has made the namespace, unless it has failed. */
static void finish_userns(struct userns *userns, pid_t child)
{
    char byte = 0;
    /* The pipe has no end to be noticed, as the child has the same descriptors. */
    struct pollfd until = {userns->made[0], POLLIN, 0};
    while (poll(&until, 1, 1) == 0 && read_process(child).state != 'Z')
        ;
    if (poll(&until, 1, 0) > 0 && read(userns->made[0], &byte, 1) == 1) {
        setup_program_maps(child);
        if (write(userns->mapped[1], &byte, 1) != 1)
            die("pipe");
    }
}

/* Two namespaces, because a program must not be able to trace one of the harness's own executables or read its
 * memory. Both have the same uid, so only different user namespaces keep them apart. Both are made at the same time,
 * as most of it is waiting for another process. */
void setup_program_userns(void)
{
    struct userns userns[2] = {{.fd = -1}, {.fd = -1}};
    pid_t child[2];
    for (int i = 0; i < 2; i++)
        child[i] = start_userns(&userns[i], child_stack + sizeof child_stack / 2 * (size_t)(i + 1));
    for (int i = 0; i < 2; i++)
        finish_userns(&userns[i], child[i]);
    for (int i = 0; i < 2; i++) {
        int status = 0;
        if (waitpid(child[i], &status, 0) < 0 || userns[i].fd < 0)
            die("make a user namespace");
        program_userns[i] = userns[i].fd;
        for (int end = 0; end < 2; end++) {
            close(userns[i].made[end]);
            close(userns[i].mapped[end]);
        }
    }
}

/**
 * @file
 * @brief Starts programs in namespaces of their own and reports what they did and what they left.
 *
 * By hand, for one program:
 *
 *     box [OPTION]... -- PROGRAM [ARGUMENT]...
 *
 * The program's exit status is the box's; a report goes to stderr. For the harness:
 *
 *     box [OPTION]... --control FD
 *
 * where FD is one end of a SOCK_SEQPACKET pair. Then the box starts any number of programs, which all see
 * the same processes, segments and objects, and share no ancestor but the box.
 *
 * Three processes stand in a row. The *keeper* stays outside, writes the id maps and waits. *Pid 1* is the
 * first process inside: it mounts, starts, reaps, watches, and answers the harness. It keeps the
 * capabilities of the namespaces' root and cannot be traced, read or killed by the programs, which have no
 * capability at all. When pid 1 ends, for whatever reason, the kernel ends everything inside.
 *
 * With `--tier host` nothing is unshared: same commands, same report, on the machine's own IPC. Pid 1 is then
 * an ordinary process that adopts orphans. See the harness's box.py for what that tier does not promise.
 *
 * Messages are fields that end in a zero byte; see handle_message() and the functions it calls.
 * Sources: clone(2), user_namespaces(7), pid_namespaces(7), ipc_namespaces(7), mount_setattr(2).
 */
#define _GNU_SOURCE

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum {
    REFUSED = 125,      /**< exit status: the box could not be set up */
    MAX_PATHS = 32,     /**< paths that can be hidden */
    MAX_PROGRAMS = 256, /**< programs started and not yet reaped */
    MAX_FIELDS = 1024,  /**< fields of one message */
    MESSAGE_SIZE = 256 * 1024,
    WATCH_MS = 50, /**< how often the memory of all programs together is looked at */
};

/* ---- what was asked for on the command line ---------------------------------------------------------- */

static struct {
    bool namespaces;
    int control;             /**< descriptor of the harness's socket, or -1 */
    long slot;               /**< root only: programs run as uid and gid 60000 + slot */
    long shm_mb, work_mb;    /**< sizes of /dev/shm and of the work folder */
    long memory_mb;          /**< limit for all programs together */
    const char *work, *run;  /**< work folder; folder of the spy's ring and of the socket for holds */
    const char *hide[MAX_PATHS];
    int hidden;
    cpu_set_t processors;    /**< those that the programs may use; none: all that the box itself may use */
} opt = {.namespaces = true, .control = -1, .shm_mb = 64, .work_mb = 256, .memory_mb = 768};

/** Limits of one program; see getrlimit(2). */
struct limits {
    long wall_ms, cpu_s, address_mb, file_mb, processes;
    unsigned umask;
    const char *folder;
};

/* The harness waits a few seconds for what should come; but it may look long at a program that it holds. */
static const struct limits usual = {.wall_ms = 30000, .cpu_s = 10, .address_mb = 2048, .file_mb = 1024,
                                    .processes = 128, .umask = 022, .folder = NULL};

/* ---- who runs ---------------------------------------------------------------------------------------- */

struct program {
    pid_t pid;
    int64_t started_us, deadline_us;
    bool timed_out;
};

static struct program programs[MAX_PROGRAMS];
static pid_t holding[MAX_PROGRAMS]; /**< announced that they are about to stop, and have not stopped yet */
static uid_t program_uid;
static gid_t program_gid;
static int last_status;   /**< wait status of the last program that ended, for use by hand */
static bool over_memory;
static int sysctls = -1; /**< /proc/sys, to write to */
static int in_common = CLONE_VM; /**< with a child that is to become a program; 0: nothing is */
static int users[2] = {-1, -1}; /**< user namespaces of the programs, and of executables of the harness's own */

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- telling the harness ----------------------------------------------------------------------------- */

enum { MOST_FDS = 4 };

/** Sends one message, with @p count descriptors. A harness that is gone is noticed by poll(2). */
static void tell_fds(const int *fds, size_t count, const char *format, va_list args)
{
    char text[1024];
    int length = vsnprintf(text, sizeof text, format, args);
    if (opt.control < 0 || length < 0)
        return;
    if ((size_t)length >= sizeof text)
        length = sizeof text - 1;
    struct iovec part = {text, (size_t)length};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(MOST_FDS * sizeof(int))];
    } ancillary;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = ancillary.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    while (sendmsg(opt.control, &message, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell_fds(NULL, 0, format, args);
    va_end(args);
}

__attribute__((format(printf, 3, 4))) static void tell_with(const int *fds, size_t count, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell_fds(fds, count, format, args);
    va_end(args);
}

/** Ends the set-up with a reason that the harness can show. */
__attribute__((format(printf, 1, 2))) static _Noreturn void refuse(const char *format, ...)
{
    char what[512];
    const int reason = errno;
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (opt.control >= 0)
        tell("refused %s: %s", what, strerror(reason));
    else
        fprintf(stderr, "box: %s: %s\n", what, strerror(reason));
    _exit(REFUSED);
}

/* ---- small helpers ----------------------------------------------------------------------------------- */

/** Writes a short text into a file of /proc, below a folder. Gives 0, or -1 with errno set. */
static int write_below(int folder, const char *path, const char *text)
{
    int fd = openat(folder, path, O_WRONLY | O_CLOEXEC);
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
    return write_below(AT_FDCWD, path, text);
}

/** Sets a limit of the namespaces, such as "kernel/shmmni"; of the machine's own never. */
static int set_sysctl(const char *name, const char *text)
{
    return write_below(sysctls, name, text);
}

static void must_write(const char *path, const char *text)
{
    if (write_file(path, text) < 0)
        refuse("write %s", path);
}

/** What the kernel tells of a process in a line; see proc_pid_stat(5). */
struct process {
    char state; /**< 'R', 'S', 'T', 'Z' …; 0: there is no such process */
    pid_t parent;
    unsigned long long ticks; /**< of the processor that it and its children that were waited for have used */
    char name[32];            /**< what cannot be printed is a '?' */
};

static struct process look_at(pid_t pid)
{
    char path[64], line[512];
    struct process found = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t length = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    if (length <= 0)
        return found;
    line[length] = '\0';
    /* The name in parentheses may hold anything, so look for the last one that closes. */
    char *begin = strchr(line, '('), *end = strrchr(line, ')');
    unsigned long long used[4];
    if (!begin || !end ||
        sscanf(end + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu", &found.state, &found.parent,
               &used[0], &used[1], &used[2], &used[3]) != 6)
        return (struct process){0};
    found.ticks = used[0] + used[1] + used[2] + used[3];
    for (size_t i = 0; ++begin < end && i < sizeof found.name - 1; i++)
        found.name[i] = isprint((unsigned char)*begin) ? *begin : '?';
    return found;
}

/** Whether a process is ours to look at and to kill: all are in a namespace of our own, else those that descend from us. */
static bool is_ours(pid_t pid)
{
    const pid_t self = getpid();
    for (pid_t at = pid, depth = 0; at > 1 && depth < 10000 && !opt.namespaces; depth++) {
        const struct process found = look_at(at);
        if (found.parent == self)
            return true;
        if (found.state == 0 && at == pid)
            return false;
        at = found.state == 0 ? pid : found.parent; /* who has lost an ancestor meanwhile has another now */
    }
    return opt.namespaces;
}

/** Calls @p visit for every process that is ours, but not for pid 1. */
static void each_process(void (*visit)(pid_t pid, void *closure), void *closure)
{
    enum { MOST = 1 << 16 };
    static struct { pid_t pid, parent; } all[MOST]; /* the machine's processes are read once each, not for each descendant */
    const pid_t self = getpid();
    int count = 0;
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc)) && count < MOST) {
        const pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? (pid_t)atol(entry->d_name) : 0;
        if (pid != 0) {
            all[count].pid = pid;
            all[count++].parent = opt.namespaces ? self : look_at(pid).parent;
        }
    }
    if (proc)
        closedir(proc);
    for (int i = 0; i < count; i++) {
        pid_t at = all[i].parent;
        int generations = 0;
        for (int low = 0, high = count; at > 1 && at != self && low < high;) { /* /proc lists them in their order */
            const int middle = (low + high) / 2;
            if (all[middle].pid == at && ++generations < count)
                at = all[middle].parent, low = 0, high = count;
            else if (all[middle].pid < at)
                low = middle + 1;
            else
                high = middle;
        }
        /* An ancestor that is not in the table has ended meanwhile. */
        if (all[i].pid != self && (at == self || (at > 1 && is_ours(all[i].pid))))
            visit(all[i].pid, closure);
    }
}

/* ---- set-up, inside the namespaces ------------------------------------------------------------------- */

static void mount_tmpfs(const char *path, long size_mb, long inodes, const char *mode)
{
    char options[128];
    snprintf(options, sizeof options, "mode=%s,size=%ldm,nr_inodes=%ld", mode, size_mb, inodes);
    if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        refuse("mount a tmpfs on %s", path);
}

static void make_folder(const char *path, mode_t mode)
{
    if (mkdir(path, mode) < 0 && errno != EEXIST)
        refuse("mkdir %s", path);
    if (chmod(path, mode) < 0)
        refuse("chmod %s", path);
}

/**
 * Makes a folder a mount of its own, read-only or not. Nobody in here can then rename or remove it, or mount anything
 * else: an ordinary user's programs are of pid 1's own uid, and so own all that it has made.
 */
static void pin(const char *path, bool read_only)
{
    struct mount_attr attributes = {.attr_set = read_only ? MOUNT_ATTR_RDONLY : 0};
    if (mount(path, path, NULL, MS_BIND, NULL) < 0 ||
        (read_only && syscall(SYS_mount_setattr, AT_FDCWD, path, 0, &attributes, sizeof attributes) < 0))
        refuse("mount %s on itself", path);
}

/** Makes the whole disk read-only, with small private folders where programs may write. */
static void set_up_mounts(void)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        refuse("make the mounts private");
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
    if (syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &read_only, sizeof read_only) < 0)
        refuse("make the disk read-only");

    /* A folder below /tmp or /run is out of sight without further ado. */
    for (int i = 0; i < opt.hidden; i++)
        if (access(opt.hide[i], F_OK) == 0 && mount("tmpfs", opt.hide[i], "tmpfs", MS_RDONLY, "size=4k,mode=555") < 0)
            refuse("hide %s", opt.hide[i]);
    mount_tmpfs("/tmp", opt.work_mb, 16384, "1777");
    mount_tmpfs("/run", 64, 256, "755");
    mount_tmpfs("/dev/shm", opt.shm_mb, 4096, "1777");
    /* Other terminals of the same user are none of the programs' business. */
    if (access("/dev/pts", F_OK) == 0)
        mount("tmpfs", "/dev/pts", "tmpfs", MS_RDONLY, "size=4k,mode=555");
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        refuse("mount /proc");

    opt.work = "/tmp/lab";
    opt.run = "/run/shmlab";
    make_folder(opt.work, 0777);
    make_folder(opt.run, 0777);
    pin(opt.work, false);
    pin(opt.run, false);
    if (syscall(SYS_mount_setattr, AT_FDCWD, "/run", 0, &read_only, sizeof read_only) < 0)
        refuse("make /run read-only");
    /* A limit that a check has set shall stay set. What was opened before the mount remains what it was. */
    if ((sysctls = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
        refuse("open /proc/sys");
    pin("/proc/sys", true);
}

/** An ordinary user's programs may also have changed who may enter these folders, and who the files in them. */
static void open_folders(void)
{
    const char *const folders[] = {"/tmp", "/dev/shm", opt.work, opt.run};
    for (int i = 0; i < 4; i++) {
        removexattr(folders[i], "system.posix_acl_default");
        removexattr(folders[i], "system.posix_acl_access");
        chmod(folders[i], i < 2 ? 01777 : 0777);
    }
}

static void set_up_namespaces(void)
{
    char text[64];
    set_up_mounts();
    if (sethostname("box", 3) < 0)
        refuse("sethostname");
    snprintf(text, sizeof text, "%ld", (opt.memory_mb << 20) / sysconf(_SC_PAGESIZE));
    set_sysctl("kernel/shmall", text); /* older kernels do not allow it: the watch remains */
    /* Semaphores and queues are the kernel's own memory, which no watch sees. */
    set_sysctl("kernel/sem", "250 1024 32 64");
    set_sysctl("kernel/msgmni", "64");
}

/* ---- watching ---------------------------------------------------------------------------------------- */

/** Takes in every child that has ended, and says so. */
static void reap(void)
{
    int status;
    struct rusage used;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG, &used)) > 0) {
        struct program *found = NULL;
        for (int i = 0; i < MAX_PROGRAMS; i++)
            if (programs[i].pid == pid)
                found = &programs[i];
        if (found && opt.namespaces && opt.slot < 0)
            open_folders();
        if (!found) {
            tell("orphan %d %d", pid, status);
        } else {
            tell("exited %d %d %lld %ld %lld %d %d", pid, status,
                 (long long)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 + used.ru_utime.tv_usec +
                     used.ru_stime.tv_usec,
                 used.ru_maxrss, (long long)(now_us() - found->started_us), found->timed_out, over_memory);
            last_status = status;
            found->pid = 0;
        }
    }
}

/** A program's spy has announced that it is about to stop. The kernel says who sent it. */
static void hear_hold(int socket)
{
    char byte[64];
    struct iovec part = {byte, sizeof byte};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } ancillary;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = ancillary.bytes,
                             .msg_controllen = sizeof ancillary.bytes};
    if (recvmsg(socket, &message, MSG_DONTWAIT) < 0)
        return;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_CREDENTIALS)
        return;
    struct ucred sender;
    memcpy(&sender, CMSG_DATA(header), sizeof sender);
    for (int i = 0; i < MAX_PROGRAMS; i++)
        if (holding[i] == sender.pid)
            return;
    for (int i = 0; i < MAX_PROGRAMS; i++)
        if (holding[i] == 0) {
            holding[i] = sender.pid;
            return;
        }
}

/** Says which of those that announced a stop have stopped. Gives whether any is still on its way. */
static bool confirm_holds(void)
{
    bool pending = false;
    for (int i = 0; i < MAX_PROGRAMS; i++) {
        if (holding[i] == 0)
            continue;
        const char state = look_at(holding[i]).state;
        if (state == 'T' || state == 't')
            tell("held %d", holding[i]);
        if (state == 'T' || state == 't' || state == 'Z' || state == 'X' || state == 0)
            holding[i] = 0;
        else
            pending = true;
    }
    return pending;
}

/** What the watch adds up over all processes. */
struct memory {
    int64_t resident;  /**< pages that are mapped; what several processes share counts several times */
    int64_t exact;     /**< the same, but each page once; asked for only when `resident` looks like too much */
    int64_t memfds;    /**< memfds that are open */
    bool ask_exactly;
    bool in_flight;    /**< descriptors have been sent over a socket and not been received: nobody can look at them */
};

/** The number that follows a word at the beginning of a line in a file of /proc; 0: there is no such line. */
static int64_t number_in(const char *path, const char *word)
{
    char line[256];
    int64_t value = 0;
    FILE *file = fopen(path, "re");
    while (file && value == 0 && fgets(line, sizeof line, file))
        if (strncmp(line, word, strlen(word)) == 0)
            value = strtoll(line + strlen(word), NULL, 10);
    if (file)
        fclose(file);
    return value;
}

/** Adds the memory of a process: what it has mapped, and the memfds that it has open. */
static void add_memory(pid_t pid, void *closure)
{
    struct memory *memory = closure;
    char path[320];
    long size, resident;
    if (memory->ask_exactly) {
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
        memory->exact += number_in(path, "Pss:") * 1024;
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    if (fscanf(file, "%ld %ld", &size, &resident) == 2)
        memory->resident += (int64_t)resident * sysconf(_SC_PAGESIZE);
    fclose(file);

    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *fds = opendir(path);
    struct dirent *entry;
    while (fds && (entry = readdir(fds))) {
        char target[16] = "";
        struct stat memfd;
        snprintf(path, sizeof path, "/proc/%d/fd/%s", pid, entry->d_name);
        if (readlink(path, target, sizeof target - 1) <= 0)
            continue;
        if (strncmp(target, "/memfd:", 7) == 0 && stat(path, &memfd) == 0)
            memory->memfds += (int64_t)memfd.st_blocks * 512;
        snprintf(path, sizeof path, "/proc/%d/fdinfo/%s", pid, entry->d_name);
        if (strncmp(target, "socket:", 7) == 0 && number_in(path, "scm_fds:") > 0)
            memory->in_flight = true;
    }
    if (fds)
        closedir(fds);
}

static void kill_one(pid_t pid, void *closure)
{
    int *killed = closure;
    if (kill(pid, SIGKILL) == 0)
        ++*killed;
}

/** Kills every program and all that they have started. In a namespace nobody can fork between one and the next. */
static void kill_all(void)
{
    int killed = 0;
    if (opt.namespaces)
        kill(-1, SIGKILL);
    else
        each_process(kill_one, &killed);
}

/** The same, and waits until they are gone. */
static void sweep(void)
{
    for (int64_t end = now_us() + 5000000; now_us() < end;) {
        kill_all();
        while (wait4(-1, NULL, opt.namespaces ? 0 : WNOHANG, NULL) > 0)
            ;
        if (errno == ECHILD)
            break;
        poll(NULL, 0, 1); /* the host's: somebody has forked meanwhile, or is on the way out */
    }
    memset(programs, 0, sizeof programs);
    memset(holding, 0, sizeof holding);
    over_memory = false;
    if (opt.namespaces && opt.slot < 0)
        open_folders();
}

/** Shared memory of the whole machine, which is the only trace of a memfd that is neither open nor mapped. */
static int64_t shared_memory(void)
{
    struct sysinfo machine;
    return sysinfo(&machine) == 0 ? (int64_t)machine.sharedram * machine.mem_unit : 0;
}

static int64_t shared_at_first;

static void watch_memory(void)
{
    const int64_t most = (int64_t)opt.memory_mb << 20;
    struct memory memory = {0};
    each_process(add_memory, &memory);
    if (memory.resident + memory.memfds > most) {
        memory.ask_exactly = true;
        each_process(add_memory, &memory);
    }
    /* Others share the machine: only a growth that is none of their usual ones counts as the programs' own. */
    const bool hidden = memory.in_flight && shared_memory() - shared_at_first > 2 * most;
    if (memory.exact + memory.memfds <= most && !hidden)
        return;
    over_memory = true;
    kill_all();
}

/** Kills what has run for too long. Gives the milliseconds until the next such moment, -1 for none. */
static int watch_time(void)
{
    int64_t now = now_us(), next = -1;
    for (int i = 0; i < MAX_PROGRAMS; i++) {
        struct program *program = &programs[i];
        if (program->pid == 0)
            continue;
        if (now >= program->deadline_us && !program->timed_out) {
            program->timed_out = true;
            kill(-program->pid, SIGKILL); /* its whole session's group, itself included */
            kill(program->pid, SIGKILL);
        }
        if (!program->timed_out && (next < 0 || program->deadline_us - now < next))
            next = program->deadline_us - now;
    }
    return next < 0 ? -1 : (int)(next / 1000 + 1);
}

/* ---- starting a program ------------------------------------------------------------------------------ */

static void limit(int resource, rlim_t soft, rlim_t hard)
{
    struct rlimit value = {soft, hard};
    if (syscall(SYS_prlimit64, 0, resource, &value, NULL) < 0) {
        dprintf(STDERR_FILENO, "box: setrlimit %d: %s\n", resource, strerror(errno));
        _exit(127);
    }
}

static _Noreturn void cannot_start(const char *what)
{
    dprintf(STDERR_FILENO, "box: %s: %s\n", what, strerror(errno));
    _exit(127);
}

/** Becomes the user that programs run as. Of this task alone: the C library's functions would mean all threads. */
static void change_user(void)
{
    if (opt.slot >= 0 &&
        (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, program_gid, program_gid, program_gid) < 0 ||
         syscall(SYS_setresuid, program_uid, program_uid, program_uid) < 0))
        cannot_start("setresuid");
}

static _Alignas(64) char stack[256 * 1024]; /**< of a child that has its memory in common with pid 1 */

/**
 * Makes a user namespace below pid 1's, in which the programs' uid is what it was, and nobody can make another.
 * In a child that shares memory and descriptors with pid 1, before there is any program: @p made, an int, is a
 * descriptor of the namespace then.
 */
static int make_users(void *made)
{
    char text[64];
    /* Before the namespace is made: then it holds for all in there together, and not for each. */
    limit(RLIMIT_NPROC, (rlim_t)usual.processes, (rlim_t)usual.processes);
    change_user();
    if (prctl(PR_SET_DUMPABLE, 1) < 0 || unshare(CLONE_NEWUSER) < 0)
        cannot_start("unshare");
    write_file("/proc/self/setgroups", "deny");
    snprintf(text, sizeof text, "%u %u 1", program_uid, opt.slot < 0 ? 0 : program_uid);
    if (write_file("/proc/self/uid_map", text) < 0)
        cannot_start("uid_map");
    snprintf(text, sizeof text, "%u %u 1", program_gid, opt.slot < 0 ? 0 : program_gid);
    if (write_file("/proc/self/gid_map", text) < 0)
        cannot_start("gid_map");
    if (set_sysctl("user/max_user_namespaces", "0") < 0)
        cannot_start("max_user_namespaces");
    *(int *)made = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
    return 0;
}

/** A program can neither trace one of the harness's own executables, which has the same uid, nor open its memory. */
static void make_both_users(void)
{
    for (int i = 0; i < 2; i++) {
        const pid_t child = clone(make_users, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &users[i]);
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) < 0 || users[i] < 0)
            refuse("make a user namespace");
    }
}

/** Gives up every privilege; in the user namespace @p into, if there is one. */
static void drop_privileges(int into)
{
    change_user();
    if (opt.namespaces && setns(into, CLONE_NEWUSER) < 0)
        cannot_start("setns");
    for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++)
        ;
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    if (opt.namespaces && syscall(SYS_capset, &header, none) < 0)
        cannot_start("capset");
}

#if defined __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined __riscv && __riscv_xlen == 64
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#endif

/**
 * Refuses system calls that no lab needs and that need no capability: the keyring of whoever runs the harness,
 * memory and descriptors that no watch sees (io_uring), queues that no list shows (mq_open), and what an ordinary
 * user's program, which is of pid 1's own uid in the eyes of these calls, could do to pid 1: its limits, its turn on
 * the processor and its processors.
 * Pid 1, which needs none of them either, refuses them to itself, and so once for all programs.
 */
static void refuse_calls(void)
{
#ifdef ARCHITECTURE
    static const unsigned refused[] = {SYS_add_key, SYS_request_key, SYS_keyctl, SYS_io_uring_setup,
                                       SYS_io_uring_enter, SYS_io_uring_register, SYS_userfaultfd, SYS_bpf,
                                       SYS_perf_event_open, SYS_setpriority, SYS_ioprio_set, SYS_sched_setattr,
                                       SYS_sched_setparam, SYS_sched_setscheduler, SYS_mq_open};
    enum { COUNT = sizeof refused / sizeof *refused };
    const struct sock_filter no_call = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                             refuse_it = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    /* What is refused with one argument alone: to keep pid 1 from a processor, and whoever opens a file waiting. */
    const struct { unsigned call, argument, value; } except[] = {
        {SYS_sched_setaffinity, 0, (unsigned)getpid()}, {SYS_fcntl, 1, F_SETLEASE}};
    enum { EXCEPT = sizeof except / sizeof *except };
    struct sock_filter code[2 * COUNT + 5 * EXCEPT + 12];
    unsigned short n = 0;
    /* The numbers mean something else to other kinds of programs, such as 32-bit ones: those get nothing. */
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    code[n++] = no_call;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);
    code[n++] = no_call;
    for (int i = 0; i < COUNT; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i], 0, 1);
        code[n++] = refuse_it;
    }
    /* Every program may set its own limits, which are those of pid 0: setrlimit(3) does. */
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prlimit64, 0, 3);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
    code[n++] = refuse_it;
    for (int i = 0; i < EXCEPT; i++) {
        const unsigned argument = offsetof(struct seccomp_data, args) + 8 * except[i].argument;
        code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, except[i].call, 0, 3);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument);
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, except[i].value, 0, 1);
        code[n++] = refuse_it;
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog filter = {n, code};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter) < 0)
        refuse("seccomp");
#endif
}

/** Threads of this uid on the machine: RLIMIT_NPROC counts them all where there is no namespace. */
static long threads_of_this_user(void)
{
    long count = 0;
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc))) {
        char path[300];
        struct stat owner;
        snprintf(path, sizeof path, "/proc/%s/task", entry->d_name);
        if (isdigit((unsigned char)entry->d_name[0]) && stat(path, &owner) == 0 && owner.st_uid == program_uid)
            count += (long)owner.st_nlink - 2;
    }
    if (proc)
        closedir(proc);
    return count;
}

/** What a child has to know to become a program. */
struct start {
    char *const *argv, *const *environment;
    const int *io; /**< see start_program() */
    const struct limits *limits;
    long processes; /**< how many this user may have */
};

/**
 * Becomes the program. In a child that still has its memory in common with pid 1, which waits until that has changed:
 * nothing is stored here but on the child's own stack, and no function called that might.
 */
static int become(void *closure)
{
    const struct start *start = closure;
    const struct limits *limits = start->limits;
    const int *io = start->io;
    setsid();
    for (int i = 0; i < 3; i++)
        if (io[i] != i && dup2(io[i], i) < 0)
            _exit(127);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(limits->umask);
    if (CPU_COUNT(&opt.processors) > 0)
        sched_setaffinity(0, sizeof opt.processors, &opt.processors);
    limit(RLIMIT_NPROC, (rlim_t)start->processes, (rlim_t)start->processes);
    drop_privileges(users[io[3] >= 0]);
    if (!opt.namespaces)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    limit(RLIMIT_CORE, 0, 0);
    limit(RLIMIT_CPU, (rlim_t)limits->cpu_s, (rlim_t)limits->cpu_s + 1);
    limit(RLIMIT_FSIZE, (rlim_t)limits->file_mb << 20, (rlim_t)limits->file_mb << 20);
    limit(RLIMIT_NOFILE, 256, 256);
    limit(RLIMIT_MEMLOCK, 0, 0);
    if (limits->address_mb)
        limit(RLIMIT_AS, (rlim_t)limits->address_mb << 20, (rlim_t)limits->address_mb << 20);
    if (limits->folder && chdir(limits->folder) < 0)
        cannot_start(limits->folder);
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    if (io[3] < 0)
        execvpe(start->argv[0], start->argv, start->environment);
    else
        execveat(io[3], "", start->argv, start->environment, AT_EMPTY_PATH);
    cannot_start(start->argv[0]);
}

/**
 * Starts a program. Gives its pid, or -1 with errno set.
 *
 * The child has no memory of its own until it is the program: to copy pid 1's takes longer than all the rest. As the
 * programs may not trace or read pid 1, they may not do so to the child either, unless the machine is set up so that
 * a process can be traced that has given up privileges (see fs.suid_dumpable in proc_sys_fs(5)).
 *
 * @param io  its stdin, stdout and stderr, and its executable if argv[0] is not to be looked for: a file that no
 *            path in here leads to can be neither replaced, nor read, nor run by another program; -1: there is none
 */
static pid_t start_program(char *const argv[], char *const environment[], const int io[4],
                           const struct limits *limits)
{
    struct program *slot = NULL;
    for (int i = 0; i < MAX_PROGRAMS && !slot; i++)
        if (programs[i].pid == 0)
            slot = &programs[i];
    if (!slot) {
        errno = EAGAIN;
        return -1;
    }
    int gone[2]; /* its other end is closed when the child has become the program, or has ended */
    if (pipe2(gone, O_CLOEXEC) < 0)
        return -1;
    struct start start = {argv, environment, io, limits, limits->processes};
    if (!opt.namespaces && opt.slot < 0)
        start.processes += threads_of_this_user();
    const pid_t pid = clone(become, stack + sizeof stack, in_common | SIGCHLD, &start);
    const int reason = errno;
    close(gone[1]);
    if (pid > 0)
        *slot = (struct program){pid, now_us(), now_us() + (int64_t)limits->wall_ms * 1000, false};
    struct pollfd until = {gone[0], POLLIN, 0};
    while (pid > 0 && poll(&until, 1, WATCH_MS) <= 0) {
        watch_memory();
        watch_time();
        /* If another program has stopped it, it will never be one. If it is one by now, its own spy may hold it. */
        if (look_at(pid).state == 'T' && poll(&until, 1, 0) == 0)
            kill(pid, SIGKILL);
    }
    close(gone[0]);
    errno = reason;
    return pid;
}

/* ---- the report -------------------------------------------------------------------------------------- */

static void report_process(pid_t pid, void *closure)
{
    const struct process found = look_at(pid);
    if (found.state != 0)
        fprintf(closure, "process %d %d %c %.2f %s\n", pid, found.parent, found.state,
                (double)found.ticks / (double)sysconf(_SC_CLK_TCK), found.name);
}

static void report_lines(FILE *out, const char *what, const char *path)
{
    char line[512];
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) /* the first line is the head of the table */
        fprintf(out, "%s %s", what, line);
    if (file)
        fclose(file);
}

/** Writes a line for each object that there is. */
static void report_objects(FILE *out)
{
    DIR *shm = opendir("/dev/shm");
    struct dirent *entry;
    while (shm && (entry = readdir(shm))) {
        struct stat object;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(dirfd(shm), entry->d_name, &object, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        for (char *c = entry->d_name; *c; c++)
            if (*c == '\n')
                *c = '?';
        fprintf(out, "object %o %lld %lld %u %s\n", object.st_mode, (long long)object.st_size,
                (long long)object.st_blocks * 512, object.st_uid, entry->d_name);
    }
    if (shm)
        closedir(shm);
}

/** Writes a line for each process, segment, semaphore set and queue, and, as the harness looks itself, each object. */
static void report(FILE *out)
{
    each_process(report_process, out);
    report_lines(out, "segment", "/proc/sysvipc/shm");
    report_lines(out, "semaphores", "/proc/sysvipc/sem");
    report_lines(out, "queue", "/proc/sysvipc/msg");
    if (opt.control < 0)
        report_objects(out);
}

/* ---- the harness's commands -------------------------------------------------------------------------- */

/** A message, taken apart. */
struct message {
    char *field[MAX_FIELDS + 1];
    int fields;
    int fd[4];
    int fds;
};

static void answer_errno(const char *what)
{
    tell("= failed %d %s: %s", errno, what, strerror(errno));
}

/** `start`, then fields that begin with `o` (option), `a` (argument) or `e` (environment); three or four descriptors. */
static void command_start(struct message *message)
{
    static char *argv[MAX_FIELDS + 1], *environment[MAX_FIELDS + 1];
    int arguments = 0, variables = 0;
    struct limits limits = usual;
    limits.folder = opt.work;
    for (int i = 1; i < message->fields; i++) {
        char *value = message->field[i] + 1, *equals = strchr(value, '=');
        switch (message->field[i][0]) {
        case 'a':
            argv[arguments++] = value;
            break;
        case 'e':
            environment[variables++] = value;
            break;
        case 'o':
            if (!equals)
                break;
            *equals++ = '\0';
            if (strcmp(value, "wall_ms") == 0)
                limits.wall_ms = atol(equals);
            else if (strcmp(value, "cpu_s") == 0)
                limits.cpu_s = atol(equals);
            else if (strcmp(value, "address_mb") == 0)
                limits.address_mb = atol(equals);
            else if (strcmp(value, "file_mb") == 0)
                limits.file_mb = atol(equals);
            else if (strcmp(value, "umask") == 0)
                limits.umask = (unsigned)strtoul(equals, NULL, 8);
            else if (strcmp(value, "folder") == 0)
                limits.folder = equals;
            break;
        }
    }
    argv[arguments] = environment[variables] = NULL;
    pid_t pid = -1;
    errno = EINVAL;
    if (arguments > 0 && message->fds >= 3)
        pid = start_program(argv, environment, message->fd, &limits);
    if (pid < 0)
        answer_errno("start");
    else
        tell("= ok %d", pid);
}

/** Answers with a descriptor of the file, as seen from in here. */
static void command_open(const char *path, const char *mode)
{
    int fd = open(path, (strcmp(mode, "w") == 0 ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        answer_errno(path);
        return;
    }
    tell_with(&fd, 1, "= ok");
    close(fd);
}

static void command_report(void)
{
    int fd = memfd_create("report", MFD_CLOEXEC);
    FILE *out = fd < 0 ? NULL : fdopen(dup(fd), "w");
    if (!out) {
        answer_errno("report");
        return;
    }
    report(out);
    fclose(out);
    lseek(fd, 0, SEEK_SET);
    tell_with(&fd, 1, "= ok");
    close(fd);
}

static void handle_message(struct message *message)
{
    static const char *const empty = "";
    const char *name = message->fields > 0 ? message->field[0] : empty;
    const char *first = message->fields > 1 ? message->field[1] : empty;
    const char *second = message->fields > 2 ? message->field[2] : empty;
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
        /* Only what runs in here: without a pid namespace the number may be anybody's. */
        const bool ours = is_ours(atoi(first));
        errno = ESRCH;
        result = ours ? kill(atoi(first), atoi(second)) : -1;
    } else if (strcmp(name, "sysctl") == 0) {
        result = set_sysctl(first, second);
    } else if (strcmp(name, "remove") == 0 && strcmp(first, "segment") == 0) {
        result = shmctl(atoi(second), IPC_RMID, NULL);
    } else if (strcmp(name, "remove") == 0 && strcmp(first, "semaphores") == 0) {
        result = semctl(atoi(second), 0, IPC_RMID);
    } else if (strcmp(name, "remove") == 0 && strcmp(first, "queue") == 0) {
        result = msgctl(atoi(second), IPC_RMID, NULL);
    } else if (strcmp(name, "sweep") == 0) {
        sweep();
        result = 0;
    }
    if (result < 0)
        answer_errno(name);
    else
        tell("= ok");
}

/** Reads one message from the harness and carries it out. Gives false when the harness is gone. */
static bool hear_harness(void)
{
    static char text[MESSAGE_SIZE];
    struct message message = {.fd = {-1, -1, -1, -1}};
    struct iovec part = {text, sizeof text - 1};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } ancillary;
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = ancillary.bytes,
                            .msg_controllen = sizeof ancillary.bytes};
    ssize_t length = recvmsg(opt.control, &header, MSG_CMSG_CLOEXEC);
    if (length <= 0)
        return length < 0 && errno == EINTR;
    text[length] = '\0';
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    if (rights && rights->cmsg_type == SCM_RIGHTS) {
        message.fds = (int)((rights->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(message.fd, CMSG_DATA(rights), (size_t)message.fds * sizeof(int));
    }
    for (char *field = text; field < text + length && message.fields < MAX_FIELDS; field += strlen(field) + 1)
        message.field[message.fields++] = field;
    handle_message(&message);
    for (int i = 0; i < message.fds; i++)
        close(message.fd[i]);
    return true;
}

/* ---- pid 1 ------------------------------------------------------------------------------------------- */

static bool any_program(void)
{
    for (int i = 0; i < MAX_PROGRAMS; i++)
        if (programs[i].pid != 0)
            return true;
    return false;
}

/** Serves until the harness hangs up or, by hand, until the program has ended. */
static void serve(int children)
{
    int holds = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int yes = 1;
    if (opt.run) {
        if (snprintf(address.sun_path, sizeof address.sun_path, "%s/holds", opt.run) >=
            (int)sizeof address.sun_path) {
            errno = ENAMETOOLONG;
            refuse("%s", opt.run);
        }
        if (holds < 0 || setsockopt(holds, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) < 0 ||
            bind(holds, (struct sockaddr *)&address, sizeof address) < 0 ||
            chmod(address.sun_path, 0777) < 0)
            refuse("bind %s", address.sun_path);
    }
    const char *const folder[MOST_FDS] = {opt.work, opt.run, "/dev/shm", "/proc"};
    int fds[MOST_FDS];
    for (int i = 0; opt.control >= 0 && i < MOST_FDS; i++)
        if ((fds[i] = open(folder[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
            refuse("open %s", folder[i]);
    if (opt.control >= 0) {
        tell_with(fds, MOST_FDS, "ready %s %s %s %u", opt.namespaces ? "namespaces" : "host", opt.work, opt.run,
                  program_uid);
        for (int i = 0; i < MOST_FDS; i++)
            close(fds[i]);
    }

    struct pollfd on[3] = {{children, POLLIN, 0}, {opt.run ? holds : -1, POLLIN, 0}, {opt.control, POLLIN, 0}};
    int64_t next_watch = 0;
    int looks = 0;
    for (;;) {
        int wait_ms = watch_time();
        if (any_program() && (wait_ms < 0 || wait_ms > WATCH_MS))
            wait_ms = WATCH_MS;
        /* Between the announcement and the stop lie a few instructions: look again at once, but let nobody
         * who announces and never stops keep this process busy. */
        looks = confirm_holds() ? looks + 1 : 0;
        if (looks > 0)
            wait_ms = looks < 500 ? 0 : 1;
        if (poll(on, 3, wait_ms) < 0 && errno != EINTR)
            break;
        if (on[0].revents) {
            struct signalfd_siginfo ignored;
            while (read(children, &ignored, sizeof ignored) > 0)
                ;
        }
        if (on[1].revents)
            hear_hold(holds);
        reap();
        if (on[2].revents && !hear_harness())
            break;
        if (opt.control < 0 && !any_program())
            break;
        if (any_program() && now_us() >= next_watch) {
            watch_memory();
            next_watch = now_us() + WATCH_MS * 1000;
        }
    }
}

/** The first process inside. Gives the exit status of the box. */
static int be_first(char *const argv[], char *const environment[])
{
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    int children = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    if (children < 0)
        refuse("signalfd");
    umask(0);
    if (opt.namespaces)
        set_up_namespaces();
    else if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        refuse("adopt orphans");
    shared_at_first = shared_memory();
    if (opt.namespaces)
        make_both_users();
    if (number_in("/proc/sys/fs/suid_dumpable", "") == 1)
        in_common = 0;
    /* From now on no program can trace this process or read its memory, not even one of the same uid. */
    prctl(PR_SET_DUMPABLE, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        refuse("no_new_privs");
    refuse_calls();

    if (opt.control >= 0) {
        serve(children);
        sweep();
        return 0;
    }
    const int io[4] = {0, 1, 2, -1};
    if (start_program(argv, environment, io, &usual) < 0)
        refuse("start %s", argv[0]);
    int64_t started = now_us();
    serve(children);
    struct rusage used;
    getrusage(RUSAGE_CHILDREN, &used);
    fprintf(stderr, "box: %s %d, %.3f s, %ld KiB at most\n", WIFEXITED(last_status) ? "exit status" : "signal",
            WIFEXITED(last_status) ? WEXITSTATUS(last_status) : WTERMSIG(last_status),
            (double)(now_us() - started) / 1e6, used.ru_maxrss);
    report(stderr);
    sweep();
    return WIFEXITED(last_status) ? WEXITSTATUS(last_status) : 128 + WTERMSIG(last_status);
}

/* ---- the keeper, outside ----------------------------------------------------------------------------- */

/** Writes the id maps of the new user namespace: root inside is who we are, and a spare id where we may. */
static void write_id_maps(pid_t child, uid_t uid, gid_t gid)
{
    char path[64], map[96];
    snprintf(path, sizeof path, "/proc/%d/setgroups", child);
    if (uid != 0)
        must_write(path, "deny");
    for (int group = 0; group < 2; group++) {
        const unsigned id = group ? gid : uid, spare = group ? program_gid : program_uid;
        snprintf(path, sizeof path, "/proc/%d/%s_map", child, group ? "gid" : "uid");
        if (uid == 0)
            snprintf(map, sizeof map, "0 0 1\n%u %u 1\n", spare, spare);
        else
            snprintf(map, sizeof map, "0 %u 1\n", id);
        must_write(path, map);
    }
}

static int run_in_namespaces(char *const argv[])
{
    int go[2];
    const uid_t uid = getuid();
    const gid_t gid = getgid();
    if (pipe2(go, O_CLOEXEC) < 0)
        refuse("pipe");
    const unsigned long flags =
        CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | SIGCHLD;
    pid_t child = (pid_t)syscall(SYS_clone, flags, 0, 0, 0, 0);
    if (child < 0)
        refuse("make namespaces");
    if (child == 0) {
        char byte;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(go[1]);
        if (read(go[0], &byte, 1) != 1)
            _exit(REFUSED);
        close(go[0]);
        /* The C library remembers nothing of who we were, so ids are asked anew. */
        _exit(be_first(argv, environ));
    }
    write_id_maps(child, uid, gid);
    close(go[0]);
    if (write(go[1], "x", 1) != 1)
        refuse("start pid 1");
    close(go[1]);
    if (opt.control >= 0)
        close(opt.control);
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static _Noreturn void usage(void)
{
    fputs("usage: box [--tier namespaces|host] [--hide PATH]... [--shm-mb N] [--work-mb N] [--memory-mb N]\n"
          "           [--slot N] [--processors N,...] [--work DIR --run DIR] (--control FD | -- PROGRAM [ARGUMENT]...)\n",
          stderr);
    exit(2);
}

static long number(const char *text)
{
    char *end;
    errno = 0;
    long value = text ? strtol(text, &end, 10) : -1;
    if (!text || end == text || *end || errno || value < 0)
        usage();
    return value;
}

/** A list of numbers with commas between them. */
static cpu_set_t processors(const char *text)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (char *end; *text; text = *end == ',' ? end + 1 : end) {
        const long processor = strtol(text, &end, 10);
        if (end == text || processor < 0 || processor >= CPU_SETSIZE)
            usage();
        CPU_SET((size_t)processor, &set);
    }
    return set;
}

int main(int argc, char *argv[])
{
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!value)
            usage();
        if (strcmp(name, "--tier") == 0 && strcmp(value, "host") == 0)
            opt.namespaces = false;
        else if (strcmp(name, "--tier") == 0 && strcmp(value, "namespaces") == 0)
            opt.namespaces = true;
        else if (strcmp(name, "--hide") == 0 && opt.hidden < MAX_PATHS)
            opt.hide[opt.hidden++] = value;
        else if (strcmp(name, "--shm-mb") == 0)
            opt.shm_mb = number(value);
        else if (strcmp(name, "--work-mb") == 0)
            opt.work_mb = number(value);
        else if (strcmp(name, "--memory-mb") == 0)
            opt.memory_mb = number(value);
        else if (strcmp(name, "--slot") == 0)
            opt.slot = number(value);
        else if (strcmp(name, "--processors") == 0)
            opt.processors = processors(value);
        else if (strcmp(name, "--work") == 0)
            opt.work = value;
        else if (strcmp(name, "--run") == 0)
            opt.run = value;
        else if (strcmp(name, "--control") == 0)
            opt.control = (int)number(value);
        else
            usage();
    }
    if ((opt.control < 0) == (i >= argc - 1))
        usage();
    if (opt.control >= 0 && fcntl(opt.control, F_SETFD, FD_CLOEXEC) < 0)
        refuse("descriptor %d", opt.control);

    /* Real root's programs run as a uid that nobody has; everybody else's as themselves. */
    if (getuid() == 0) {
        program_uid = (uid_t)(60000 + opt.slot);
        program_gid = (gid_t)(60000 + opt.slot);
    } else {
        opt.slot = -1;
        program_uid = getuid();
        program_gid = getgid();
    }
    return opt.namespaces ? run_in_namespaces(argv + i + 1) : be_first(argv + i + 1, environ);
}

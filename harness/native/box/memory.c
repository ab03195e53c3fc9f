/**
 * @file
 * @brief The memory limit of all programs together: what they have mapped, what they hold otherwise, and what is left.
 *
 * Where the harness has made a control group for the programs, the kernel itself keeps to the limit, and kills a
 * program that would exceed it. Elsewhere the kernel keeps no such sum, and pid 1 looks from time to time. A program
 * can hold memory that it has not mapped: in a memfd, in a socket's buffer, or in a file descriptor that lies in a
 * message.
 */
#include "box.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum {
    SOCKET_BYTES =
        2 * 212992, /**< that one socket can hold: the kernel's default of net.core.wmem_max and rmem_max */
    MOST_INODES = 8192, /**< that are told apart; a power of two */
    RESERVE_MB = 192,   /**< that the machine must have left, or this part of its memory if that is less */
    RESERVE_PART = 20,
};

static bool look_as_program;          /**< see check_memory() */
static int64_t initial_shared_memory; /**< see shared_memory() */

/** Memory of all processes together, in bytes. */
struct memory {
    int64_t resident; /**< mapped pages; a page that several processes share is counted several times */
    int64_t exact;    /**< mapped pages, each counted once; slow, so only if `resident` is over the limit */
    int64_t held;     /**< in open memfds, and what the sockets can hold */
    int64_t most;     /**< that they may have */
    bool ask_exactly;
    bool look_at_mappings; /**< for memfds that are mapped and not open; slow, too */
    bool
        unseen; /**< some cannot be looked at: a descriptor was sent and not received, or a memfd is mapped only */
};

/* ---- which inodes were counted ----------------------------------------------------------------------- */

static uint64_t counted[MOST_INODES];
static int counted_inodes;

/** Whether an inode is new. Processes that have inherited a descriptor have the same one. */
static bool is_first(uint64_t inode)
{
    if (counted_inodes > MOST_INODES / 2)
        return true; /* too many to tell: far more than any lab needs */
    size_t at = (size_t)(inode * 0x9e3779b97f4a7c15u >> 32) % MOST_INODES;
    while (counted[at] && counted[at] != inode)
        at = (at + 1) % MOST_INODES;
    if (counted[at] == inode)
        return false;
    counted[at] = inode;
    counted_inodes++;
    return true;
}

static void forget_inodes(void)
{
    if (counted_inodes > 0)
        memset(counted, 0, sizeof counted);
    counted_inodes = 0;
}

/* ---- one process ------------------------------------------------------------------------------------- */

/** Bytes that a task has mapped and in memory; `directory` is "/proc/PID" or "/proc/PID/task/TID". */
static int64_t resident_bytes(const char *directory)
{
    char path[128];
    long size = 0, resident = 0;
    snprintf(path, sizeof path, "%s/statm", directory);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%ld %ld", &size, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

/**
 * Writes the directory in /proc that shows a process's memory and descriptors: if its first thread has ended, that
 * of another thread, as the process's own shows none.
 */
static int64_t find_living_task(pid_t pid, char *directory, size_t size)
{
    snprintf(directory, size, "/proc/%d", pid);
    int64_t resident = resident_bytes(directory);
    if (resident > 0)
        return resident;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    struct dirent *entry;
    while (resident == 0 && tasks && (entry = readdir(tasks)))
        if (isdigit((unsigned char)entry->d_name[0])) {
            snprintf(directory, size, "/proc/%d/task/%d", pid, atoi(entry->d_name));
            resident = resident_bytes(directory);
        }
    if (tasks)
        closedir(tasks);
    return resident;
}

static void add_descriptor(const char *path, const char *info, struct memory *memory)
{
    char target[16] = "";
    struct stat status;
    if (readlink(path, target, sizeof target - 1) <= 0)
        return;
    const bool is_memfd = strncmp(target, "/memfd:", 7) == 0, is_socket = strncmp(target, "socket:", 7) == 0;
    if ((!is_memfd && !is_socket) || stat(path, &status) < 0 || !is_first(status.st_ino))
        return;
    if (is_memfd) {
        memory->held += (int64_t)status.st_blocks * 512;
        return;
    }
    const int64_t in_flight = read_number(info, "scm_fds:");
    memory->held += SOCKET_BYTES * (1 + in_flight);
    memory->unseen = memory->unseen || in_flight > 0;
}

static void add_descriptors(const char *directory, struct memory *memory)
{
    char path[400], info[400];
    snprintf(path, sizeof path, "%s/fd", directory);
    DIR *fds = opendir(path);
    struct dirent *entry;
    while (fds && memory->held <= memory->most && (entry = readdir(fds))) { /* there may be thousands */
        snprintf(path, sizeof path, "%s/fd/%s", directory, entry->d_name);
        snprintf(info, sizeof info, "%s/fdinfo/%s", directory, entry->d_name);
        add_descriptor(path, info, memory);
    }
    if (fds)
        closedir(fds);
}

/** Notes whether a process has mapped a memfd that no process has open. Its descriptors must have been counted. */
static void look_at_mappings(const char *directory, struct memory *memory)
{
    char path[128], line[512];
    snprintf(path, sizeof path, "%s/maps", directory);
    FILE *file = fopen(path, "re");
    unsigned long long inode;
    while (file && !memory->unseen && fgets(line, sizeof line, file))
        if (strstr(line, " /memfd:") && sscanf(line, "%*s %*s %*s %*s %llu", &inode) == 1)
            memory->unseen = is_first(inode);
    if (file)
        fclose(file);
}

static void add_memory(pid_t pid, void *closure)
{
    struct memory *memory = closure;
    char directory[64], path[128];
    const int64_t resident = find_living_task(pid, directory, sizeof directory);
    if (memory->ask_exactly) {
        snprintf(path, sizeof path, "%s/smaps_rollup", directory);
        const int64_t share = read_number(path, "Pss:") * 1024;
        memory->exact += share > 0 ? share : resident;
    } else if (memory->look_at_mappings) {
        look_at_mappings(directory, memory);
    } else {
        memory->resident += resident;
        add_descriptors(directory, memory);
    }
}

/* ---- all together ------------------------------------------------------------------------------------ */

/** Shared memory of the whole machine. Only this number includes a memfd that is neither open nor mapped. */
static int64_t shared_memory(void)
{
    struct sysinfo machine;
    return sysinfo(&machine) == 0 ? (int64_t)machine.sharedram * machine.mem_unit : 0;
}

void setup_memory_check(void)
{
    initial_shared_memory = shared_memory();
    look_as_program = !options.namespaces && options.slot >= 0 && !has_capability(CAP_SYS_PTRACE);
}

static bool programs_use_too_much(void)
{
    const int64_t most = (int64_t)options.memory_mb << 20;
    struct memory memory = {.most = most};
    forget_inodes();
    for_each_process(add_memory, &memory);
    if (memory.held > most)
        return true;
    if (memory.resident + memory.held > most) {
        memory.ask_exactly = true;
        for_each_process(add_memory, &memory);
        if (memory.exact + memory.held > most)
            return true;
    }
    /* Other processes on the machine use shared memory, too. So blame the programs only if the growth is large and
     * they do have memory that cannot be looked at. */
    if (shared_memory() - initial_shared_memory <= 2 * most)
        return false;
    memory.ask_exactly = false;
    memory.look_at_mappings = true;
    for_each_process(add_memory, &memory);
    return memory.unseen;
}

/** Whether the kernel would soon have to kill some process, perhaps the harness. */
static bool machine_is_full(void)
{
    static const char path[] = "/proc/meminfo";
    const int64_t total = read_number(path, "MemTotal:") / RESERVE_PART, most = RESERVE_MB * INT64_C(1024);
    const int64_t left = read_number(path, "MemAvailable:") + read_number(path, "SwapFree:");
    return left > 0 && left < (total < most ? total : most);
}

/* ---- the control group ------------------------------------------------------------------------------- */

static int64_t killed_before;

/** How many processes the kernel has killed because the group was full; see the kernel's cgroup-v2.rst, memory.events. */
static int64_t killed_by_group(void)
{
    char text[512];
    const ssize_t length =
        options.group_events < 0 ? -1 : pread(options.group_events, text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    const char *line = strstr(text, "oom_kill ");
    return line ? strtoll(line + sizeof "oom_kill", NULL, 10) : 0;
}

/* The descriptor was opened by the harness, whose privilege counts here; see cgroups(7). A kernel that asks for the
 * child's own refuses: then only pid 1's watch limits the memory. */
void enter_group(void)
{
    if (options.group_procs >= 0 && write(options.group_procs, "0", 1) < 0)
        errno = 0;
}

void check_group(void)
{
    const int64_t killed = killed_by_group();
    if (killed == killed_before)
        return;
    killed_before = killed;
    over_memory = OVER_LIMIT;
    kill_all();
}

/* ---- the watch --------------------------------------------------------------------------------------- */

void check_memory(void)
{
    /* Root in a container may have no CAP_SYS_PTRACE. The owner of a process can look at it all the same. */
    const gid_t group = look_as_program ? (gid_t)setfsgid(program_gid) : 0;
    const uid_t user = look_as_program ? (uid_t)setfsuid(program_uid) : 0;
    const bool too_much = programs_use_too_much();
    if (look_as_program) {
        setfsuid(user);
        setfsgid(group);
    }
    if (!too_much && !machine_is_full())
        return;
    over_memory = too_much ? OVER_LIMIT : MACHINE_FULL;
    kill_all();
}

/**
 * @file
 * @brief Reaps programs, and kills those that take too long or too much memory.
 */
#include "box.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct program programs[MAX_PROGRAMS];
int last_status;
static bool look_as_program;          /**< see check_memory() */
static bool over_memory;              /**< everything was killed since the last reset_box() */
static int64_t initial_shared_memory; /**< see shared_memory() */

int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

bool any_program(void)
{
    for (int i = 0; i < MAX_PROGRAMS; i++)
        if (programs[i].pid != 0)
            return true;
    return false;
}

/* ---- reaping ----------------------------------------------------------------------------------------- */

static int64_t microseconds(struct timeval time)
{
    return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

void reap(void)
{
    int status;
    struct rusage used;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG, &used)) > 0) {
        struct program *found = NULL;
        for (int i = 0; i < MAX_PROGRAMS; i++)
            if (programs[i].pid == pid)
                found = &programs[i];
        if (!found) {
            send_message("orphan %d %d", pid, status);
            continue;
        }
        if (options.namespaces && options.slot < 0)
            restore_permissions();
        send_message("exited %d %d %lld %ld %lld %d %d", pid, status,
                     (long long)microseconds(used.ru_utime) + (long long)microseconds(used.ru_stime),
                     used.ru_maxrss, (long long)(now_us() - found->started_us), found->timed_out,
                     over_memory);
        last_status = status;
        found->pid = 0;
    }
}

/* ---- killing ----------------------------------------------------------------------------------------- */

static void kill_one(pid_t pid, void *closure)
{
    (void)closure;
    kill(pid, SIGKILL);
}

/** Kills every program and all descendants. In a pid namespace one call does it, so that no fork is missed. */
static void kill_all(void)
{
    if (options.namespaces)
        kill(-1, SIGKILL);
    else
        for_each_process(kill_one, NULL);
}

void reset_box(void)
{
    for (int64_t end = now_us() + 5000000; now_us() < end;) {
        kill_all();
        while (wait4(-1, NULL, options.namespaces ? 0 : WNOHANG, NULL) > 0)
            ;
        if (errno == ECHILD)
            break;
        poll(NULL, 0, 1); /* host tier: a process forked before it was killed, or has not ended yet */
    }
    memset(programs, 0, sizeof programs);
    forget_stops();
    over_memory = false;
    if (options.namespaces && options.slot < 0)
        restore_permissions();
}

/* ---- the time limit ---------------------------------------------------------------------------------- */

int check_timeouts(void)
{
    int64_t now = now_us(), next = -1;
    for (int i = 0; i < MAX_PROGRAMS; i++) {
        struct program *program = &programs[i];
        if (program->pid == 0)
            continue;
        if (now >= program->deadline_us && !program->timed_out) {
            program->timed_out = true;
            kill(-program->pid, SIGKILL); /* its process group, with the same number, see exec_program() */
            kill(program->pid, SIGKILL);
        }
        if (!program->timed_out && (next < 0 || program->deadline_us - now < next))
            next = program->deadline_us - now;
    }
    return next < 0 ? -1 : (int)(next / 1000 + 1);
}

/* ---- the memory limit -------------------------------------------------------------------------------- */

/** Memory of all processes together, in bytes. */
struct memory {
    int64_t resident; /**< mapped pages; a page that several processes share is counted several times */
    int64_t exact;    /**< mapped pages, each counted once; slow, so only if `resident` is over the limit */
    int64_t memfds;   /**< open memfds */
    bool ask_exactly;
    bool
        in_flight; /**< a socket holds descriptors that were sent and not received: they cannot be inspected */
};

static void add_resident(pid_t pid, struct memory *memory)
{
    char path[64];
    long size, resident;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%ld %ld", &size, &resident) == 2)
        memory->resident += (int64_t)resident * sysconf(_SC_PAGESIZE);
    if (file)
        fclose(file);
}

static void add_descriptors(pid_t pid, struct memory *memory)
{
    char path[320];
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
        if (strncmp(target, "socket:", 7) == 0 && read_number(path, "scm_fds:") > 0)
            memory->in_flight = true;
    }
    if (fds)
        closedir(fds);
}

static void add_memory(pid_t pid, void *closure)
{
    struct memory *memory = closure;
    if (memory->ask_exactly) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
        memory->exact += read_number(path, "Pss:") * 1024;
        return;
    }
    add_resident(pid, memory);
    add_descriptors(pid, memory);
}

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

void check_memory(void)
{
    const int64_t most = (int64_t)options.memory_mb << 20;
    struct memory memory = {0};
    /* Root in a container may have no CAP_SYS_PTRACE. The owner of a process can look at it all the same. */
    const gid_t group = look_as_program ? (gid_t)setfsgid(program_gid) : 0;
    const uid_t user = look_as_program ? (uid_t)setfsuid(program_uid) : 0;
    for_each_process(add_memory, &memory);
    if (memory.resident + memory.memfds > most) {
        memory.ask_exactly = true;
        for_each_process(add_memory, &memory);
    }
    if (look_as_program) {
        setfsuid(user);
        setfsgid(group);
    }
    /* Other processes on the machine use shared memory, too. So blame the programs only if the growth is large and
     * they do have descriptors in flight. */
    const bool hidden = memory.in_flight && shared_memory() - initial_shared_memory > 2 * most;
    if (memory.exact + memory.memfds <= most && !hidden)
        return;
    over_memory = true;
    kill_all();
}

/**
 * @file
 * @brief What a program may not do: resource limits and credentials.
 *
 * Everything here runs in a child that may still share memory with pid 1; see start.c.
 */
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The time limit is generous: the harness waits only a few seconds for what should happen, but it may inspect a
 * stopped program for much longer. */
const struct limits default_limits = {.wall_ms = 30000,
                                      .cpu_s = 10,
                                      .address_mb = 2048,
                                      .file_mb = 1024,
                                      .processes = 128,
                                      .files = 256,
                                      .umask = 022,
                                      .directory = NULL,
                                      .rules = NULL};

void child_die(const char *what)
{
    dprintf(STDERR_FILENO, "box: %s: %s\n", what, strerror(errno));
    _exit(EXIT_EXEC);
}

/* ---- resource limits --------------------------------------------------------------------------------- */

void set_rlimit(int resource, rlim_t soft, rlim_t hard)
{
    struct rlimit value = {soft, hard}, now;
    if (syscall(SYS_prlimit64, 0, resource, &value, NULL) == 0)
        return;
    /* Without CAP_SYS_RESOURCE a hard limit can only be lowered, and this one is lower already. */
    if (syscall(SYS_prlimit64, 0, resource, NULL, &now) == 0) {
        value.rlim_max = hard < now.rlim_max ? hard : now.rlim_max;
        value.rlim_cur = soft < value.rlim_max ? soft : value.rlim_max;
    }
    if (syscall(SYS_prlimit64, 0, resource, &value, NULL) < 0) {
        dprintf(STDERR_FILENO, "box: setrlimit %d: %s\n", resource, strerror(errno));
        _exit(EXIT_EXEC);
    }
}

void setup_rlimits(const struct limits *limits)
{
    const rlim_t file = (rlim_t)limits->file_mb << 20, address = (rlim_t)limits->address_mb << 20;
    set_rlimit(RLIMIT_CORE, 0, 0);
    set_rlimit(RLIMIT_CPU, (rlim_t)limits->cpu_s, (rlim_t)limits->cpu_s + 1);
    set_rlimit(RLIMIT_FSIZE, file, file);
    set_rlimit(RLIMIT_NOFILE, (rlim_t)limits->files, (rlim_t)limits->files);
    set_rlimit(RLIMIT_MEMLOCK, 0, 0);
    set_rlimit(RLIMIT_SIGPENDING, 256, 256); /* a timer counts, too, and is counted for the user */
    if (address)
        set_rlimit(RLIMIT_AS, address, address);
}

/* ---- credentials ------------------------------------------------------------------------------------- */

bool has_capability(unsigned capability)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0}};
    return syscall(SYS_capget, &header, data) == 0 &&
           (data[capability / 32].effective >> capability % 32 & 1) != 0;
}

/** Whether uid_map or gid_map of the own user namespace includes an id. */
static bool is_mapped(const char *path, unsigned long id)
{
    unsigned long first, outside, length;
    bool found = false;
    FILE *map = fopen(path, "re");
    while (map && !found && fscanf(map, "%lu %lu %lu", &first, &outside, &length) == 3)
        found = id >= first && id - first < length;
    if (map)
        fclose(map);
    return found;
}

/* Uid 0 alone does not tell. A user namespace may map no other id than the user's own, as in a rootless container
 * or after `unshare -Ur`; and a container may have been started without these capabilities. */
bool can_switch_user(uid_t uid, gid_t gid)
{
    static const unsigned needed[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER,
                                      CAP_KILL,  CAP_SETGID,       CAP_SETUID};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!has_capability(needed[i]))
            return false;
    char setgroups[8] = "";
    FILE *file = fopen("/proc/self/setgroups", "re");
    if (file && !fgets(setgroups, sizeof setgroups, file))
        setgroups[0] = '\0';
    if (file)
        fclose(file);
    return getuid() == 0 && strncmp(setgroups, "deny", 4) != 0 && is_mapped("/proc/self/uid_map", uid) &&
           is_mapped("/proc/self/gid_map", gid);
}

/* System calls and not the C library's functions: those change the ids of all threads of the process, with state
 * that this child shares with pid 1. */
void setup_credentials(int userns)
{
    if (options.slot >= 0 && syscall(SYS_setgroups, 0, NULL) < 0)
        child_die("setgroups");
    if (options.namespaces && setns(userns, CLONE_NEWUSER) < 0)
        child_die("setns");
    /* In the namespace, which has no uid 0, the capabilities outlast this. */
    if (options.slot >= 0 && (syscall(SYS_setresgid, program_gid, program_gid, program_gid) < 0 ||
                              syscall(SYS_setresuid, program_uid, program_uid, program_uid) < 0))
        child_die("setresuid");
    for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++)
        ;
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &header, none) < 0)
        child_die("capset");
}

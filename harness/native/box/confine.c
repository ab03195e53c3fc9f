/**
 * @file
 * @brief What a program may not do: resource limits, credentials and the system-call filter.
 *
 * Everything here except setup_seccomp() runs in a child that may still share memory with pid 1; see start.c.
 */
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
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
                                      .directory = NULL};

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

/* ---- the system-call filter -------------------------------------------------------------------------- */

#if defined __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined __riscv && __riscv_xlen == 64
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#endif

/* One instruction of the filter: load a field of struct seccomp_data, skip instructions if the loaded value is
 * (or is not) equal to a number, and return a result. */
#define LOAD(field)                                                                                          \
    ((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field)))
#define SKIP(relation, number, if_true, if_false)                                                            \
    ((struct sock_filter)BPF_JUMP(BPF_JMP | (relation) | BPF_K, number, if_true, if_false))
#define RETURN(result) ((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, result))

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#ifdef ARCHITECTURE
/**
 * Refuses what namespaces would make harmless: sockets of any family but AF_UNIX, and signals to pid 1, to the
 * harness, to its ancestors and to their process groups. Pid 1 has the program's uid if an ordinary user started
 * the box, and is in the same Landlock domain. Returns the new length of the filter.
 */
static unsigned short filter_for_host(struct sock_filter *code, unsigned short n)
{
    static const unsigned sending[] = {
        SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo, SYS_pidfd_open, SYS_rt_tgsigqueueinfo};
    enum { SENDING = sizeof sending / sizeof *sending, ANCESTORS = 12 };
    code[n++] = LOAD(nr);
    code[n++] = SKIP(BPF_JEQ, SYS_socket, 0, 3);
    code[n++] = LOAD(args[0]);
    code[n++] = SKIP(BPF_JEQ, AF_UNIX, 1, 0);
    code[n++] = RETURN(SECCOMP_RET_ERRNO | EACCES);
    /* The kernel sends a signal to the owner of a descriptor that has become ready. */
    code[n++] = LOAD(nr);
    code[n++] = SKIP(BPF_JEQ, SYS_fcntl, 0, 4);
    code[n++] = LOAD(args[1]);
    code[n++] = SKIP(BPF_JEQ, F_SETOWN, 1, 0);
    code[n++] = SKIP(BPF_JEQ, F_SETOWN_EX, 0, 1);
    code[n++] = RETURN(SECCOMP_RET_ERRNO | EPERM);

    code[n++] = LOAD(nr);
    for (int i = 0; i < SENDING; i++)
        code[n++] = SKIP(BPF_JEQ, sending[i], (unsigned char)(SENDING - i), 0);
    const unsigned short past = n++; /* to be filled in when its length is known */
    code[n++] = LOAD(args[0]);
    code[n++] = SKIP(BPF_JEQ, (unsigned)-1, 0, 1); /* all processes */
    code[n++] = RETURN(SECCOMP_RET_ERRNO | EPERM);
    pid_t pid = getpid();
    for (int i = 0; i < ANCESTORS && pid > 0; i++, pid = read_process(pid).parent) {
        const pid_t group = getpgid(pid); /* not positive: it is outside this pid namespace */
        code[n++] = SKIP(BPF_JEQ, (unsigned)pid, 1, 0);
        code[n++] = SKIP(BPF_JEQ, (unsigned)(group > 0 ? -group : pid), 0, 1);
        code[n++] = RETURN(SECCOMP_RET_ERRNO | EPERM);
    }
    code[past] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, (unsigned)(n - past - 1));
    return n;
}
#endif

/*
 * Refuses system calls that no lab needs, that need no capability, and that would let a program
 * - use the keyring of the user who runs the harness (keyctl),
 * - hold memory and descriptors that check_memory() does not see (io_uring),
 * - create queues that no list shows (mq_open),
 * - change limits, priority or processors of pid 1, which has the program's uid if an ordinary user started the
 *   box. These calls compare nothing else.
 *
 * Pid 1 needs none of them either, so it installs the filter for itself, once, and all programs inherit it.
 */
void setup_seccomp(void)
{
#ifdef ARCHITECTURE
    static const unsigned refused[] = {
        SYS_add_key,         SYS_request_key,        SYS_keyctl,      SYS_io_uring_setup,
        SYS_io_uring_enter,  SYS_io_uring_register,  SYS_userfaultfd, SYS_bpf,
        SYS_perf_event_open, SYS_setpriority,        SYS_ioprio_set,  SYS_sched_setattr,
        SYS_sched_setparam,  SYS_sched_setscheduler, SYS_mq_open};
    enum { REFUSED = sizeof refused / sizeof *refused };
    struct sock_filter code[2 * REFUSED + 96];
    unsigned short n = 0;
    /* The numbers mean other calls in other kinds of programs, such as 32-bit ones. Those get no call at all. */
    code[n++] = LOAD(arch);
    code[n++] = SKIP(BPF_JEQ, ARCHITECTURE, 1, 0);
    code[n++] = RETURN(SECCOMP_RET_ERRNO | ENOSYS);
    code[n++] = LOAD(nr);
    code[n++] = SKIP(BPF_JGE, 0x40000000, 0, 1); /* x32 programs have the same architecture */
    code[n++] = RETURN(SECCOMP_RET_ERRNO | ENOSYS);
    for (int i = 0; i < REFUSED; i++) {
        code[n++] = SKIP(BPF_JEQ, refused[i], 0, 1);
        code[n++] = RETURN(SECCOMP_RET_ERRNO | EPERM);
    }
    /* A program may set its own limits, and setrlimit(3) does so with pid 0. */
    code[n++] = SKIP(BPF_JEQ, SYS_prlimit64, 0, 3);
    code[n++] = LOAD(args[0]);
    code[n++] = SKIP(BPF_JEQ, 0, 1, 0);
    code[n++] = RETURN(SECCOMP_RET_ERRNO | EPERM);
    /* The processors of pid 1 only; a program may choose its own. */
    code[n++] = LOAD(nr);
    code[n++] = SKIP(BPF_JEQ, SYS_sched_setaffinity, 0, 3);
    code[n++] = LOAD(args[0]);
    code[n++] = SKIP(BPF_JEQ, (unsigned)getpid(), 0, 1);
    code[n++] = RETURN(SECCOMP_RET_ERRNO | EPERM);
    /* A lease makes every other process that opens the file wait, also pid 1 and the harness. */
    code[n++] = LOAD(nr);
    code[n++] = SKIP(BPF_JEQ, SYS_fcntl, 0, 3);
    code[n++] = LOAD(args[1]);
    code[n++] = SKIP(BPF_JEQ, F_SETLEASE, 0, 1);
    code[n++] = RETURN(SECCOMP_RET_ERRNO | EPERM);
    if (!options.namespaces) {
        n = filter_for_host(code, n);
        promises |= PROMISE_NETWORK;
    }
    code[n++] = RETURN(SECCOMP_RET_ALLOW);
    const struct sock_fprog filter = {n, code};
    /* Without this flag older kernels also switch on a mitigation that slows the programs down. */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter) < 0)
        die("seccomp");
#endif
}

/**
 * @file
 * @brief Runs a command with the capabilities and the system calls that a container engine leaves to it by default.
 *
 *     container [OPTION]... COMMAND [ARGUMENT]...
 *
 * An imitation: the capabilities are those that Docker and Podman keep for root; the filter refuses what their
 * default profile refuses to a process without CAP_SYS_ADMIN, as far as the lab could need it. New namespaces,
 * mounts and keys are EPERM, clone3 is ENOSYS so that the C library uses clone. There is no CAP_SYS_PTRACE. If
 * root calls it, parts of /proc are covered or read-only, as they are in a container.
 *
 * The options are those of `docker run` that lift a restriction:
 *
 *     --security-opt seccomp=unconfined      no filter
 *     --security-opt systempaths=unconfined  nothing in /proc is covered
 *     --security-opt apparmor=unconfined     nothing here: AppArmor is not imitated
 *     --cap-add SYS_ADMIN                    keeps CAP_SYS_ADMIN, and the filter allows what takes this capability
 *
 * Sources: capabilities(7), seccomp(2), mount_namespaces(7), the engines' default seccomp profile and paths.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int kept[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,           CAP_FSETID,  CAP_KILL,
                           CAP_SETGID, CAP_SETUID,       CAP_SETPCAP,          CAP_NET_RAW, CAP_SYS_CHROOT,
                           CAP_MKNOD,  CAP_AUDIT_WRITE,  CAP_NET_BIND_SERVICE, CAP_SETFCAP};

static const char *const covered[] = {
    "/proc/acpi", "/proc/asound",        "/proc/interrupts",  "/proc/kcore",      "/proc/keys",
    "/proc/scsi", "/proc/latency_stats", "/proc/sched_debug", "/proc/timer_list", "/sys/firmware"};
static const char *const read_only[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                        "/proc/sysrq-trigger"};

/** Covers and protects paths of /proc, in a mount namespace of our own. What does not exist is left out. */
static void cover_system_paths(void)
{
    struct stat status;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        err(125, "unshare");
    for (size_t i = 0; i < sizeof covered / sizeof *covered; i++) {
        if (stat(covered[i], &status) < 0)
            continue;
        if (S_ISDIR(status.st_mode) ? mount("tmpfs", covered[i], "tmpfs", MS_RDONLY, NULL) < 0
                                    : mount("/dev/null", covered[i], NULL, MS_BIND, NULL) < 0)
            err(125, "cover %s", covered[i]);
    }
    for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++) {
        if (stat(read_only[i], &status) < 0)
            continue;
        if (mount(read_only[i], read_only[i], NULL, MS_BIND, NULL) < 0 ||
            mount(NULL, read_only[i], NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
            err(125, "protect %s", read_only[i]);
    }
}

/** Keeps the default capabilities of those that the caller has, and CAP_SYS_ADMIN if it was added. */
static void limit_capabilities(bool sys_admin)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    uint64_t mask = 0;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        mask |= UINT64_C(1) << kept[i];
    if (sys_admin)
        mask |= UINT64_C(1) << CAP_SYS_ADMIN;
    for (int i = 0; i < 64; i++)
        if (!(mask >> i & 1))
            prctl(PR_CAPBSET_DROP, i, 0, 0, 0); /* EPERM for an ordinary user, who has none */
    if (syscall(SYS_capget, &header, data) < 0)
        err(125, "capget");
    for (int half = 0; half < 2; half++) {
        data[half].permitted &= (uint32_t)(mask >> (32 * half));
        data[half].effective &= (uint32_t)(mask >> (32 * half));
        data[half].inheritable = 0;
    }
    if (syscall(SYS_capset, &header, data) < 0)
        err(125, "capset");
}

#define REFUSE(call, error)                                                                                  \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1),                                                   \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))

static void limit_calls(void)
{
    enum {
        NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                     CLONE_NEWPID | CLONE_NEWNET
    };
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        REFUSE(unshare, EPERM),
        REFUSE(setns, EPERM),
        REFUSE(mount, EPERM),
        REFUSE(umount2, EPERM),
        REFUSE(pivot_root, EPERM),
        REFUSE(clone3, ENOSYS),
        REFUSE(keyctl, EPERM),
        REFUSE(add_key, EPERM),
        REFUSE(request_key, EPERM),
        REFUSE(bpf, EPERM),
        REFUSE(perf_event_open, EPERM),
        REFUSE(userfaultfd, EPERM),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    /* Root in a container may gain privileges by exec, so it gets the filter without no_new_privs. */
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
        return;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        err(125, "seccomp");
}

int main(int argc, char *argv[])
{
    bool seccomp = true, system_paths = true, sys_admin = false;
    int i = 1;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--cap-add") == 0 && strcmp(value, "SYS_ADMIN") == 0)
            sys_admin = true;
        else if (strcmp(argv[i], "--security-opt") != 0)
            break;
        else if (strcmp(value, "seccomp=unconfined") == 0)
            seccomp = false;
        else if (strcmp(value, "systempaths=unconfined") == 0)
            system_paths = false;
        else if (strcmp(value, "apparmor=unconfined") != 0)
            break;
    }
    if (i >= argc || strncmp(argv[i], "--", 2) == 0)
        errx(125, "usage: container [--security-opt NAME=unconfined]... [--cap-add SYS_ADMIN] COMMAND "
                  "[ARGUMENT]...");
    if (system_paths && geteuid() == 0)
        cover_system_paths();
    if (seccomp && !sys_admin)
        limit_calls();
    limit_capabilities(sys_admin);
    execvp(argv[i], argv + i);
    err(127, "%s", argv[i]);
}

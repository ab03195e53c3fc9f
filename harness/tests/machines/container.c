/**
 * @file
 * @brief Runs a command with the capabilities and the system calls that a container engine leaves to it by default.
 *
 *     container COMMAND [ARGUMENT]...
 *
 * An imitation: the capabilities are those that Docker and Podman keep for root; the filter refuses what their
 * default profile refuses to a process without CAP_SYS_ADMIN, as far as the lab could need it. New namespaces,
 * mounts and keys are EPERM, clone3 is ENOSYS so that the C library uses clone. There is no CAP_SYS_PTRACE.
 * Sources: capabilities(7), seccomp(2), the engines' default seccomp profile.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int kept[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,           CAP_FSETID,  CAP_KILL,
                           CAP_SETGID, CAP_SETUID,       CAP_SETPCAP,          CAP_NET_RAW, CAP_SYS_CHROOT,
                           CAP_MKNOD,  CAP_AUDIT_WRITE,  CAP_NET_BIND_SERVICE, CAP_SETFCAP};

/** Keeps the default capabilities of those that the caller has. */
static void limit_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    uint64_t mask = 0;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        mask |= UINT64_C(1) << kept[i];
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
    if (argc < 2)
        errx(125, "usage: container COMMAND [ARGUMENT]...");
    limit_calls();
    limit_capabilities();
    execvp(argv[1], argv + 1);
    err(127, "%s", argv[1]);
}

/**
 * @file
 * @brief The system calls that programs may make: a list of what is allowed, so that a new call is not.
 *
 * All others fail with ENOSYS, as if the kernel did not have them: programs and libraries are prepared for that.
 */
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined __riscv && __riscv_xlen == 64
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#endif

uint64_t start_secret;

/* Calls that not all headers have. Their numbers are the same on all architectures. */
enum {
    NR_pidfd_send_signal = 424,
    NR_pidfd_open = 434,
    NR_clone3 = 435,
    NR_close_range = 436,
    NR_openat2 = 437,
    NR_pidfd_getfd = 438,
    NR_faccessat2 = 439,
    NR_epoll_pwait2 = 441,
    NR_landlock_restrict_self = 446,
    NR_futex_waitv = 449,
    NR_fchmodat2 = 452,
    NR_futex_wake = 454,
    NR_futex_wait = 455,
    NR_futex_requeue = 456,
    NR_mseal = 462
};

/*
 * What the labs' programs use, what C libraries, sanitizers, compilers and Python use, and what fails for want of a
 * privilege, so that it fails as it does outside. Three are for pid 1 and the start of a program: setns,
 * landlock_restrict_self and removexattr.
 *
 * Not in it, for example: what holds memory that check_memory() does not see (vmsplice, tee, memfd_secret, io_uring),
 * what is counted for the whole machine or user (io_setup, inotify, fanotify, mq_open, keys), attributes that would
 * outlast a check (setxattr), what a program could hide its calls behind (seccomp, userfaultfd), and everything for
 * administrators (mount, bpf, perf_event_open, ...).
 */
#ifdef ARCHITECTURE
static const unsigned allowed[] = {
    /* descriptors */
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv,
    SYS_pwritev,
    SYS_preadv2,
    SYS_pwritev2,
    SYS_lseek,
    SYS_close,
    NR_close_range,
    SYS_dup,
    SYS_dup3,
    SYS_fcntl,
    SYS_ioctl,
    SYS_pipe2,
    SYS_splice,
    SYS_sendfile,
    SYS_copy_file_range,
    SYS_fsync,
    SYS_fdatasync,
    SYS_sync_file_range,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_fadvise64,
    SYS_readahead,
    SYS_memfd_create,
    SYS_flock,
    SYS_ppoll,
    SYS_pselect6,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    NR_epoll_pwait2,
    SYS_eventfd2,
    SYS_signalfd4,
    /* files */
    SYS_openat,
    NR_openat2,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_unlinkat,
    SYS_renameat2,
    SYS_linkat,
    SYS_symlinkat,
    SYS_readlinkat,
    SYS_faccessat,
    NR_faccessat2,
    SYS_fchmodat,
    NR_fchmodat2,
    SYS_fchmod,
    SYS_fchown,
    SYS_fchownat,
    SYS_utimensat,
    SYS_truncate,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_getdents64,
    SYS_chdir,
    SYS_fchdir,
    SYS_getcwd,
    SYS_umask,
    SYS_getxattr,
    SYS_lgetxattr,
    SYS_fgetxattr,
    SYS_listxattr,
    SYS_llistxattr,
    SYS_flistxattr,
    SYS_removexattr,
    /* memory */
    SYS_mmap,
    SYS_munmap,
    SYS_mprotect,
    SYS_mremap,
    SYS_madvise,
    SYS_msync,
    SYS_mincore,
    SYS_mlock,
    SYS_mlock2,
    SYS_munlock,
    SYS_mlockall,
    SYS_munlockall,
    SYS_brk,
    SYS_membarrier,
    SYS_pkey_alloc,
    SYS_pkey_free,
    SYS_pkey_mprotect,
    SYS_get_mempolicy,
    NR_mseal,
    /* IPC and synchronization */
    SYS_shmget,
    SYS_shmat,
    SYS_shmdt,
    SYS_shmctl,
    SYS_semget,
    SYS_semop,
    SYS_semctl,
    SYS_semtimedop,
    SYS_msgget,
    SYS_msgsnd,
    SYS_msgrcv,
    SYS_msgctl,
    SYS_futex,
    NR_futex_waitv,
    NR_futex_wake,
    NR_futex_wait,
    NR_futex_requeue,
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_rseq,
    /* sockets */
    SYS_socket,
    SYS_socketpair,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_connect,
    SYS_getsockname,
    SYS_getpeername,
    SYS_sendto,
    SYS_recvfrom,
    SYS_sendmsg,
    SYS_recvmsg,
    SYS_sendmmsg,
    SYS_recvmmsg,
    SYS_shutdown,
    SYS_getsockopt,
    SYS_setsockopt,
    /* processes and threads */
    SYS_clone,
    NR_clone3,
    SYS_execve,
    SYS_execveat,
    SYS_exit,
    SYS_exit_group,
    SYS_wait4,
    SYS_waitid,
    SYS_set_tid_address,
    SYS_getpid,
    SYS_getppid,
    SYS_gettid,
    SYS_getpgid,
    SYS_setpgid,
    SYS_getsid,
    SYS_setsid,
    NR_pidfd_open,
    NR_pidfd_send_signal,
    NR_pidfd_getfd,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_prctl,
    SYS_personality,
    SYS_prlimit64,
    SYS_getrusage,
    SYS_times,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_setaffinity,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_sched_getattr,
    SYS_sched_get_priority_max,
    SYS_sched_get_priority_min,
    SYS_sched_rr_get_interval,
    SYS_getcpu,
    SYS_getpriority,
    SYS_restart_syscall,
    /* ids */
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getresuid,
    SYS_getresgid,
    SYS_getgroups,
    SYS_setuid,
    SYS_setgid,
    SYS_setreuid,
    SYS_setregid,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setfsuid,
    SYS_setfsgid,
    SYS_setgroups,
    SYS_capget,
    SYS_capset,
    SYS_setns,
    NR_landlock_restrict_self,
    /* signals */
    SYS_kill,
    SYS_tkill,
    SYS_tgkill,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigsuspend,
    SYS_rt_sigpending,
    SYS_rt_sigtimedwait,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_sigaltstack,
    /* time */
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_getitimer,
    SYS_setitimer,
    SYS_timer_create,
    SYS_timer_settime,
    SYS_timer_gettime,
    SYS_timer_getoverrun,
    SYS_timer_delete,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_timerfd_gettime,
    /* the machine */
    SYS_uname,
    SYS_sysinfo,
    SYS_getrandom,
#ifdef SYS_renameat
    SYS_renameat,
#endif
#ifdef SYS_getrlimit
    SYS_getrlimit,
    SYS_setrlimit,
#endif
#ifdef __x86_64__ /* newer architectures never had these */
    SYS_open,
    SYS_creat,
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_mkdir,
    SYS_rmdir,
    SYS_link,
    SYS_unlink,
    SYS_symlink,
    SYS_readlink,
    SYS_rename,
    SYS_chmod,
    SYS_chown,
    SYS_lchown,
    SYS_utime,
    SYS_utimes,
    SYS_futimesat,
    SYS_mknod,
    SYS_getdents,
    SYS_poll,
    SYS_select,
    SYS_pipe,
    SYS_dup2,
    SYS_fork,
    SYS_vfork,
    SYS_alarm,
    SYS_pause,
    SYS_getpgrp,
    SYS_epoll_create,
    SYS_epoll_wait,
    SYS_eventfd,
    SYS_signalfd,
    SYS_time,
    SYS_arch_prctl,
#endif
};

enum { ALLOWED = sizeof allowed / sizeof *allowed, MOST_CODE = 4 * ALLOWED + 170 };

/* One instruction of the filter: load a field of struct seccomp_data, skip instructions if the loaded value is
 * (or is not) equal to a number, and return a result. */
#define LOAD(field)                                                                                          \
    ((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field)))
#define SKIP(relation, number, if_true, if_false)                                                            \
    ((struct sock_filter)BPF_JUMP(BPF_JMP | (relation) | BPF_K, number, if_true, if_false))
#define RETURN(result) ((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, result))
#define JUMP(distance) ((struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, distance))

static int compare(const void *a, const void *b)
{
    const unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

/** Refuses what is not in the list. The number of the call is loaded. Returns the new length of the filter. */
static unsigned short filter_by_list(struct sock_filter *code, unsigned short n)
{
    unsigned sorted[ALLOWED];
    unsigned short jumps[ALLOWED];
    int ranges = 0;
    for (int i = 0; i < ALLOWED; i++)
        sorted[i] = allowed[i];
    qsort(sorted, ALLOWED, sizeof *sorted, compare);
    for (int first = 0, last; first < ALLOWED; first = last + 1) {
        for (last = first; last + 1 < ALLOWED && sorted[last + 1] <= sorted[last] + 1;)
            last++;
        code[n++] = SKIP(BPF_JGT, sorted[last], 3, 0);
        code[n++] = SKIP(BPF_JGE, sorted[first], 1, 0);
        code[n++] = RETURN(SECCOMP_RET_ERRNO | ENOSYS);
        jumps[ranges++] = n++;
    }
    code[n++] = RETURN(SECCOMP_RET_ERRNO | ENOSYS);
    for (int i = 0; i < ranges; i++)
        code[jumps[i]] = JUMP((unsigned)(n - jumps[i] - 1));
    return n;
}

/** Refuses a call if an argument has one of these values. Returns the new length of the filter. */
static unsigned short refuse_argument(struct sock_filter *code, unsigned short n, unsigned call,
                                      unsigned offset, const unsigned *values, int count, unsigned error)
{
    code[n++] = LOAD(nr);
    code[n++] = SKIP(BPF_JEQ, call, 0, (unsigned char)(2 * count + 1));
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset);
    for (int i = 0; i < count; i++) {
        code[n++] = SKIP(BPF_JEQ, values[i], 0, 1);
        code[n++] = RETURN(SECCOMP_RET_ERRNO | error);
    }
    return n;
}

/** Refuses a call unless an argument has one of these values. Returns the new length of the filter. */
static unsigned short demand_argument(struct sock_filter *code, unsigned short n, unsigned call,
                                      unsigned offset, const unsigned *values, int count, unsigned error)
{
    code[n++] = LOAD(nr);
    code[n++] = SKIP(BPF_JEQ, call, 0, (unsigned char)(count + 2));
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset);
    for (int i = 0; i < count; i++)
        code[n++] = SKIP(BPF_JEQ, values[i], (unsigned char)(count - i), 0);
    code[n++] = RETURN(SECCOMP_RET_ERRNO | error);
    return n;
}

#define ARGUMENT(i) offsetof(struct seccomp_data, args[i])
#define VALUES(...)                                                                                          \
    (const unsigned[]){__VA_ARGS__}, sizeof((const unsigned[]){__VA_ARGS__}) / sizeof(unsigned)

/**
 * Makes a socket's buffers keep their default size: check_memory() counts on it. To the program it looks like a success;
 * the kernel takes such a size as a hint, too. Returns the new length of the filter.
 */
static unsigned short ignore_buffer_sizes(struct sock_filter *code, unsigned short n)
{
    code[n++] = LOAD(nr);
    code[n++] = SKIP(BPF_JEQ, SYS_setsockopt, 0, 8);
    code[n++] = LOAD(args[1]);
    code[n++] = SKIP(BPF_JEQ, SOL_SOCKET, 0, 6);
    code[n++] = LOAD(args[2]);
    code[n++] = SKIP(BPF_JEQ, SO_SNDBUF, 3, 0);
    code[n++] = SKIP(BPF_JEQ, SO_RCVBUF, 2, 0);
    code[n++] = SKIP(BPF_JEQ, SO_SNDBUFFORCE, 1, 0);
    code[n++] = SKIP(BPF_JEQ, SO_RCVBUFFORCE, 0, 1);
    code[n++] = RETURN(SECCOMP_RET_ERRNO); /* 0 */
    return n;
}

/**
 * Refuses what namespaces would make harmless: sockets of any family but AF_UNIX, and signals to pid 1, to the
 * harness, to its ancestors and to their process groups. Pid 1 has the program's uid if an ordinary user started
 * the box, and is in the same Landlock domain. Returns the new length of the filter.
 */
static unsigned short filter_for_host(struct sock_filter *code, unsigned short n)
{
    static const unsigned sending[] = {
        SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo, NR_pidfd_open, SYS_rt_tgsigqueueinfo};
    enum { SENDING = sizeof sending / sizeof *sending, ANCESTORS = 12 };
    n = demand_argument(code, n, SYS_socket, ARGUMENT(0), VALUES(AF_UNIX), EACCES);
    /* The kernel sends a signal to the owner of a descriptor that has become ready. */
    n = refuse_argument(code, n, SYS_fcntl, ARGUMENT(1), VALUES(F_SETOWN, F_SETOWN_EX), EPERM);

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
    code[past] = JUMP((unsigned)(n - past - 1));
    return n;
}

/**
 * Refuses to execute anything but what pid 1 starts: it alone knows the number that it passes beside the arguments.
 * Returns the new length of the filter.
 */
static unsigned short filter_execution(struct sock_filter *code, unsigned short n)
{
    while (start_secret == 0)
        if (getrandom(&start_secret, sizeof start_secret, 0) < 0)
            die("getrandom");
    unsigned halves[2]; /* in memory, as the kernel has the argument */
    memcpy(halves, &start_secret, sizeof halves);
    code[n++] = LOAD(nr);
    code[n++] = SKIP(BPF_JEQ, SYS_execve, 1, 0);
    code[n++] = SKIP(BPF_JEQ, SYS_execveat, 0, 5);
    code[n++] = LOAD(args[5]);
    code[n++] = SKIP(BPF_JEQ, halves[0], 0, 2);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(5) + 4);
    code[n++] = SKIP(BPF_JEQ, halves[1], 1, 0);
    code[n++] = RETURN(SECCOMP_RET_ERRNO | EACCES);
    return n;
}
#endif

/* Pid 1 needs no other calls than programs do, so it installs the filter for itself, once, and all inherit it. */
void setup_seccomp(void)
{
#ifdef ARCHITECTURE
    static struct sock_filter code[MOST_CODE];
    unsigned short n = 0;
    /* The numbers mean other calls in other kinds of programs, such as 32-bit ones. Those get no call at all. */
    code[n++] = LOAD(arch);
    code[n++] = SKIP(BPF_JEQ, ARCHITECTURE, 1, 0);
    code[n++] = RETURN(SECCOMP_RET_ERRNO | ENOSYS);
    code[n++] = LOAD(nr); /* x32 programs have the same architecture, and numbers that are not in the list */
    n = filter_by_list(code, n);
    /* A program may set its own limits, and setrlimit(3) does so with pid 0. Pid 1 may have the program's uid. */
    n = demand_argument(code, n, SYS_prlimit64, ARGUMENT(0), VALUES(0), EPERM);
    /* The processors of pid 1 only; a program may choose its own. */
    n = refuse_argument(code, n, SYS_sched_setaffinity, ARGUMENT(0), VALUES((unsigned)getpid()), EPERM);
    /* A lease makes every other process that opens the file wait, also pid 1 and the harness. */
    n = refuse_argument(code, n, SYS_fcntl, ARGUMENT(1), VALUES(F_SETLEASE), EPERM);
    /* A filter of the program's own could keep the recorder's calls from the kernel. The other changes what tells an
     * image from the next: see rules.c. */
    n = refuse_argument(code, n, SYS_prctl, ARGUMENT(0), VALUES(PR_SET_SECCOMP, PR_SET_MM), EINVAL);
    /* No lab needs a socket of another family, and some reach past the network namespace. */
    n = demand_argument(code, n, SYS_socket, ARGUMENT(0), VALUES(AF_UNIX, AF_INET, AF_INET6), EAFNOSUPPORT);
    n = ignore_buffer_sizes(code, n);
    if (!options.executes)
        n = filter_execution(code, n);
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

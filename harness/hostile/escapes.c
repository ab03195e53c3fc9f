/**
 * @file
 * @brief Hostile: tries the system calls that could lead out of the box or to pid 1, then does the lab's work.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 10
 *
 * If a container keeps a capability, lets a program create namespaces, or shares with it a keyring, a terminal or the
 * uid of pid 1, then one of these calls succeeds. The program reports that call and fails. It makes the calls by
 * number, so that the spy neither counts them nor makes them fail.
 */
#define _GNU_SOURCE

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sysv_create.h"

static int opened;

/** Records a call that succeeded: each should have returned -1. */
static void tried(const char *door, long result)
{
    if (result == -1)
        return;
    fprintf(stderr, "open: %s gave %ld\n", door, result);
    opened++;
}
#define TRY(attempt) tried(#attempt, (long)(attempt))

static void try_everything(void)
{
    const struct rlimit none = {0, 0};
    const struct sched_param idle = {0};
    static char parameters[256];
    TRY(unshare(CLONE_NEWUSER));
    TRY(unshare(CLONE_NEWNS));
    TRY(unshare(CLONE_NEWIPC));
    TRY(mount("none", "/tmp", "tmpfs", 0, NULL));
    TRY(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
    TRY(umount2("/proc", MNT_DETACH));
    TRY(umount2("/dev/shm", MNT_DETACH));
    TRY(chroot("/"));
    TRY(syscall(SYS_pivot_root, "/tmp", "/tmp"));
    TRY(setuid(0));
    TRY(setgid(0));
    TRY(setreuid(0, 0));
    TRY(sethostname("mine", 4));
    TRY(mknod("/tmp/disk", S_IFBLK | 0600, 8 << 8));
    TRY(syscall(SYS_socket, AF_INET, SOCK_RAW, 1));
    TRY(syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0));
    TRY(mlockall(MCL_CURRENT | MCL_FUTURE));
    TRY(setpriority(PRIO_PROCESS, 0, -20));
    TRY(syscall(SYS_keyctl, 0, -3, 1));                         /* the session's keyring, created if needed */
    TRY(syscall(SYS_add_key, "user", "hostile", "x", 1L, -3L)); /* a key in the session's keyring */
    TRY(syscall(SYS_add_key, "user", "hostile", "x", 1L, -4L)); /* and in the user's keyring */
    TRY(syscall(SYS_io_uring_setup, 1, parameters));
    TRY(syscall(SYS_userfaultfd, 1));
    TRY(syscall(SYS_mq_open, "left", O_CREAT | O_RDWR, 0600,
                NULL)); /* a queue for the next check's program */
    TRY(syscall(SYS_bpf, 0, parameters, sizeof parameters));
    TRY(syscall(SYS_perf_event_open, parameters, 0, -1, -1, 0));
    TRY(syscall(SYS_open_by_handle_at, AT_FDCWD, parameters, O_RDONLY));
    TRY(syscall(SYS_reboot, 0, 0, 0, 0));
    TRY(ptrace(PTRACE_SEIZE, 1, NULL, NULL));
    TRY(prlimit(1, RLIMIT_NOFILE, &none, NULL));
    TRY(setpriority(PRIO_PROCESS, 1, 19));
    TRY(sched_setscheduler(1, SCHED_IDLE, &idle));
    TRY(syscall(SYS_openat, AT_FDCWD, "/dev/tty", O_RDWR));
    TRY(syscall(SYS_openat, AT_FDCWD, "/proc/1/mem", O_RDWR));
    TRY(syscall(SYS_openat, AT_FDCWD, "/proc/1/environ", O_RDONLY));
    TRY(syscall(SYS_openat, AT_FDCWD, "/proc/1/root", O_RDONLY));
    TRY(syscall(SYS_openat, AT_FDCWD, "/proc/1/ns/mnt", O_RDONLY));
    TRY(syscall(SYS_openat, AT_FDCWD, "/proc/1/fd/0", O_RDONLY));
    TRY(syscall(SYS_openat, AT_FDCWD, "/proc/sys/kernel/shmmni", O_WRONLY));
    TRY(syscall(SYS_openat, AT_FDCWD, "/proc/sysrq-trigger", O_WRONLY));
    TRY(syscall(SYS_openat, AT_FDCWD, "/sys/power/state", O_WRONLY));
    TRY(syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_WRONLY));
}

int main(int argc, char *argv[])
{
    try_everything();
    if (opened)
        return 3;
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return 2;
    }
    return make_segment(argv);
}

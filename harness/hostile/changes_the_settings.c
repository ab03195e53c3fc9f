/**
 * @file
 * @brief Hostile: undoes what a check and pid 1 have set up, then does the lab's work.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 10
 *
 * The limits of a namespace belong to the uid that created it, and so do the directories and pid 1. If that is the
 * uid of the student's program, the program needs no capability to raise the limit on segments that a check has
 * lowered, or to put its own directory where the next program starts. If one attempt succeeds, the program reports it
 * and fails.
 */
#define _GNU_SOURCE

#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sysv_create.h"

static int changed;

static void tried(const char *what, long result)
{
    if (result == -1)
        return;
    fprintf(stderr, "changed: %s\n", what);
    changed++;
}
#define TRY(attempt) tried(#attempt, (long)(attempt))

/** Makes a system call directly, so that the spy neither counts it nor makes it fail. */
static void set(const char *path, const char *value)
{
    const long fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY);
    if (fd == -1)
        return;
    tried(path, syscall(SYS_write, fd, value, strlen(value)));
    syscall(SYS_close, fd);
}

static void try_everything(void)
{
    static const char *const limits[] = {"kernel/shmmni",
                                         "kernel/shmmax",
                                         "kernel/shmall",
                                         "kernel/shm_rmid_forced",
                                         "kernel/sem",
                                         "kernel/msgmni",
                                         "kernel/ns_last_pid",
                                         "kernel/shm_next_id",
                                         "fs/mqueue/queues_max",
                                         "user/max_user_namespaces",
                                         "net/unix/max_dgram_qlen"};
    static const char *const pid_1[] = {
        "oom_score_adj",   "comm",      "clear_refs", "timerslack_ns", "autogroup",
        "coredump_filter", "setgroups", "uid_map",    "sched",         "mem"};
    char path[64];
    for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++) {
        snprintf(path, sizeof path, "/proc/sys/%s", limits[i]);
        set(path, "4096");
    }
    for (unsigned i = 0; i < sizeof pid_1 / sizeof *pid_1; i++) {
        snprintf(path, sizeof path, "/proc/1/%s", pid_1[i]);
        set(path, "1");
    }
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    TRY(sched_setaffinity(1, sizeof first, &first));
    TRY(mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
    TRY(umount2("/proc/sys", MNT_DETACH));
    TRY(umount2("/tmp/lab", MNT_DETACH));
    TRY(umount2("/run/shmlab", MNT_DETACH));
    TRY(syscall(SYS_renameat2, AT_FDCWD, "/tmp/lab", AT_FDCWD, "/tmp/other", 0));
    TRY(syscall(SYS_renameat2, AT_FDCWD, "/run/shmlab", AT_FDCWD, "/run/other", 0));
    TRY(rmdir("/tmp/lab"));
    TRY(mkdir("/run/mine", 0777));
    TRY(chmod("/run", 0777));
    TRY(chmod("/proc/sys/kernel/shmmni", 0666));
}

int main(int argc, char *argv[])
{
    try_everything();
    if (changed)
        return 3;
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return 2;
    }
    return make_segment(argv);
}

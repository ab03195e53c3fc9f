/**
 * @file
 * @brief API cards: what the kernel shows.
 */
/**
 * @defgroup cards_kernel What the kernel shows
 * @brief Lines of `/proc`, field by field, and the limits that a program can reach.
 * @{
 */

/**
 * @brief A line of `/proc/sysvipc/shm`: one segment. `ipcs -m` reads it, and so do the checks.
 *
 * It shows the segments of the IPC namespace of the process that reads.
 *
 * @see sysvipc(7), proc_sysvipc(5), ipcs(1)
 */
struct proc_sysvipc_shm {
    int key;            /**< The key, in decimal; `ipcs` has it in hexadecimal. 0: private, or removed. */
    int shmid;          /**< The number by which `shmat` and `shmctl` know it. */
    int perms;          /**< The mode in octal, with 1000 added once it was removed: `ipcs` says dest. */
    unsigned long size; /**< Bytes, as they were asked for. */
    int cpid;           /**< The process that made it. */
    int lpid;           /**< The process that was the last to attach or detach it. */
    int nattch;         /**< How many attachments there are. fork adds, exec and exit take off. */
    unsigned uid;       /**< The user who owns it. */
    unsigned long rss;  /**< Bytes of it that are in memory. */
    unsigned long swap; /**< Bytes of it that are in swap space. */
};

/**
 * @brief A line of `/proc/PID/maps`: one mapping.
 *
 * The path of a POSIX object is `/dev/shm/NAME`, of a segment `/SYSV` and its key, of a memfd `/memfd:LABEL`, of
 * shared anonymous memory `/dev/zero`; private anonymous memory has none. A name that is gone has `(deleted)` after
 * it.
 *
 * @see proc_pid_maps(5), pmap(1)
 */
struct proc_pid_maps {
    char address[34]; /**< From and to, in hexadecimal; whole pages. */
    char perms[5];    /**< What may be done: `r`, `w`, `x`; then `s` for shared, `p` for private. */
    long offset;      /**< Where in the file it begins, in hexadecimal. */
    char dev[6];      /**< The device of the file. */
    long inode;       /**< The same for all mappings of one object. For a segment it is the shmid. */
    char *path;       /**< What is mapped. */
};

/**
 * @brief Some of the 52 fields of `/proc/PID/stat`, one line about a process.
 *
 * The name can contain spaces, parentheses and newlines: count the other fields from the last `)` of the line.
 *
 * @see proc_pid_stat(5)
 */
struct proc_pid_stat {
    int pid;       /**< Field 1. */
    char comm[18]; /**< Field 2: the name of the program, in parentheses. */
    char state;    /**< Field 3: R runs, S sleeps, T is stopped, Z is a zombie. */
    int ppid;      /**< Field 4: the parent. */
    unsigned long long
        starttime; /**< Field 22: when it was started, in clock ticks since the machine was. With
                                       the pid it tells one process from all others since then. */
};

/**
 * @brief The most segments that there can be, `/proc/sys/kernel/shmmni`. One more is `ENOSPC`.
 *
 * @see sysvipc(7), proc_sys_kernel(5)
 */
#define SHMMNI

/**
 * @brief The most bytes that a segment can have, `/proc/sys/kernel/shmmax`. More is `EINVAL`.
 *
 * @see sysvipc(7), proc_sys_kernel(5)
 */
#define SHMMAX

/**
 * @brief The most pages that all segments together can have, `/proc/sys/kernel/shmall`. More is `ENOSPC`.
 *
 * @see sysvipc(7), proc_sys_kernel(5)
 */
#define SHMALL

/** @} */

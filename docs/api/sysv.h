/**
 * @file
 * @brief API cards: System V shared memory.
 */
/**
 * @defgroup cards_sysv System V: segments and keys
 * @brief Segments that are named by a number, the key, and stay until a process removes them.
 * @{
 */

/**
 * @brief Makes a key from a file that exists and a number that is not 0.
 *
 * The key is made of the low 8 bits of `id`, the low 8 bits of the device number and the low 16 bits of the file's
 * inode number. The file's contents do not matter.
 *
 * @param path  a file that both programs can see
 * @param id    the project id; only its low 8 bits count
 * @return      the key; -1 on failure
 *
 * @par Errors
 * - `ENOENT`: there is no such file.
 * - `EACCES`: a directory in its path may not be searched.
 *
 * @par Pitfalls
 * - -1 is a number that `shmget` accepts as a key. Without a check, a missing file leads to a segment with key
 *   0xffffffff.
 * - Two files can have the same key, and a file that is deleted and created again may have another one.
 * - Ids that differ only above the low 8 bits, such as 65 and 321, have the same key.
 *
 * @see ftok(3), ftok(3p)
 */
key_t ftok(const char *path, int id);

/**
 * @brief Finds or creates the segment of a key, and returns its shmid.
 *
 * A new segment is all zero bytes. It belongs to the effective user and group of the process.
 *
 * @param key   the name; `IPC_PRIVATE` makes a segment that has none
 * @param size  bytes of a new segment; for one that exists at most its size, and 0 is always fine
 * @param flags `IPC_CREAT`, `IPC_EXCL`, and the mode of a new segment in the lowest nine bits
 * @return      the shmid, 0 or more, valid in every process of this IPC namespace; -1 on failure
 *
 * @par Errors
 * - `ENOENT`: no segment has the key, and `IPC_CREAT` was not given.
 * - `EEXIST`: a segment has the key already, and `IPC_CREAT` and `IPC_EXCL` were given.
 * - `EINVAL`: the segment that exists is smaller than `size`; or a new one would be empty or larger than
 *   `SHMMAX`.
 * - `EACCES`: the mode of the segment does not allow what the nine bits of `flags` ask for.
 * - `ENOSPC`: there are `SHMMNI` segments already, or all together would have more than `SHMALL` pages. Free memory
 *   does not matter.
 * - `ENOMEM`: the kernel has no memory for its own records.
 *
 * @par Pitfalls
 * - A shmid of 0 is valid; the first segment of a fresh namespace has it. Compare with -1.
 * - Without `IPC_EXCL` you may get another program's old segment, with its contents.
 * - Without a mode the segment has mode 0, and only root can attach it.
 * - The umask is not applied.
 * - For a segment that exists, the nine bits are a request: 0640 requests write permission. To read, pass 0.
 *
 * @see shmget(2), shmget(3p), sysvipc(7)
 */
int shmget(key_t key, size_t size, int flags);

/**
 * @brief Attaches a segment: maps it into this process.
 *
 * A child that is forked inherits the attachment; exec and the end of the process undo it.
 *
 * @param id       the shmid
 * @param address  where it should be; NULL leaves that to the kernel
 * @param flags    0, or `SHM_RDONLY`
 * @return         the address; `(void *)-1` on failure
 *
 * @par Errors
 * - `EINVAL`: no segment has this shmid, for example because it was removed; or the address is not aligned.
 * - `EACCES`: the mode of the segment does not allow it.
 * - `EIDRM`: the segment was removed while the call was at work.
 * - `ENOMEM`: there is no room in the address space.
 *
 * @par Pitfalls
 * - Failure is `(void *)-1`. A comparison with NULL compiles but never detects it, and the first access is a
 *   SIGSEGV.
 * - Processes have the segment at different addresses: store offsets in it, not pointers.
 * - The memory is mapped in whole pages, and no signal stops you in the rest of the last one. Ask `shmctl`
 *   for the size.
 *
 * @see shmat(2), shmop(2), shmat(3p)
 */
void *shmat(int id, const void *address, int flags);

/**
 * @brief Detaches a segment that `shmat` has attached at this address.
 *
 * @param address  what `shmat` returned
 * @return         0; -1 on failure
 *
 * @par Errors
 * - `EINVAL`: no segment is attached at this address.
 *
 * @par Pitfalls
 * - Detaching does not remove the segment, even if no other process has it attached.
 * - Every pointer into the segment is invalid from now on; the next use of one is a SIGSEGV.
 *
 * @see shmdt(2), shmop(2), shmdt(3p)
 */
int shmdt(const void *address);

/**
 * @brief Asks about a segment, changes its owner and mode, or removes it.
 *
 * @param id       the shmid
 * @param command  `IPC_STAT`, `IPC_SET` or `IPC_RMID`
 * @param data     where `IPC_STAT` writes to and `IPC_SET` reads from; NULL for `IPC_RMID`
 * @return         0; -1 on failure
 *
 * @par Errors
 * - `EINVAL`: no segment has this shmid, for example because it was removed; or there is no such command.
 * - `EIDRM`: the segment was removed while the call was at work.
 * - `EACCES`: `IPC_STAT` needs the right to read.
 * - `EPERM`: `IPC_SET` and `IPC_RMID` are for the owner, the creator and root.
 *
 * @par Pitfalls
 * - After `IPC_RMID` the segment lives on until the last process has detached it. It no longer has a key, so no
 *   process can find it, and the key is free.
 * - `IPC_SET` writes mode, user and group together: fetch them with `IPC_STAT` first.
 * - A segment that is not removed stays until a reboot, or until its IPC namespace ends; the machine may also be
 *   set up to remove it (`RemoveIPC`, `kernel.shm_rmid_forced`).
 *
 * @see shmctl(2), shmctl(3p)
 */
int shmctl(int id, int command, struct shmid_ds *data);

/**
 * @brief What the kernel knows of a segment, as `IPC_STAT` gives it.
 *
 * @see shmctl(2), sys_shm.h(0p)
 */
struct shmid_ds {
    struct ipc_perm shm_perm; /**< Owner, creator and mode. */
    size_t shm_segsz;         /**< Size in bytes, as it was asked for. */
    time_t shm_atime;         /**< When it was last attached. */
    time_t shm_dtime;         /**< When it was last detached. */
    time_t shm_ctime;         /**< When it was made, or last changed by `IPC_SET`. */
    pid_t shm_cpid;           /**< The process that made it. */
    pid_t shm_lpid;           /**< The process that was the last to attach or detach it. */
    shmatt_t shm_nattch;      /**< How many attachments there are; `ipcs` calls it nattch. */
};

/**
 * @brief Owner, creator and mode of a segment: the part of `struct shmid_ds` that `IPC_SET` writes.
 *
 * @see shmctl(2), sysvipc(7), sys_ipc.h(0p)
 */
struct ipc_perm {
    uid_t uid;           /**< The user who owns it. `IPC_SET` writes it. */
    gid_t gid;           /**< Its group. `IPC_SET` writes it. */
    uid_t cuid;          /**< The user who made it. */
    gid_t cgid;          /**< The group of its creator. */
    unsigned short mode; /**< The nine bits of permission; Linux adds 01000 for a segment that was removed. */
};

/**
 * @brief `shmget`: make the segment if no segment has the key.
 *
 * Alone it means "find it or make it", and nothing tells which of the two happened.
 *
 * @see shmget(2), sys_ipc.h(0p)
 */
#define IPC_CREAT

/**
 * @brief `shmget`, with `IPC_CREAT`: fail with `EEXIST` if a segment has the key.
 *
 * @see shmget(2), sys_ipc.h(0p)
 */
#define IPC_EXCL

/**
 * @brief The key 0: `shmget` makes a new segment each time, and no process can find it by a key.
 *
 * It can be shared all the same: children inherit the attachment, and a process that learns the shmid can attach
 * it.
 *
 * @see shmget(2), sys_ipc.h(0p)
 */
#define IPC_PRIVATE

/**
 * @brief `shmctl`: fill a `struct shmid_ds` with what the kernel knows.
 *
 * @see shmctl(2), sys_ipc.h(0p)
 */
#define IPC_STAT

/**
 * @brief `shmctl`: set user, group and mode from the `shm_perm` of a `struct shmid_ds`.
 *
 * @see shmctl(2), sys_ipc.h(0p)
 */
#define IPC_SET

/**
 * @brief `shmctl`: remove the segment, at once if no process has it attached, otherwise at the last detach.
 *
 * Until then `ipcs -m` shows it with the key 0 and the status `dest`.
 *
 * @see shmctl(2), sys_ipc.h(0p)
 */
#define IPC_RMID

/**
 * @brief `shmat`: attach read-only. The line in `/proc/PID/maps` has `r--s`, and a store is a SIGSEGV.
 *
 * @see shmat(2), sys_shm.h(0p)
 */
#define SHM_RDONLY

/** @} */

/**
 * @file
 * @brief API cards: errors.
 */
/**
 * @defgroup cards_errors Errors
 * @brief What is in errno when a call has failed, or the return value of calls that return the error number.
 * @{
 */

/**
 * @brief Why the last failed call failed. A call that succeeds may change it or not.
 *
 * Read it at once, and only after the return value has shown a failure; keep it in a variable before you clean up,
 * as the next call may change it. `posix_fallocate` and the pthread calls do not use it.
 *
 * @see errno(3), errno.h(0p)
 */
#define errno

/**
 * @brief Permission denied.
 *
 * The mode of what you have opened or attached does not allow what was asked for: to attach for writing what may be
 * read, say. For `mmap`: the descriptor was opened for less than the mapping asks for. Root gets it for such a
 * descriptor, and hardly otherwise. [How it fails](../failures.md#permissions) has the causes.
 *
 * @see errno(3), errno.h(0p)
 */
#define EACCES

/**
 * @brief Address already in use.
 *
 * `bind` found something under that name: a socket in use, or one that a killed process left.
 *
 * @see errno(3), errno.h(0p)
 */
#define EADDRINUSE

/**
 * @brief Resource temporarily unavailable: not now.
 *
 * `futex` found another value than you expected; `sem_trywait` found the count 0; `fork` found too many
 * processes.
 *
 * @see errno(3), errno.h(0p)
 */
#define EAGAIN

/**
 * @brief Bad file descriptor.
 *
 * The number is not open in this process, or not for what you want. A descriptor of another process is only
 * a number here.
 *
 * @see errno(3), errno.h(0p)
 */
#define EBADF

/**
 * @brief Device or resource busy.
 *
 * `pthread_mutex_trylock`: another thread holds it. `fcntl` with `F_SEAL_WRITE`: a mapping for writing exists.
 *
 * @see errno(3), errno.h(0p)
 */
#define EBUSY

/**
 * @brief No child processes.
 *
 * `waitpid` has no child to wait for: all children have been waited for, or the pid is not a child's. If SIGCHLD is
 * ignored, the kernel reaps each child itself.
 *
 * @see errno(3), errno.h(0p)
 */
#define ECHILD

/**
 * @brief Connection refused.
 *
 * `connect` found a socket on which no process listens: its creator has ended, but its name is left.
 *
 * @see errno(3), errno.h(0p)
 */
#define ECONNREFUSED

/**
 * @brief Resource deadlock avoided.
 *
 * The call would wait for its own process, or in a circle.
 *
 * @see errno(3), errno.h(0p)
 */
#define EDEADLK

/**
 * @brief File exists.
 *
 * You asked to create it (`IPC_EXCL`, `O_EXCL`, `link`), but it exists. Another process was faster, or an earlier
 * run was killed and left it: see `make clean-ipc`, and [How it fails](../failures.md#leaks).
 *
 * @see errno(3), errno.h(0p)
 */
#define EEXIST

/**
 * @brief Bad address.
 *
 * A call was given an address at which nothing is mapped, or which may not be used in this way: the
 * buffer of a `read` in memory that was unmapped, say. A load or a store by the program itself would be a SIGSEGV
 * there, or a SIGBUS.
 *
 * @see errno(3), errno.h(0p)
 */
#define EFAULT

/**
 * @brief File too large.
 *
 * `ftruncate` or `posix_fallocate` past a limit.
 *
 * @see errno(3), errno.h(0p)
 */
#define EFBIG

/**
 * @brief Identifier removed.
 *
 * The segment was removed while a call was at work on it. A later call with its shmid fails with `EINVAL`.
 *
 * @see errno(3), errno.h(0p)
 */
#define EIDRM

/**
 * @brief Interrupted system call.
 *
 * A signal handler has run while the call was waiting. Nothing is lost: call it again.
 *
 * @see errno(3), errno.h(0p)
 */
#define EINTR

/**
 * @brief Invalid argument.
 *
 * `mmap` with length 0 or an offset that is not a multiple of the page size; `shmget` with more bytes than the
 * segment has, or than `SHMMAX`; a shmid that no segment has; `fcntl` for seals of a file on a disk.
 *
 * @see errno(3), errno.h(0p)
 */
#define EINVAL

/**
 * @brief Input/output error.
 *
 * The disk could not be read or written. After `msync` it means that the bytes may be lost.
 *
 * @see errno(3), errno.h(0p)
 */
#define EIO

/**
 * @brief Too many open files.
 *
 * This process has reached its limit.
 *
 * @see errno(3), errno.h(0p)
 */
#define EMFILE

/**
 * @brief Message too long.
 *
 * In lab 18 the programs themselves use it for a message that is longer than the protocol allows.
 *
 * @see errno(3), errno.h(0p)
 */
#define EMSGSIZE

/**
 * @brief File name too long.
 *
 * For a shared memory object: more than 255 bytes.
 *
 * @see errno(3), errno.h(0p)
 */
#define ENAMETOOLONG

/**
 * @brief Too many open files in system.
 *
 * The whole system has reached its limit.
 *
 * @see errno(3), errno.h(0p)
 */
#define ENFILE

/**
 * @brief No such device.
 *
 * `mmap`: what the descriptor stands for cannot be mapped.
 *
 * @see errno(3), errno.h(0p)
 */
#define ENODEV

/**
 * @brief No such file or directory.
 *
 * No segment has the key, no object has the name, or `ftok` finds no such file. Perhaps the other program has not
 * created it yet.
 *
 * @see errno(3), errno.h(0p)
 */
#define ENOENT

/**
 * @brief Cannot allocate memory.
 *
 * `mmap`, `shmat`: no room in the address space. `msync`, `mprotect`: part of the range is not mapped.
 *
 * @see errno(3), errno.h(0p)
 */
#define ENOMEM

/**
 * @brief No space left on device.
 *
 * `posix_fallocate`: `/dev/shm` or the disk is full. `shmget`: there are `SHMMNI` segments, or all together
 * would have more than `SHMALL` pages, however much memory is free.
 *
 * @see errno(3), errno.h(0p)
 */
#define ENOSPC

/**
 * @brief Function not implemented.
 *
 * This kernel does not have the call. The unfinished programs of the labs use it for what you have not
 * written yet.
 *
 * @see errno(3), errno.h(0p)
 */
#define ENOSYS

/**
 * @brief State not recoverable.
 *
 * A robust mutex was unlocked after `EOWNERDEAD` without `pthread_mutex_consistent`. No thread can ever lock it
 * again.
 *
 * @see errno(3), errno.h(0p)
 */
#define ENOTRECOVERABLE

/**
 * @brief Value too large for defined data type.
 *
 * `sem_post`: the count is as large as it can be.
 *
 * @see errno(3), errno.h(0p)
 */
#define EOVERFLOW

/**
 * @brief Owner died.
 *
 * **You have the mutex.** Its last owner died with it locked: repair what it guards, call
 * `pthread_mutex_consistent`, and continue.
 *
 * @see errno(3), errno.h(0p)
 */
#define EOWNERDEAD

/**
 * @brief Operation not permitted.
 *
 * Only owner, creator and root may do that (`IPC_SET`, `IPC_RMID`, `kill`); or a seal forbids it.
 *
 * @see errno(3), errno.h(0p)
 */
#define EPERM

/**
 * @brief Broken pipe.
 *
 * No process has the other end of the socket or pipe open. SIGPIPE is sent as well, unless it is ignored.
 *
 * @see errno(3), errno.h(0p)
 */
#define EPIPE

/**
 * @brief Protocol error.
 *
 * In lab 18 the programs themselves use it for a peer that breaks the protocol.
 *
 * @see errno(3), errno.h(0p)
 */
#define EPROTO

/**
 * @brief Numerical result out of range.
 *
 * `strtoumax` and the like: the number does not fit.
 *
 * @see errno(3), errno.h(0p)
 */
#define ERANGE

/**
 * @brief No such process.
 *
 * `kill`: the process has ended and was waited for.
 *
 * @see errno(3), errno.h(0p)
 */
#define ESRCH

/**
 * @brief Connection timed out: the time is up.
 *
 * `sem_timedwait`, `pthread_cond_timedwait`, `futex`: no wake-up came in time. Check whether the other process
 * still exists, and wait again.
 *
 * @see errno(3), errno.h(0p)
 */
#define ETIMEDOUT

/** @} */

/**
 * @file
 * @brief The wrapped calls, except those that create or end a process (processes.c).
 *
 * A wrapper asks the rules whether the call must fail, makes the call if not, records it, stops the process if
 * a rule demands it, and leaves errno as the call alone would.
 */
#include "spy.h"

/**
 * Defines the wrapper of a call that sets errno when it fails.
 *
 * @param type        type of the return value
 * @param f           name of the call
 * @param failure     return value that means failure
 * @param parameters  parameters, in parentheses
 * @param arguments   names of the parameters, in parentheses
 * @param text        a string parameter to record, or NULL
 * @param ...         up to five numbers to record
 */
#define WRAP(type, f, failure, parameters, arguments, text, ...)                                             \
    WRAP_IF(true, type, f, failure, parameters, arguments, text, __VA_ARGS__)

/** The same for a call that is recorded only if a condition holds, because there may be thousands of them. */
#define WRAP_IF(condition, type, f, failure, parameters, arguments, text, ...)                               \
    type WRAPPER(f) parameters                                                                               \
    {                                                                                                        \
        DECLARE_REAL(type, f, parameters)                                                                    \
        MAKE_CALL(condition, type, f, failure, arguments, text, __VA_ARGS__)                                 \
    }

/** What follows DECLARE_REAL() in such a wrapper. */
#define MAKE_CALL(condition, type, f, failure, arguments, text, ...)                                         \
    const int saved_errno = errno;                                                                           \
    const int injected = count_call(CALL_##f, CALLER);                                                       \
    type result = (type)failure;                                                                             \
    if (injected)                                                                                            \
        errno = injected;                                                                                    \
    else                                                                                                     \
        result = real arguments;                                                                             \
    const int call_errno = errno;                                                                            \
    const bool failed = result == (type)failure;                                                             \
    if (condition)                                                                                           \
        RECORD(f, injected, failed, INT(result), failed ? call_errno : 0, text, __VA_ARGS__, 0, 0, 0, 0, 0)  \
    stop_after(CALL_##f, CALLER);                                                                            \
    errno = failed ? call_errno : saved_errno;                                                               \
    return result;

/** The same for a call that returns 0 or an error number, and does not set errno. */
#define WRAP_RETURNS_ERROR(f, parameters, arguments, ...)                                                    \
    WRAP_RETURNS_ERROR_IF(true, f, parameters, arguments, __VA_ARGS__)

#define WRAP_RETURNS_ERROR_IF(condition, f, parameters, arguments, ...)                                      \
    int WRAPPER(f) parameters                                                                                \
    {                                                                                                        \
        DECLARE_REAL(int, f, parameters)                                                                     \
        const int saved_errno = errno;                                                                       \
        const int injected = count_call(CALL_##f, CALLER);                                                   \
        const int result = injected ? injected : real arguments;                                             \
        if (condition)                                                                                       \
            RECORD(f, injected, result != 0, INT(result), result, NULL, __VA_ARGS__, 0, 0, 0, 0, 0)          \
        stop_after(CALL_##f, CALLER);                                                                        \
        errno = saved_errno;                                                                                 \
        return result;                                                                                       \
    }

/** A call about a lock, its first parameter; WRAP_SEM() is about a semaphore, which is called `sem`. */
#define WRAP_LOCK(f, parameters, arguments, lock, ...)                                                       \
    WRAP_RETURNS_ERROR_IF(is_worth_a_record(CALL_##f, lock), f, parameters, arguments, PTR(lock), __VA_ARGS__)
#define WRAP_SEM(f, parameters, arguments, ...)                                                              \
    WRAP_IF(is_worth_a_record(CALL_##f, sem), int, f, -1, parameters, arguments, NULL, PTR(sem), __VA_ARGS__)

#define RECORD(f, injected, failed, result, error, text, a, b, c, d, e, ...)                                 \
    record(CALL_##f, CALLER, (injected ? INJECTED : 0) | (failed ? FAILED : 0), result, error, text, INT(a), \
           INT(b), INT(c), INT(d), INT(e));

#define FAILED_ADDRESS ((intptr_t)-1)

WRAP(key_t, ftok, -1, (const char *path, int id), (path, id), path, id)
WRAP(int, shmget, -1, (key_t key, size_t size, int flags), (key, size, flags), NULL, key, size, flags)
WRAP(void *, shmat, FAILED_ADDRESS, (int id, const void *at, int flags), (id, at, flags), NULL,
     note_attached(result, id), PTR(at), flags)
WRAP(int, shmdt, -1, (const void *at), (at), NULL, PTR(failed ? at : forget_attached(at)))

/** Whether IPC_SET has read its data, so that it can be recorded. A negative id is EINVAL before the data is read. */
static bool has_read_data(int id, int command, bool injected, int result)
{
    return command == IPC_SET && !injected && (result == 0 || (id >= 0 && errno != EFAULT));
}

/** Whether IPC_STAT has stored its data. */
static bool has_stored_data(int command, int result)
{
    return command == IPC_STAT && result == 0;
}

/*
 * Of IPC_SET the owner and group, then the mode; of IPC_STAT the size, then mode and the number of attachments. A bit
 * above the mode tells that they are known.
 */
#define DATA_KNOWN     (INT(1) << 30)
#define SET_IDS(data)  (INT((data)->shm_perm.gid) << 32 | (data)->shm_perm.uid)
#define SET_MODE(data) (DATA_KNOWN | (data)->shm_perm.mode)
#define STORED(data)   (INT((data)->shm_nattch) << 32 | SET_MODE(data))
WRAP(int, shmctl, -1, (int id, int command, struct shmid_ds *data), (id, command, data), NULL, id, command,
     PTR(data),
     has_read_data(id, command, injected, result) ? SET_IDS(data)
     : has_stored_data(command, result)           ? INT((data)->shm_segsz)
                                                  : 0,
     has_read_data(id, command, injected, result) ? SET_MODE(data)
     : has_stored_data(command, result)           ? STORED(data)
                                                  : 0)
WRAP(int, shm_open, -1, (const char *name, int flags, mode_t mode), (name, flags, mode), name, flags, mode)
WRAP(int, shm_unlink, -1, (const char *name), (name), name, 0)
WRAP(int, memfd_create, -1, (const char *name, unsigned flags), (name, flags), name, flags)
WRAP(int, ftruncate, -1, (int fd, off_t size), (fd, size), NULL, fd, size)
WRAP(void *, mmap, FAILED_ADDRESS, (void *at, size_t size, int prot, int flags, int fd, off_t offset),
     (at, size, prot, flags, fd, offset), NULL,
     protect_until_store(result, (flags & MAP_TYPE) == MAP_PRIVATE ? size : note_shared(result, size), prot,
                         flags),
     prot, flags, fd, offset)
WRAP(int, fallocate, -1, (int fd, int mode, off_t offset, off_t size), (fd, mode, offset, size), NULL, fd,
     mode, offset, size)
WRAP(int, munmap, -1, (void *at, size_t size), (at, size), NULL, PTR(at),
     failed ? size : forget_shared(at, size))
WRAP(int, mprotect, -1, (void *at, size_t size, int prot), (at, size, prot), NULL, PTR(at), size, prot)
WRAP(int, msync, -1, (void *at, size_t size, int flags), (at, size, flags), NULL, PTR(at), size, flags)
WRAP(int, sem_close, -1, (sem_t * sem), (sem), NULL, PTR(sem))
WRAP(int, sem_unlink, -1, (const char *name), (name), name, 0)
WRAP_SEM(sem_init, (sem_t * sem, int shared, unsigned value), (sem, shared, value), shared, value)
WRAP_SEM(sem_destroy, (sem_t * sem), (sem), 0)
WRAP_SEM(sem_wait, (sem_t * sem), (sem), 0)
WRAP_SEM(sem_trywait, (sem_t * sem), (sem), 0)
WRAP_SEM(sem_timedwait, (sem_t *restrict sem, const struct timespec *restrict until), (sem, until),
         PTR(until))
WRAP_SEM(sem_post, (sem_t * sem), (sem), 0)
WRAP_SEM(sem_getvalue, (sem_t *restrict sem, int *restrict value), (sem, value), PTR(value))
WRAP(int, semget, -1, (key_t key, int count, int flags), (key, count, flags), NULL, key, count, flags)
WRAP(int, semop, -1, (int id, struct sembuf *operations, size_t count), (id, operations, count), NULL, id,
     PTR(operations), count)

/** Whether a close() is recorded. Daemons close every number there can be: of those that are not open, some are enough. */
static bool may_be_recorded(bool failed, int error)
{
    enum { MOST = 64 };
    static _Atomic unsigned bad;
    return !failed || error != EBADF || atomic_fetch_add_explicit(&bad, 1, memory_order_relaxed) < MOST;
}
WRAP_IF(injected || may_be_recorded(failed, call_errno), int, close, -1, (int fd), (fd), NULL, fd)
WRAP(int, fstat, -1, (int fd, struct stat *data), (fd, data), NULL, fd, PTR(data))
WRAP(int, kill, -1, (pid_t pid, int number), (pid, number), NULL, pid, number)
WRAP(int, sigaction, -1,
     (int number, const struct sigaction *restrict action, struct sigaction *restrict before),
     (number, action, before), NULL, number, PTR(action), PTR(before))
WRAP(int, nanosleep, -1, (const struct timespec *time, struct timespec *left), (time, left), NULL, PTR(time),
     PTR(left))
WRAP(int, usleep, -1, (useconds_t time), (time), NULL, time)
WRAP(unsigned, sleep, -1, (unsigned seconds), (seconds), NULL, seconds)
WRAP(int, flock, -1, (int fd, int operation), (fd, operation), NULL, fd, operation)
WRAP(int, fchmod, -1, (int fd, mode_t mode), (fd, mode), NULL, fd, mode)
WRAP(int, chmod, -1, (const char *path, mode_t mode), (path, mode), path, mode)
WRAP(mode_t, umask, -1, (mode_t mask), (mask), NULL, mask)
WRAP(int, link, -1, (const char *from, const char *to), (from, to), to, 0)
WRAP(int, linkat, -1, (int fd, const char *from, int tofd, const char *to, int flags),
     (fd, from, tofd, to, flags), to, 0)
WRAP(int, rename, -1, (const char *from, const char *to), (from, to), to, 0)
WRAP(int, unlink, -1, (const char *path), (path), path, 0)
WRAP(int, socket, -1, (int family, int type, int protocol), (family, type, protocol), NULL, family, type,
     protocol)
WRAP(int, bind, -1, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), NULL, fd,
     PTR(address), size)
WRAP(int, listen, -1, (int fd, int queue), (fd, queue), NULL, fd, queue)
WRAP(int, accept, -1, (int fd, struct sockaddr *restrict address, socklen_t *restrict size),
     (fd, address, size), NULL, fd, PTR(address), PTR(size))
WRAP(int, connect, -1, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), NULL,
     fd, PTR(address), size)

/** The bytes of a message, of which `result` were sent or received; NULL if they lie in several places. */
static const char *bytes_of(const struct msghdr *message, ssize_t result)
{
    return result > 0 && message->msg_iovlen == 1 && (size_t)result <= message->msg_iov->iov_len
               ? message->msg_iov->iov_base
               : NULL;
}
WRAP(ssize_t, sendmsg, -1, (int fd, const struct msghdr *message, int flags), (fd, message, flags),
     bytes_of(message, result), fd, PTR(message), flags)
WRAP(ssize_t, recvmsg, -1, (int fd, struct msghdr *message, int flags), (fd, message, flags),
     bytes_of(message, result), fd, PTR(message), flags)
WRAP(ssize_t, send, -1, (int fd, const void *bytes, size_t size, int flags), (fd, bytes, size, flags),
     failed ? NULL : bytes, fd, PTR(bytes), size, flags)
/* With MSG_TRUNC the result may be larger than the size. */
WRAP(ssize_t, recv, -1, (int fd, void *bytes, size_t size, int flags), (fd, bytes, size, flags),
     failed || (size_t)result > size ? NULL : bytes, fd, PTR(bytes), size, flags)
/* The status that was stored, with a bit above it that tells that it is known. */
#define STATUS(result, status) ((result) > 0 && (status) ? 1 << 30 | *(status) : 0)
WRAP(pid_t, wait, -1, (int *status), (status), NULL, PTR(status), STATUS(result, status))
WRAP(pid_t, waitpid, -1, (pid_t pid, int *status, int flags), (pid, status, flags), NULL, pid, PTR(status),
     flags, STATUS(result, status))
WRAP(int, waitid, -1, (idtype_t type, id_t id, siginfo_t *info, int flags), (type, id, info, flags), NULL,
     type, id, PTR(info), flags)

WRAP_RETURNS_ERROR(posix_fallocate, (int fd, off_t offset, off_t size), (fd, offset, size), fd, offset, size)
WRAP_RETURNS_ERROR(pthread_mutexattr_init, (pthread_mutexattr_t * attr), (attr), PTR(attr))
WRAP_RETURNS_ERROR(pthread_mutexattr_setpshared, (pthread_mutexattr_t * attr, int shared), (attr, shared),
                   PTR(attr), shared)
WRAP_RETURNS_ERROR(pthread_mutexattr_setrobust, (pthread_mutexattr_t * attr, int robust), (attr, robust),
                   PTR(attr), robust)
WRAP_LOCK(pthread_mutex_init, (pthread_mutex_t * mutex, const pthread_mutexattr_t *attr), (mutex, attr),
          mutex, PTR(attr))
WRAP_LOCK(pthread_mutex_lock, (pthread_mutex_t * mutex), (mutex), mutex, 0)
WRAP_LOCK(pthread_mutex_trylock, (pthread_mutex_t * mutex), (mutex), mutex, 0)
WRAP_LOCK(pthread_mutex_timedlock, (pthread_mutex_t *restrict mutex, const struct timespec *restrict until),
          (mutex, until), mutex, PTR(until))
WRAP_LOCK(pthread_mutex_unlock, (pthread_mutex_t * mutex), (mutex), mutex, 0)
WRAP_LOCK(pthread_mutex_consistent, (pthread_mutex_t * mutex), (mutex), mutex, 0)
WRAP_LOCK(pthread_mutex_destroy, (pthread_mutex_t * mutex), (mutex), mutex, 0)
WRAP_RETURNS_ERROR(pthread_condattr_init, (pthread_condattr_t * attr), (attr), PTR(attr))
WRAP_RETURNS_ERROR(pthread_condattr_setpshared, (pthread_condattr_t * attr, int shared), (attr, shared),
                   PTR(attr), shared)
WRAP_RETURNS_ERROR(pthread_condattr_setclock, (pthread_condattr_t * attr, clockid_t clock), (attr, clock),
                   PTR(attr), clock)
WRAP_LOCK(pthread_cond_init, (pthread_cond_t *restrict cond, const pthread_condattr_t *restrict attr),
          (cond, attr), cond, PTR(attr))
WRAP_LOCK(pthread_cond_wait, (pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex), (cond, mutex),
          cond, PTR(mutex))
WRAP_LOCK(pthread_cond_timedwait,
          (pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
           const struct timespec *restrict until),
          (cond, mutex, until), cond, PTR(mutex), PTR(until))
WRAP_LOCK(pthread_cond_signal, (pthread_cond_t * cond), (cond), cond, 0)
WRAP_LOCK(pthread_cond_broadcast, (pthread_cond_t * cond), (cond), cond, 0)
WRAP_LOCK(pthread_cond_destroy, (pthread_cond_t * cond), (cond), cond, 0)
WRAP_LOCK(pthread_rwlock_init, (pthread_rwlock_t *restrict lock, const pthread_rwlockattr_t *restrict attr),
          (lock, attr), lock, PTR(attr))
WRAP_LOCK(pthread_rwlock_rdlock, (pthread_rwlock_t * lock), (lock), lock, 0)
WRAP_LOCK(pthread_rwlock_tryrdlock, (pthread_rwlock_t * lock), (lock), lock, 0)
WRAP_LOCK(pthread_rwlock_wrlock, (pthread_rwlock_t * lock), (lock), lock, 0)
WRAP_LOCK(pthread_rwlock_trywrlock, (pthread_rwlock_t * lock), (lock), lock, 0)
WRAP_LOCK(pthread_rwlock_unlock, (pthread_rwlock_t * lock), (lock), lock, 0)
WRAP_LOCK(pthread_rwlock_destroy, (pthread_rwlock_t * lock), (lock), lock, 0)
WRAP_LOCK(pthread_barrier_init,
          (pthread_barrier_t *restrict barrier, const pthread_barrierattr_t *restrict attr, unsigned count),
          (barrier, attr, count), barrier, PTR(attr), count)
WRAP_LOCK(pthread_barrier_destroy, (pthread_barrier_t * barrier), (barrier), barrier, 0)
WRAP_RETURNS_ERROR(clock_nanosleep,
                   (clockid_t clock, int flags, const struct timespec *time, struct timespec *left),
                   (clock, flags, time, left), clock, flags, PTR(time), PTR(left))
WRAP_RETURNS_ERROR(pthread_create,
                   (pthread_t *restrict thread, const pthread_attr_t *restrict attr, void *(*run)(void *),
                    void *restrict closure),
                   (thread, attr, run, closure), PTR(thread), PTR(attr), 0, PTR(closure))

/* Where the C library lacks a call, a program that uses it must not be linked, so there is no wrapper either. */
#ifdef __GLIBC__
WRAP_SEM(sem_clockwait, (sem_t *restrict sem, clockid_t clock, const struct timespec *restrict until),
         (sem, clock, until), clock, PTR(until))
WRAP_LOCK(pthread_mutex_clocklock,
          (pthread_mutex_t *restrict mutex, clockid_t clock, const struct timespec *restrict until),
          (mutex, clock, until), mutex, clock, PTR(until))
WRAP_LOCK(pthread_cond_clockwait,
          (pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, clockid_t clock,
           const struct timespec *restrict until),
          (cond, mutex, clock, until), cond, PTR(mutex), clock, PTR(until))
#if __GLIBC_PREREQ(2, 36)
WRAP(int, pidfd_open, -1, (pid_t pid, unsigned flags), (pid, flags), NULL, pid, flags)
WRAP(int, pidfd_send_signal, -1, (int fd, int number, siginfo_t *info, unsigned flags),
     (fd, number, info, flags), NULL, fd, number, PTR(info), flags)
WRAP(int, pidfd_getfd, -1, (int fd, int other, unsigned flags), (fd, other, flags), NULL, fd, other, flags)
#endif
#endif

/* Programs that are compiled with _FILE_OFFSET_BITS=64 use these names. On 64-bit systems the calls are the same. */
void *WRAPPER(mmap64)(void *at, size_t size, int prot, int flags, int fd, off_t offset)
    ALIAS_OF(mmap, mmap64);
int WRAPPER(ftruncate64)(int fd, off_t size) ALIAS_OF(ftruncate, ftruncate64);
int WRAPPER(posix_fallocate64)(int fd, off_t offset, off_t size) ALIAS_OF(posix_fallocate, posix_fallocate64);
int WRAPPER(fallocate64)(int fd, int mode, off_t offset, off_t size) ALIAS_OF(fallocate, fallocate64);

/** Of those that meet, one gets PTHREAD_BARRIER_SERIAL_THREAD, which is below 0 and no error. */
int WRAPPER(pthread_barrier_wait)(pthread_barrier_t *barrier)
{
    DECLARE_REAL(int, pthread_barrier_wait, (pthread_barrier_t *))
    const int saved_errno = errno;
    const int injected = count_call(CALL_pthread_barrier_wait, CALLER);
    const int result = injected ? injected : real(barrier);
    const bool failed = result > 0;
    if (is_worth_a_record(CALL_pthread_barrier_wait, barrier))
        RECORD(pthread_barrier_wait, injected, failed, result, failed ? result : 0, NULL, PTR(barrier), 0, 0,
               0, 0, 0)
    stop_after(CALL_pthread_barrier_wait, CALLER);
    errno = saved_errno;
    return result;
}

/* Calls with optional arguments. */

sem_t *WRAPPER(sem_open)(const char *name, int flags, ...)
{
    DECLARE_REAL(sem_t *, sem_open, (const char *, int, ...))
    mode_t mode = 0;
    unsigned value = 0;
    if (flags & O_CREAT) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        value = va_arg(args, unsigned);
        va_end(args);
    }
    const int injected = count_call(CALL_sem_open, CALLER);
    sem_t *result = SEM_FAILED;
    if (injected)
        errno = injected;
    else
        result = real(name, flags, mode, value);
    const int call_errno = errno;
    const bool failed = result == SEM_FAILED;
    note_shared(result, sizeof *result);
    record(CALL_sem_open, CALLER, (injected ? INJECTED : 0) | (failed ? FAILED : 0), PTR(result),
           failed ? call_errno : 0, name, flags, mode, value, 0, 0);
    stop_after(CALL_sem_open, CALLER);
    errno = call_errno;
    return result;
}

int WRAPPER(open)(const char *path, int flags, ...)
{
    DECLARE_REAL(int, open, (const char *, int, ...))
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    MAKE_CALL(true, int, open, -1, (path, flags, mode), path, flags, mode)
}
int WRAPPER(open64)(const char *path, int flags, ...) ALIAS_OF(open, open64);

int WRAPPER(openat)(int directory, const char *path, int flags, ...)
{
    DECLARE_REAL(int, openat, (int, const char *, int, ...))
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    MAKE_CALL(true, int, openat, -1, (directory, path, flags, mode), path, directory, flags, mode)
}
int WRAPPER(openat64)(int directory, const char *path, int flags, ...) ALIAS_OF(openat, openat64);

void *WRAPPER(mremap)(void *at, size_t size, size_t new_size, int flags, ...)
{
    DECLARE_REAL(void *, mremap, (void *, size_t, size_t, int, ...))
    va_list args;
    va_start(args, flags);
    void *to = va_arg(args, void *); /* if there is none, the kernel ignores it */
    va_end(args);
    MAKE_CALL(true, void *, mremap, FAILED_ADDRESS, (at, size, new_size, flags, to), NULL, PTR(at), size,
              note_moved(at, size, result, new_size), flags)
}

int WRAPPER(semctl)(int id, int number, int command, ...)
{
    DECLARE_REAL(int, semctl, (int, int, int, ...))
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *); /* a union of an int and pointers, passed as a pointer is */
    va_end(args);
    MAKE_CALL(true, int, semctl, -1, (id, number, command, argument), NULL, id, number, command,
              PTR(argument))
}

WRAP_IF(injected || stops_at_every_call(), ssize_t, read, -1, (int fd, void *bytes, size_t size),
        (fd, bytes, size), failed ? NULL : bytes, fd, PTR(bytes), INT(size))

ssize_t WRAPPER(write)(int fd, const void *bytes, size_t size)
{
    DECLARE_REAL(ssize_t, write, (int, const void *, size_t))
    const int saved_errno = errno;
    const int injected = count_call(CALL_write, CALLER);
    const bool cut = injected < 0 && size > (size_t)-injected;
    ssize_t result = -1;
    if (injected > 0)
        errno = injected;
    else
        result = real(fd, bytes, cut ? (size_t)-injected : size);
    const int call_errno = errno;
    if (injected > 0 || cut || stops_at_every_call())
        record(CALL_write, CALLER, (injected > 0 || cut ? INJECTED : 0) | (result < 0 ? FAILED : 0), result,
               result < 0 ? call_errno : 0, result < 0 ? NULL : bytes, fd, PTR(bytes), INT(size), 0, 0);
    stop_after(CALL_write, CALLER);
    errno = result < 0 ? call_errno : saved_errno;
    return result;
}

#ifndef SPY_PRELOAD /* a preloaded library cannot tell the program's syscall() from its own */
long __wrap_syscall(long number, ...)
{
    va_list args;
    long a[6];
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long); /* if there are fewer, the kernel ignores the rest */
    va_end(args);
    const int injected = count_call(CALL_syscall, CALLER);
    long result = -1;
    if (injected)
        errno = injected;
    else
        result = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    const int call_errno = errno;
    /* As with write(): there may be thousands, so they are recorded only if a rule is about them. */
    if (has_rule(CALL_syscall))
        record(CALL_syscall, CALLER, (injected ? INJECTED : 0) | (result < 0 ? FAILED : 0), result,
               result < 0 ? call_errno : 0, NULL, number, a[0], a[1], (int32_t)a[2], 0);
    stop_after(CALL_syscall, CALLER);
    errno = call_errno;
    return result;
}
#endif

int WRAPPER(fcntl)(int fd, int command, ...)
{
    DECLARE_REAL(int, fcntl, (int, int, ...))
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *); /* an int argument is passed in the same register */
    va_end(args);
    MAKE_CALL(true, int, fcntl, -1, (fd, command, argument), NULL, fd, command, PTR(argument))
}
int WRAPPER(fcntl64)(int fd, int command, ...) ALIAS_OF(fcntl, fcntl64);

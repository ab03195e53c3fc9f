/**
 * @file
 * @brief API cards: semaphores.
 */
/**
 * @defgroup cards_semaphores Semaphores
 * @brief Counters on which a process sleeps while they are 0.
 * @{
 */

/**
 * @brief A semaphore. In shared memory it serves every process that maps it, if `sem_init` was told so.
 *
 * It must not be copied or moved.
 *
 * @see sem_overview(7), semaphore.h(0p)
 */
typedef union sem sem_t;

/**
 * @brief Sets a semaphore up where it lies.
 *
 * @param semaphore  where it lies, in shared memory
 * @param shared     not 0: for all processes that map it; 0: for the threads of this process only
 * @param value      the count to begin with
 * @return           0; -1 on failure
 *
 * @par Errors
 * - `EINVAL`: the value is too large.
 *
 * @par Pitfalls
 * - With `shared` 0 everything works until a process has to wait: in glibc and musl, no other process can then wake
 *   it.
 * - A second `sem_init` while others use it is undefined. One process must do it, before others can see the object.
 *
 * @see sem_init(3), sem_init(3p)
 */
int sem_init(sem_t *semaphore, int shared, unsigned int value);

/**
 * @brief Ends the use of a semaphore that `sem_init` has set up. No process may be waiting on it.
 *
 * @param semaphore  the semaphore
 * @return           0; -1 on failure
 *
 * @par Errors
 * - `EINVAL`: it is none.
 *
 * @par Pitfalls
 * - One process must do it, once, when no other uses the semaphore. If a process sleeps on it, the behaviour is
 *   undefined.
 * - In glibc and musl, it is enough to unmap or unlink the memory. Other systems may keep resources.
 *
 * @see sem_destroy(3), sem_destroy(3p)
 */
int sem_destroy(sem_t *semaphore);

/**
 * @brief Opens a semaphore that has a name, or makes it. On Linux it is the file `sem.NAME` in `/dev/shm`.
 *
 * @param name   a slash, and after it no other slash
 * @param flags  0, `O_CREAT`, `O_EXCL`
 * @param mode   with `O_CREAT`: permissions, less the umask
 * @param value  with `O_CREAT`: the count of a new one
 * @return       the semaphore; `SEM_FAILED` on failure
 *
 * @par Errors
 * - `ENOENT`: there is none, and `O_CREAT` was not given.
 * - `EEXIST`: there is one, and `O_CREAT` and `O_EXCL` were given.
 * - `EACCES`: its mode does not allow it.
 * - `EINVAL`: the value is too large, or the name is no such name.
 *
 * @par Pitfalls
 * - The value applies only to a new semaphore. One that is left over keeps its old count.
 *
 * @see sem_open(3), sem_open(3p)
 */
sem_t *sem_open(const char *name, int flags, mode_t mode, unsigned int value);

/**
 * @brief Closes a semaphore that `sem_open` has opened. Its count and its name stay.
 *
 * @param semaphore  what `sem_open` returned
 * @return           0; -1 on failure
 *
 * @par Errors
 * - `EINVAL`: it is none.
 *
 * @par Pitfalls
 * - It does not remove the name: without `sem_unlink` the semaphore stays, in `/dev/shm/sem.NAME` on Linux.
 * - For a semaphore that `sem_init` has set up it is the wrong call: `sem_destroy`.
 *
 * @see sem_close(3), sem_close(3p)
 */
int sem_close(sem_t *semaphore);

/**
 * @brief Removes the name of a semaphore. The semaphore exists until all processes have closed it.
 *
 * @param name  the name
 * @return      0; -1 on failure
 *
 * @par Errors
 * - `ENOENT`: no semaphore has the name.
 * - `EACCES`: it belongs to another user.
 *
 * @par Pitfalls
 * - A process that then opens the name creates another semaphore, and waits there for processes that have the old
 *   one.
 *
 * @see sem_unlink(3), sem_unlink(3p)
 */
int sem_unlink(const char *name);

/**
 * @brief Subtracts 1 from the count; sleeps while it is 0.
 *
 * @param semaphore  the semaphore
 * @return           0; -1 on failure, and then the count is unchanged
 *
 * @par Errors
 * - `EINTR`: a signal handler has run. Call it again.
 * - `EINVAL`: it is no semaphore.
 *
 * @par Pitfalls
 * - A semaphore has no owner. If the process that should post was killed, the others wait for ever; with
 *   `sem_timedwait` you can check from time to time.
 *
 * @see sem_wait(3), sem_wait(3p)
 */
int sem_wait(sem_t *semaphore);

/**
 * @brief Subtracts 1 from the count if it is not 0, and never sleeps.
 *
 * @param semaphore  the semaphore
 * @return           0; -1 on failure
 *
 * @par Errors
 * - `EAGAIN`: the count is 0.
 *
 * @par Pitfalls
 * - In a loop it is busy waiting: it uses up a processor, perhaps the one that the other process needs.
 *
 * @see sem_wait(3), sem_trywait(3p)
 */
int sem_trywait(sem_t *semaphore);

/**
 * @brief As `sem_wait`, until a point in time.
 *
 * @param semaphore  the semaphore
 * @param deadline   a time of `CLOCK_REALTIME`, not a number of seconds from now
 * @return           0; -1 on failure
 *
 * @par Errors
 * - `ETIMEDOUT`: the time has come, and the count was 0 all along.
 * - `EINTR`: a signal handler has run.
 * - `EINVAL`: `tv_nsec` is not between 0 and 999999999.
 *
 * @par Pitfalls
 * - The deadline is a time and not a duration: take the time of `CLOCK_REALTIME`, and add to it.
 * - `tv_nsec` has to stay below 1000000000: carry over into `tv_sec`.
 * - `CLOCK_REALTIME` can be set, and then the wait ends too early or too late: `sem_clockwait`.
 *
 * @see sem_timedwait(3), sem_timedwait(3p)
 */
int sem_timedwait(sem_t *semaphore, const struct timespec *deadline);

/**
 * @brief As `sem_timedwait`, by a clock of your choice. In POSIX since 2024; glibc has it since 2.30, musl 1.2.3 has
 * not.
 *
 * @param semaphore  the semaphore
 * @param clock      `CLOCK_MONOTONIC`, which cannot be set, or `CLOCK_REALTIME`
 * @param deadline   a time of that clock, not a number of seconds from now
 * @return           0; -1 on failure
 *
 * @par Errors
 * - `ETIMEDOUT`: the time has come, and the count was 0 all along.
 * - `EINTR`: a signal handler has run.
 * - `EINVAL`: `tv_nsec` is not between 0 and 999999999, or there is no such clock.
 *
 * @par Pitfalls
 * - A time of `CLOCK_REALTIME` taken for one of `CLOCK_MONOTONIC` is decades away: take both from one clock.
 *
 * @see sem_timedwait(3), sem_clockwait(3p)
 */
int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *deadline);

/**
 * @brief Adds 1 to the count, and wakes a process that sleeps.
 *
 * What was stored before it is visible to the process that it lets return from `sem_wait`. A signal handler may
 * call it.
 *
 * @param semaphore  the semaphore
 * @return           0; -1 on failure
 *
 * @par Errors
 * - `EOVERFLOW`: the count would be too large.
 * - `EINVAL`: it is no semaphore.
 *
 * @par Pitfalls
 * - Set up with 0 for the second argument of `sem_init`, it wakes no other process.
 * - Any process may post. With one post too many, two processes get in.
 *
 * @see sem_post(3), sem_post(3p)
 */
int sem_post(sem_t *semaphore);

/**
 * @brief Returns the count, which may have changed since.
 *
 * @param semaphore  the semaphore
 * @param value      where the count goes
 * @return           0; -1 on failure
 *
 * @par Errors
 * - `EINVAL`: it is no semaphore.
 *
 * @par Pitfalls
 * - Use it for messages, not for decisions.
 *
 * @see sem_getvalue(3), sem_getvalue(3p)
 */
int sem_getvalue(sem_t *semaphore, int *value);

/**
 * @brief What `sem_open` returns if it fails. In glibc it is a null pointer; do not count on it.
 *
 * @see sem_open(3), semaphore.h(0p)
 */
#define SEM_FAILED

/**
 * @brief Returns the time of a clock.
 *
 * @param clock  `CLOCK_REALTIME`, `CLOCK_MONOTONIC`, …
 * @param now    where the time goes
 * @return       0; -1 on failure
 *
 * @par Errors
 * - `EINVAL`: there is no such clock.
 *
 * @par Pitfalls
 * - `CLOCK_REALTIME` jumps when the clock is set. To measure how long something took, use `CLOCK_MONOTONIC`.
 *
 * @see clock_gettime(2), clock_gettime(3p)
 */
int clock_gettime(clockid_t clock, struct timespec *now);

/**
 * @brief The clock on the wall, in seconds since 1970. It can be set; `sem_timedwait` uses it.
 *
 * @see clock_gettime(2), time.h(0p)
 */
#define CLOCK_REALTIME

/** @} */

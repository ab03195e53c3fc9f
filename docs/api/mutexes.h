/**
 * @file
 * @brief API cards: mutexes and condition variables.
 */
/**
 * @defgroup cards_mutexes Mutexes and condition variables
 * @brief Exclusion, and waiting for a condition. In shared memory both need attributes, and a robust mutex survives
 * its owner.
 *
 * All of these calls return the error number, never -1, and do not set `errno`.
 * @{
 */

/**
 * @brief A mutex. In shared memory it serves every process that maps it, if its attributes say so.
 *
 * @see pthread_mutex_init(3p), pthread.h(0p)
 */
typedef union mutex pthread_mutex_t;

/**
 * @brief A condition variable. In shared memory it serves every process that maps it, if its attributes say
 * so.
 *
 * @see pthread_cond_init(3p), pthread.h(0p)
 */
typedef union condition pthread_cond_t;

/**
 * @brief Sets up attributes of a mutex: private to this process, not robust.
 *
 * @param attributes  where they lie; on the stack will do
 * @return            0; else the error number
 *
 * @par Errors
 * - `ENOMEM`: no memory.
 *
 * @par Pitfalls
 * - What it sets up is not for other processes: `pthread_mutexattr_setpshared` comes next.
 *
 * @see pthread_mutexattr_init(3), pthread_mutexattr_init(3p)
 */
int pthread_mutexattr_init(pthread_mutexattr_t *attributes);

/**
 * @brief Ends the use of attributes. The mutexes that were made with them keep what they got.
 *
 * @param attributes  the attributes
 * @return            0; else the error number
 *
 * @par Errors
 * - `EINVAL`: these are not valid attributes.
 *
 * @par Pitfalls
 * - To change attributes afterwards changes no mutex that was made with them.
 *
 * @see pthread_mutexattr_init(3), pthread_mutexattr_destroy(3p)
 */
int pthread_mutexattr_destroy(pthread_mutexattr_t *attributes);

/**
 * @brief Says whether a mutex is for all processes that map it.
 *
 * @param attributes  the attributes
 * @param shared      `PTHREAD_PROCESS_SHARED` or `PTHREAD_PROCESS_PRIVATE`
 * @return            0; else the error number
 *
 * @par Errors
 * - `EINVAL`: the value is neither.
 * - `ENOTSUP`: the system does not have such mutexes.
 *
 * @par Pitfalls
 * - Without this call, everything works until two processes contend for the mutex: then one of them is never woken.
 *
 * @see pthread_mutexattr_setpshared(3), pthread_mutexattr_setpshared(3p)
 */
int pthread_mutexattr_setpshared(pthread_mutexattr_t *attributes, int shared);

/**
 * @brief Says what happens to a mutex whose owner dies.
 *
 * @param attributes  the attributes
 * @param robustness  `PTHREAD_MUTEX_ROBUST` or `PTHREAD_MUTEX_STALLED`
 * @return            0; else the error number
 *
 * @par Errors
 * - `EINVAL`: the value is neither.
 *
 * @par Pitfalls
 * - It does not make the mutex process-shared: request that separately.
 * - If you use it, handle `EOWNERDEAD` at every lock, and at every wait on a condition variable.
 *
 * @see pthread_mutexattr_setrobust(3), pthread_mutexattr_setrobust(3p)
 */
int pthread_mutexattr_setrobust(pthread_mutexattr_t *attributes, int robustness);

/**
 * @brief Sets a mutex up where it lies, unlocked.
 *
 * @param mutex       where it lies
 * @param attributes  NULL means: for the threads of this process, not robust
 * @return            0; else the error number
 *
 * @par Errors
 * - `EINVAL`: the attributes make no sense.
 * - `ENOMEM`, `EAGAIN`: the system lacks something that it needs.
 *
 * @par Pitfalls
 * - One process must do it, once, before others can see the object.
 *
 * @see pthread_mutex_init(3p)
 */
int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);

/**
 * @brief Ends the use of a mutex that no thread holds or waits for.
 *
 * @param mutex  the mutex
 * @return       0; else the error number
 *
 * @par Errors
 * - `EBUSY`: a thread holds it.
 *
 * @par Pitfalls
 * - Another process may still be about to lock it. It is safer to remove the name and unmap.
 *
 * @see pthread_mutex_destroy(3p)
 */
int pthread_mutex_destroy(pthread_mutex_t *mutex);

/**
 * @brief Locks a mutex; sleeps while another thread holds it.
 *
 * @param mutex  the mutex
 * @return       0; else the error number
 *
 * @par Errors
 * - `EOWNERDEAD`: a robust mutex whose owner has died. **It is locked, and yours.** Repair what it guards,
 *   then call `pthread_mutex_consistent`.
 * - `ENOTRECOVERABLE`: it was unlocked after `EOWNERDEAD` without that call. It can never be locked again.
 * - `EDEADLK`: you have it already (for some kinds of mutex; with others the thread waits for itself).
 *
 * @par Pitfalls
 * - The error is the return value, not `errno`.
 * - `EOWNERDEAD` is not a failure. If you exit there, you exit with the mutex locked.
 *
 * @see pthread_mutex_lock(3p)
 */
int pthread_mutex_lock(pthread_mutex_t *mutex);

/**
 * @brief Locks a mutex if it is free, and never sleeps.
 *
 * @param mutex  the mutex
 * @return       0; else the error number
 *
 * @par Errors
 * - `EBUSY`: another thread holds it.
 * - `EOWNERDEAD`, `ENOTRECOVERABLE`: as for `pthread_mutex_lock`.
 *
 * @par Pitfalls
 * - In a loop it is busy waiting.
 *
 * @see pthread_mutex_trylock(3p)
 */
int pthread_mutex_trylock(pthread_mutex_t *mutex);

/**
 * @brief Unlocks a mutex, and wakes one that waits for it.
 *
 * @param mutex  the mutex; this thread has locked it
 * @return       0; else the error number
 *
 * @par Errors
 * - `EPERM`: another thread holds it (checked for robust mutexes and some others).
 *
 * @par Pitfalls
 * - After `EOWNERDEAD`, without `pthread_mutex_consistent` before it, the mutex becomes unusable for all.
 *
 * @see pthread_mutex_unlock(3p)
 */
int pthread_mutex_unlock(pthread_mutex_t *mutex);

/**
 * @brief Says, after `EOWNERDEAD`, that what the mutex guards is in order again.
 *
 * @param mutex  the mutex, which you hold
 * @return       0; else the error number
 *
 * @par Errors
 * - `EINVAL`: it is not robust, or its owner has not died.
 *
 * @par Pitfalls
 * - Unlocked without this call, the mutex is `ENOTRECOVERABLE` for all.
 * - Called before the repair is done, it makes a second death in between go unnoticed.
 *
 * @see pthread_mutex_consistent(3), pthread_mutex_consistent(3p)
 */
int pthread_mutex_consistent(pthread_mutex_t *mutex);

/**
 * @brief Sets up attributes of a condition variable: private to this process.
 *
 * @param attributes  where they lie
 * @return            0; else the error number
 *
 * @par Errors
 * - `ENOMEM`: no memory.
 *
 * @par Pitfalls
 * - What it sets up is not for other processes: `pthread_condattr_setpshared` comes next.
 *
 * @see pthread_condattr_init(3p)
 */
int pthread_condattr_init(pthread_condattr_t *attributes);

/**
 * @brief Ends the use of attributes.
 *
 * @param attributes  the attributes
 * @return            0; else the error number
 *
 * @par Errors
 * - `EINVAL`: these are not valid attributes.
 *
 * @par Pitfalls
 * - To change attributes afterwards changes no condition variable that was made with them.
 *
 * @see pthread_condattr_destroy(3p)
 */
int pthread_condattr_destroy(pthread_condattr_t *attributes);

/**
 * @brief Says whether a condition variable is for all processes that map it.
 *
 * @param attributes  the attributes
 * @param shared      `PTHREAD_PROCESS_SHARED` or `PTHREAD_PROCESS_PRIVATE`
 * @return            0; else the error number
 *
 * @par Errors
 * - `EINVAL`: the value is neither.
 *
 * @par Pitfalls
 * - A process-shared mutex beside it is not enough: each needs attributes of its own.
 *
 * @see pthread_condattr_setpshared(3p)
 */
int pthread_condattr_setpshared(pthread_condattr_t *attributes, int shared);

/**
 * @brief Sets a condition variable up where it lies.
 *
 * @param condition   where it lies
 * @param attributes  NULL means: for the threads of this process
 * @return            0; else the error number
 *
 * @par Errors
 * - `ENOMEM`, `EAGAIN`: the system lacks something that it needs.
 *
 * @par Pitfalls
 * - One process must do it, once, before others can see the object. Done again, it loses those who wait.
 *
 * @see pthread_cond_init(3p)
 */
int pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes);

/**
 * @brief Ends the use of a condition variable on which no thread waits.
 *
 * @param condition  the condition variable
 * @return           0; else the error number
 *
 * @par Errors
 * - `EBUSY`: a thread waits on it.
 *
 * @par Pitfalls
 * - glibc waits here until the last waiter has left; after one that was killed while it waited that may
 *   take for ever.
 *
 * @see pthread_cond_destroy(3p)
 */
int pthread_cond_destroy(pthread_cond_t *condition);

/**
 * @brief Unlocks the mutex, sleeps until woken, and locks it again. Unlocking and falling asleep are one
 * step.
 *
 * @param condition  the condition variable
 * @param mutex      the mutex, which you hold
 * @return           0; else the error number
 *
 * @par Errors
 * - `EOWNERDEAD`, `ENOTRECOVERABLE`: as for `pthread_mutex_lock`, from locking again.
 *
 * @par Pitfalls
 * - It may return without a signal, and another thread may have been faster: test the condition again, with
 *   `while`, not `if`.
 * - The signal is not kept. Look first, under the mutex, whether there is anything to wait for.
 *
 * @see pthread_cond_wait(3p)
 */
int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);

/**
 * @brief As `pthread_cond_wait`, until a point in time.
 *
 * @param condition  the condition variable
 * @param mutex      the mutex, which you hold
 * @param deadline   a time of the condition variable's clock, `CLOCK_REALTIME` by default
 * @return           0; else the error number
 *
 * @par Errors
 * - `ETIMEDOUT`: the time has come. The mutex is locked.
 * - `EINVAL`: the deadline is not a valid time.
 *
 * @par Pitfalls
 * - The deadline is a time and not a duration.
 * - After `ETIMEDOUT` what was waited for may have come all the same: look before you give up.
 *
 * @see pthread_cond_timedwait(3p)
 */
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                           const struct timespec *deadline);

/**
 * @brief Wakes one that waits on a condition variable, if there is one.
 *
 * @param condition  the condition variable
 * @return           0; else the error number
 *
 * @par Errors
 * - `EINVAL`: it is not a condition variable, if the system notices; glibc does not check.
 *
 * @par Pitfalls
 * - With several waiters for different things it may wake the wrong one, which goes back to sleep: use a
 *   condition variable for each, or `pthread_cond_broadcast`.
 * - To signal only when the buffer "was empty" loses wake-ups as soon as two wait.
 *
 * @see pthread_cond_signal(3p)
 */
int pthread_cond_signal(pthread_cond_t *condition);

/**
 * @brief Wakes all that wait on a condition variable.
 *
 * @param condition  the condition variable
 * @return           0; else the error number
 *
 * @par Errors
 * - `EINVAL`: it is not a condition variable, if the system notices; glibc does not check.
 *
 * @par Pitfalls
 * - All wake, and one after the other gets the mutex: most find that there is nothing for them, and
 *   sleep again.
 *
 * @see pthread_cond_broadcast(3p)
 */
int pthread_cond_broadcast(pthread_cond_t *condition);

/**
 * @brief For all processes that map it.
 *
 * @see pthread_mutexattr_setpshared(3), pthread.h(0p)
 */
#define PTHREAD_PROCESS_SHARED

/**
 * @brief For the threads of this process only. What you get without attributes.
 *
 * @see pthread_mutexattr_setpshared(3), pthread.h(0p)
 */
#define PTHREAD_PROCESS_PRIVATE

/**
 * @brief If the owner dies, the next who locks the mutex gets it, with `EOWNERDEAD`.
 *
 * @see pthread_mutexattr_setrobust(3), pthread.h(0p)
 */
#define PTHREAD_MUTEX_ROBUST

/**
 * @brief If the owner dies, the mutex stays locked for ever. What you get without attributes.
 *
 * @see pthread_mutexattr_setrobust(3), pthread.h(0p)
 */
#define PTHREAD_MUTEX_STALLED

/** @} */

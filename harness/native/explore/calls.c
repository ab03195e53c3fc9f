/**
 * @file
 * @brief Calls that wait, or wake others, or take time: semaphores, mutexes, condition variables, sleeps, children.
 *
 * The program's own semaphore or mutex is used, by the call that does not wait: what a process finds there, what the
 * kernel does with a robust mutex whose owner dies, all that is real. Only the waiting is ours.
 */
#include "runtime.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WHERE __builtin_return_address(0)

/* ---- who can be woken by another process --------------------------------------------------------------- */

/* The C library waits for these with a futex. One that is not for several processes is a private futex: the kernel
 * looks for waiters in one process only. */
#ifdef __GLIBC__
static bool is_private_semaphore(const sem_t *semaphore)
{
    return ((const int *)semaphore)[sizeof(long) == 8 ? 2 : 3] == 0;
}
static bool is_private_mutex(const pthread_mutex_t *mutex)
{
    return (mutex->__data.__kind & 128) == 0;
}
static bool is_private_condition(const pthread_cond_t *condition)
{
    return (condition->__data.__wrefs & 1) == 0;
}
#else /* musl */
static bool is_private_semaphore(const sem_t *semaphore)
{
    return ((const int *)semaphore)[2] != 0;
}
static bool is_private_mutex(const pthread_mutex_t *mutex)
{
    return (*(const int *)mutex & 128) == 0;
}
static bool is_private_condition(const pthread_cond_t *condition)
{
    return *(void *const *)condition == NULL;
}
#endif

/** For struct waiting: whether it is private, and whether that is so only because it is all zero bytes. */
static int privacy(bool is_private, const void *object, size_t size)
{
    size_t zeros = 0;
    while (zeros < size && ((const char *)object)[zeros] == 0)
        zeros++;
    return !is_private ? 0 : zeros == size ? 2 : 1;
}

static const int64_t start_ns = (int64_t)1000000000 * 1000000000; /**< of the virtual clock: 2001-09-09 */

static int64_t nanoseconds(const struct timespec *time)
{
    return time ? (int64_t)time->tv_sec * 1000000000 + time->tv_nsec : 0;
}

/** A deadline as turn.c wants it. */
static int64_t deadline(const struct timespec *time)
{
    return time ? nanoseconds(time) - start_ns : 0;
}

/** Begins a step on a semaphore, mutex … Gives the thing that it is. */
static uint64_t begin_object(enum call call, const volatile void *at, size_t size, const void *where)
{
    struct step *step = begin_step(call, where);
    return touch_object(step, at, size, true);
}

/** For calls that return an error number. */
static int leave_code(int code)
{
    leave_step(code, code);
    return code;
}

/* ---- semaphores -------------------------------------------------------------------------------------- */

int __real_sem_init(sem_t *, int, unsigned);
int __wrap_sem_init(sem_t *semaphore, int shared, unsigned value)
{
    if (self < 0)
        return __real_sem_init(semaphore, shared, value);
    begin_object(STEP_sem_init, semaphore, sizeof *semaphore, WHERE);
    control->process[self].next.before = (uint64_t)shared;
    control->process[self].next.after = value;
    enter_step();
    return leave(__real_sem_init(object_of(semaphore), shared, value));
}

int __real_sem_destroy(sem_t *);
int __wrap_sem_destroy(sem_t *semaphore)
{
    if (self < 0)
        return __real_sem_destroy(semaphore);
    begin_object(STEP_sem_destroy, semaphore, sizeof *semaphore, WHERE);
    enter_step();
    return leave(__real_sem_destroy(object_of(semaphore)));
}

int __real_sem_trywait(sem_t *);
static int semaphore_wait(enum call call, sem_t *semaphore, const struct timespec *until, const void *where)
{
    const uint64_t thing = begin_object(call, semaphore, sizeof(long), where);
    enter_step();
    for (;;) {
        const int result = __real_sem_trywait(object_of(semaphore));
        if (result == 0 || errno != EAGAIN || call == STEP_sem_trywait) {
            set_changes(0, result == 0);
            return leave(result);
        }
        const struct waiting waiting = {.thing = thing,
                                        .timed = until != NULL,
                                        .deadline_ns = deadline(until),
                                        .private = privacy(is_private_semaphore(object_of(semaphore)),
                                                           object_of(semaphore), sizeof *semaphore)};
        if (!wait_for(waiting)) {
            errno = ETIMEDOUT;
            return leave(-1);
        }
    }
}

int __real_sem_wait(sem_t *);
int __wrap_sem_wait(sem_t *semaphore)
{
    return self < 0 ? __real_sem_wait(semaphore) : semaphore_wait(STEP_sem_wait, semaphore, NULL, WHERE);
}

/** A step that has looked at something and found nothing new. Others go on if it does so again and again. */
static int looked(int result, int nothing, const void *where)
{
    static uint32_t changes, count;
    if (result != nothing)
        return result;
    const int error = errno;
    count = changes == control->changes - control->process[self].own_changes ? count + 1 : 0;
    changes = control->changes - control->process[self].own_changes;
    if (count >= VAIN_LOOKS) {
        begin_step(STEP_sched_yield, where)->waits = 1;
        pause_step();
    }
    errno = error;
    return result;
}

int __wrap_sem_trywait(sem_t *semaphore)
{
    return self < 0 ? __real_sem_trywait(semaphore)
                    : looked(semaphore_wait(STEP_sem_trywait, semaphore, NULL, WHERE), -1, WHERE);
}

int __real_sem_timedwait(sem_t *, const struct timespec *);
int __wrap_sem_timedwait(sem_t *semaphore, const struct timespec *until)
{
    return self < 0 ? __real_sem_timedwait(semaphore, until)
                    : semaphore_wait(STEP_sem_timedwait, semaphore, until, WHERE);
}

int __real_sem_post(sem_t *);
int __wrap_sem_post(sem_t *semaphore)
{
    if (self < 0)
        return __real_sem_post(semaphore);
    begin_object(STEP_sem_post, semaphore, sizeof(long), WHERE);
    enter_step();
    return leave(__real_sem_post(object_of(semaphore)));
}

int __real_sem_getvalue(sem_t *, int *);
int __wrap_sem_getvalue(sem_t *semaphore, int *value)
{
    if (self < 0)
        return __real_sem_getvalue(semaphore, value);
    touch_object(begin_step(STEP_sem_getvalue, WHERE), semaphore, sizeof(long), false);
    enter_step();
    const int result = leave(__real_sem_getvalue(object_of(semaphore), value));
    return looked(result, 0, WHERE);
}

/* ---- mutexes ----------------------------------------------------------------------------------------- */

/* A mutex is one thing: its first words. */
enum { MUTEX = 16 };

int __real_pthread_mutex_trylock(pthread_mutex_t *);
static int lock(enum call call, pthread_mutex_t *mutex, const struct timespec *until, const void *where)
{
    const uint64_t thing = begin_object(call, mutex, MUTEX, where);
    enter_step();
    for (;;) {
        const int code = __real_pthread_mutex_trylock(object_of(mutex));
        if (code != EBUSY || call == STEP_pthread_mutex_trylock) {
            set_changes(0, code != EBUSY);
            set_changes(1, code != EBUSY);
            return leave_code(code);
        }
        const struct waiting waiting = {.thing = thing,
                                        .timed = until != NULL,
                                        .deadline_ns = deadline(until),
                                        .private = is_private_mutex(object_of(mutex))};
        if (!wait_for(waiting))
            return leave_code(ETIMEDOUT);
    }
}

int __real_pthread_mutex_lock(pthread_mutex_t *);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    return self < 0 ? __real_pthread_mutex_lock(mutex) : lock(STEP_pthread_mutex_lock, mutex, NULL, WHERE);
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    return self < 0 ? __real_pthread_mutex_trylock(mutex)
                    : looked(lock(STEP_pthread_mutex_trylock, mutex, NULL, WHERE), EBUSY, WHERE);
}

int __real_pthread_mutex_timedlock(pthread_mutex_t *, const struct timespec *);
int __wrap_pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *until)
{
    return self < 0 ? __real_pthread_mutex_timedlock(mutex, until)
                    : lock(STEP_pthread_mutex_timedlock, mutex, until, WHERE);
}

#define ON_MUTEX(name, parameters, arguments)                                                                \
    int __real_##name parameters;                                                                            \
    int __wrap_##name parameters                                                                             \
    {                                                                                                        \
        if (self < 0)                                                                                        \
            return __real_##name arguments;                                                                  \
        begin_object(STEP_##name, mutex, MUTEX, WHERE);                                                      \
        enter_step();                                                                                        \
        mutex = object_of(mutex);                                                                            \
        return leave_code(__real_##name arguments);                                                          \
    }
ON_MUTEX(pthread_mutex_init, (pthread_mutex_t * mutex, const pthread_mutexattr_t *kind), (mutex, kind))
ON_MUTEX(pthread_mutex_unlock, (pthread_mutex_t * mutex), (mutex))
ON_MUTEX(pthread_mutex_consistent, (pthread_mutex_t * mutex), (mutex))
ON_MUTEX(pthread_mutex_destroy, (pthread_mutex_t * mutex), (mutex))

/* ---- condition variables: only who sleeps there is ours ------------------------------------------------ */

#define ON_CONDITION(name, parameters, arguments)                                                            \
    int __real_##name parameters;                                                                            \
    int __wrap_##name parameters                                                                             \
    {                                                                                                        \
        if (self < 0)                                                                                        \
            return __real_##name arguments;                                                                  \
        begin_object(STEP_##name, condition, 8, WHERE);                                                      \
        enter_step();                                                                                        \
        condition = object_of(condition);                                                                    \
        return leave_code(__real_##name arguments);                                                          \
    }
ON_CONDITION(pthread_cond_init, (pthread_cond_t * condition, const pthread_condattr_t *kind),
             (condition, kind))
ON_CONDITION(pthread_cond_destroy, (pthread_cond_t * condition), (condition))

int __real_pthread_mutex_unlock(pthread_mutex_t *);

static int condition_wait(enum call call, pthread_cond_t *condition, pthread_mutex_t *mutex,
                          const struct timespec *until, const void *where)
{
    struct step *step = begin_step(call, where);
    const uint64_t mutex_thing = touch_object(step, mutex, MUTEX, true);
    const uint64_t thing = touch_object(step, condition, 8, true);
    enter_step();
    int code = __real_pthread_mutex_unlock(object_of(mutex));
    if (code != 0)
        return leave_code(code);
    leave_step(0, 0); /* to unlock and to fall asleep is one step */
    const struct waiting sleep = {.thing = thing,
                                  .timed = until != NULL,
                                  .deadline_ns = deadline(until),
                                  .asleep = true,
                                  .private = is_private_condition(object_of(condition))};
    const int late = wait_for(sleep) ? 0 : ETIMEDOUT;
    while ((code = __real_pthread_mutex_trylock(object_of(mutex))) == EBUSY)
        wait_for((struct waiting){.thing = mutex_thing, .private = is_private_mutex(object_of(mutex))});
    leave_step(code ? code : late, code ? code : late);
    return code ? code : late;
}

int __real_pthread_cond_wait(pthread_cond_t *, pthread_mutex_t *);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    return self < 0 ? __real_pthread_cond_wait(condition, mutex)
                    : condition_wait(STEP_pthread_cond_wait, condition, mutex, NULL, WHERE);
}

int __real_pthread_cond_timedwait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                  const struct timespec *until)
{
    return self < 0 ? __real_pthread_cond_timedwait(condition, mutex, until)
                    : condition_wait(STEP_pthread_cond_timedwait, condition, mutex, until, WHERE);
}

/** Those who sleep for a thing and whom another process can wake. */
static uint32_t sleepers(uint64_t thing)
{
    uint32_t set = 0;
    for (uint32_t i = 0; i < control->processes; i++) {
        const struct process *p = &control->process[i];
        if (p->state == ASLEEP && p->waits_for == thing && !p->private_wait)
            set |= 1u << i;
    }
    return set;
}

/** Wakes some of those who sleep for a thing; which of them, the schedule says. Returns how many. */
static int wake(uint64_t thing, int most)
{
    int woken = 0;
    for (uint32_t set; woken < most && (set = sleepers(thing)) != 0; woken++) {
        const int chosen = choose_one(set);
        control->process[chosen].woken = 1;
        control->process[chosen].state = READY;
        control->process[self].hash = mix(control->process[self].hash, (uint64_t)chosen);
    }
    return woken;
}

static int signal_condition(enum call call, pthread_cond_t *condition, int most, const void *where)
{
    const uint64_t thing = begin_object(call, condition, 8, where);
    enter_step();
    const int woken = wake(thing, most);
    leave_step(0, 0);
    control->step[control->steps - 1].after = (uint64_t)woken;
    return 0;
}

int __real_pthread_cond_signal(pthread_cond_t *);
int __wrap_pthread_cond_signal(pthread_cond_t *condition)
{
    return self < 0 ? __real_pthread_cond_signal(condition)
                    : signal_condition(STEP_pthread_cond_signal, condition, 1, WHERE);
}

int __real_pthread_cond_broadcast(pthread_cond_t *);
int __wrap_pthread_cond_broadcast(pthread_cond_t *condition)
{
    return self < 0 ? __real_pthread_cond_broadcast(condition)
                    : signal_condition(STEP_pthread_cond_broadcast, condition, INT_MAX, WHERE);
}

/* ---- barriers: who has come is ours, too --------------------------------------------------------------- */

int __real_pthread_barrier_init(pthread_barrier_t *, const pthread_barrierattr_t *, unsigned);
int __wrap_pthread_barrier_init(pthread_barrier_t *barrier, const pthread_barrierattr_t *kind, unsigned count)
{
    if (self < 0)
        return __real_pthread_barrier_init(barrier, kind, count);
    const uint64_t thing = begin_object(STEP_pthread_barrier_init, barrier, 8, WHERE);
    enter_step();
    const int code = __real_pthread_barrier_init(object_of(barrier), kind, count);
    if (code == 0) {
        int shared = PTHREAD_PROCESS_PRIVATE;
        if (kind)
            pthread_barrierattr_getpshared(kind, &shared);
        if (control->barriers == MAX_BARRIERS)
            unsupported("more than 4 barriers");
        control->barrier[control->barriers++] =
            (struct barrier){thing, count, 0, shared == PTHREAD_PROCESS_PRIVATE};
    }
    return leave_code(code);
}

int __real_pthread_barrier_wait(pthread_barrier_t *);
int __wrap_pthread_barrier_wait(pthread_barrier_t *barrier)
{
    if (self < 0)
        return __real_pthread_barrier_wait(barrier);
    const uint64_t thing = begin_object(STEP_pthread_barrier_wait, barrier, 8, WHERE);
    enter_step();
    struct barrier *found = NULL;
    for (uint32_t i = 0; i < control->barriers; i++)
        if (control->barrier[i].thing == thing)
            found = &control->barrier[i];
    if (!found) {
        unsupported("a barrier that no call of the program has set up");
        return EINVAL;
    }
    if (++found->waiting == found->count) {
        found->waiting = 0;
        wake(thing, INT_MAX);
        return leave_code(PTHREAD_BARRIER_SERIAL_THREAD);
    }
    leave_step(0, 0);
    wait_for((struct waiting){.thing = thing, .asleep = true, .private = (int)found->is_private});
    return leave_code(0);
}

/* ---- time: it passes only when nothing else can happen ------------------------------------------------- */

int __real_clock_gettime(clockid_t, struct timespec *);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    if (self < 0)
        return __real_clock_gettime(clock, time);
    const int64_t now = start_ns + control->clock_ns;
    *time = (struct timespec){now / 1000000000, now % 1000000000};
    return 0;
}

time_t __real_time(time_t *);
time_t __wrap_time(time_t *to)
{
    if (self < 0)
        return __real_time(to);
    const time_t now = (time_t)((start_ns + control->clock_ns) / 1000000000);
    if (to)
        *to = now;
    return now;
}

static void sleep_for(enum call call, int64_t duration, const void *where)
{
    begin_step(call, where)->after = (uint64_t)duration;
    pause_step();
    control->clock_ns += duration;
}

int __real_nanosleep(const struct timespec *, struct timespec *);
int __wrap_nanosleep(const struct timespec *duration, struct timespec *rest)
{
    if (self < 0)
        return __real_nanosleep(duration, rest);
    sleep_for(STEP_nanosleep, nanoseconds(duration), WHERE);
    return 0;
}

int __real_clock_nanosleep(clockid_t, int, const struct timespec *, struct timespec *);
int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *rest)
{
    if (self < 0)
        return __real_clock_nanosleep(clock, flags, time, rest);
    const int64_t until = nanoseconds(time) - (flags & TIMER_ABSTIME ? start_ns + control->clock_ns : 0);
    sleep_for(STEP_clock_nanosleep, until > 0 ? until : 0, WHERE);
    return 0;
}

int __real_usleep(useconds_t);
int __wrap_usleep(useconds_t duration)
{
    if (self < 0)
        return __real_usleep(duration);
    sleep_for(STEP_usleep, (int64_t)duration * 1000, WHERE);
    return 0;
}

unsigned __real_sleep(unsigned);
unsigned __wrap_sleep(unsigned seconds)
{
    if (self < 0)
        return __real_sleep(seconds);
    sleep_for(STEP_sleep, (int64_t)seconds * 1000000000, WHERE);
    return 0;
}

int __real_sched_yield(void);
int __wrap_sched_yield(void)
{
    if (self < 0)
        return __real_sched_yield();
    sleep_for(STEP_sched_yield, 1000, WHERE);
    return 0;
}

/* Without a descriptor these are sleeps. With one, they wait for what the explorer does not know. */
int __real_poll(struct pollfd *, nfds_t, int);
int __wrap_poll(struct pollfd *entries, nfds_t count, int milliseconds)
{
    if (self < 0 || count > 0 || milliseconds < 0)
        return __real_poll(entries, count, milliseconds);
    sleep_for(STEP_poll, (int64_t)milliseconds * 1000000, WHERE);
    return 0;
}

int __real_select(int, fd_set *, fd_set *, fd_set *, struct timeval *);
int __wrap_select(int count, fd_set *in, fd_set *out, fd_set *other, struct timeval *time)
{
    if (self < 0 || count > 0 || !time)
        return __real_select(count, in, out, other, time);
    sleep_for(STEP_select, (int64_t)time->tv_sec * 1000000000 + (int64_t)time->tv_usec * 1000, WHERE);
    return 0;
}

static bool has_timer;

bool timer_interrupts(void)
{
    struct sigaction action;
    return has_timer && sigaction(SIGALRM, NULL, &action) == 0 && action.sa_handler != SIG_DFL &&
           action.sa_handler != SIG_IGN;
}

unsigned __real_alarm(unsigned);
unsigned __wrap_alarm(unsigned seconds)
{
    has_timer |= self >= 0 && seconds > 0;
    return __real_alarm(seconds);
}

int __real_setitimer(int, const struct itimerval *, struct itimerval *);
int __wrap_setitimer(int which, const struct itimerval *to, struct itimerval *before)
{
    has_timer |= self >= 0 && which == ITIMER_REAL;
    return __real_setitimer(which, to, before);
}

useconds_t __real_ualarm(useconds_t, useconds_t);
useconds_t __wrap_ualarm(useconds_t first, useconds_t then)
{
    has_timer |= self >= 0;
    return __real_ualarm(first, then);
}

/* ---- processes: their pids are the same in each schedule ------------------------------------------------- */

enum { FIRST_PID = 10001 };

/** Index of the process that the program knows by this pid; -1: it is none of ours. */
static int index_of(pid_t pid)
{
    return pid >= FIRST_PID && pid < FIRST_PID + (pid_t)control->processes ? (int)pid - FIRST_PID : -1;
}

/** The kernel's pid for the one that the program knows. To ask for it is a step: the process may be there or not. */
static pid_t real_pid(pid_t pid, const void *where)
{
    const int other = index_of(pid);
    if (other < 0)
        return pid;
    begin_step(STEP_syscall, where)->before = (uint64_t)pid;
    touch(mix(KIND_CHILD, (uint64_t)other), false);
    switch_point();
    while (__atomic_load_n(&control->process[other].pid, __ATOMIC_SEQ_CST) == 0)
        futex_wait((uint32_t *)&control->process[other].pid, 0);
    return control->process[other].pid;
}

/* ---- futexes, by syscall(2) ---------------------------------------------------------------------------- */

static long futex(uint32_t *word, int operation, uint32_t value, const struct timespec *time,
                  const void *where)
{
    const int command = operation & FUTEX_CMD_MASK;
    struct step *step = begin_step(STEP_syscall, where);
    step->before = (uint64_t)command;
    const bool waits = command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET;
    const uint64_t thing = touch_object(step, word, sizeof *word, !waits);
    enter_step();
    if (!waits) {
        const int woken = wake(thing, value > INT_MAX ? INT_MAX : (int)value);
        leave_step(woken, 0);
        return woken;
    }
    if (__atomic_load_n((uint32_t *)object_of(word), __ATOMIC_SEQ_CST) != value) {
        errno = EAGAIN;
        return leave(-1);
    }
    leave_step(0, 0); /* to look and to fall asleep is one step */
    const struct waiting sleep = {.thing = thing,
                                  .timed = time != NULL,
                                  .asleep = true,
                                  .deadline_ns = command == FUTEX_WAIT ? control->clock_ns + nanoseconds(time)
                                                                       : deadline(time),
                                  .private = (operation & FUTEX_PRIVATE_FLAG) != 0};
    const bool woken = wait_for(sleep);
    errno = ETIMEDOUT;
    return leave(woken ? 0 : -1);
}

long __wrap_syscall(long number, ...)
{
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (self >= 0 && number == SYS_futex) {
        const int command = (int)a[1] & FUTEX_CMD_MASK;
        if (command != FUTEX_WAIT && command != FUTEX_WAKE && command != FUTEX_WAIT_BITSET &&
            command != FUTEX_WAKE_BITSET)
            unsupported("a futex operation other than wait and wake");
        return futex((uint32_t *)a[0], (int)a[1], (uint32_t)a[2], (const struct timespec *)a[3], WHERE);
    }
    if (self >= 0 && number == SYS_getpid)
        return getpid();
    if (self >= 0 && number == SYS_kill)
        return kill((pid_t)a[0], (int)a[1]);
    if (self >= 0 && number == SYS_pidfd_open)
        a[0] = real_pid((pid_t)a[0], WHERE);
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *kind, void *(*start)(void *),
                          void *argument)
{
    if (self >= 0)
        unsupported("a second thread");
    return __real_pthread_create(thread, kind, start, argument);
}

/* Other ways to make a process, which nobody would give its turns; and timers with any signal. */
#define NOT_FOLLOWED(type, name, parameters, arguments)                                                      \
    type __real_##name parameters __attribute__((weak));                                                     \
    type __wrap_##name parameters                                                                            \
    {                                                                                                        \
        if (self >= 0)                                                                                       \
            unsupported(#name "()");                                                                         \
        return __real_##name arguments;                                                                      \
    }
NOT_FOLLOWED(pid_t, _Fork, (void), ())
NOT_FOLLOWED(int, posix_spawn,
             (pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
              const posix_spawnattr_t *kind, char *const argv[], char *const variables[]),
             (pid, path, actions, kind, argv, variables))
NOT_FOLLOWED(int, posix_spawnp,
             (pid_t * pid, const char *file, const posix_spawn_file_actions_t *actions,
              const posix_spawnattr_t *kind, char *const argv[], char *const variables[]),
             (pid, file, actions, kind, argv, variables))
NOT_FOLLOWED(int, system, (const char *command), (command))
NOT_FOLLOWED(int, timer_create, (clockid_t clock, struct sigevent *how, timer_t *timer), (clock, how, timer))
NOT_FOLLOWED(FILE *, popen, (const char *command, const char *mode), (command, mode))

pid_t __wrap_vfork(void)
{
    unsupported("vfork()"); /* a function that calls it must not return */
    return -1;
}

pid_t __real_getpid(void);
pid_t __wrap_getpid(void)
{
    return self < 0 ? __real_getpid() : FIRST_PID + self;
}

pid_t __real_getppid(void);
pid_t __wrap_getppid(void)
{
    if (self < 0 || control->process[self].parent == 0)
        return __real_getppid();
    return FIRST_PID - 1 + (pid_t)control->process[self].parent;
}

int __real_kill(pid_t, int);
int __wrap_kill(pid_t pid, int number)
{
    const int other = self < 0 ? -1 : index_of(pid);
    if (self < 0 || pid <= 0)
        return __real_kill(pid, number);
    begin_step(STEP_kill, WHERE)->before = (uint64_t)pid;
    control->process[self].next.after = (uint64_t)number;
    if (other >= 0)
        touch(mix(KIND_CHILD, (uint64_t)other), number != 0);
    enter_step();
    if (other < 0)
        return leave(__real_kill(pid, number));
    struct process *process = &control->process[other];
    while (__atomic_load_n(&process->pid, __ATOMIC_SEQ_CST) == 0)
        futex_wait((uint32_t *)&process->pid, 0);
    const int result = __real_kill(process->pid, number);
    if (number == SIGKILL && other != self)
        for (uint32_t state; (state = __atomic_load_n(&process->state, __ATOMIC_SEQ_CST)) != ENDED;)
            futex_wait(&process->state, state);
    return leave(result);
}

pid_t __real_fork(void);
pid_t __wrap_fork(void)
{
    if (self < 0)
        return __real_fork();
    if (control->shares_memory) { /* the template has to watch over them meanwhile, and cannot */
        control->shares_memory = 0;
        finish(AGAIN);
    }
    begin_step(STEP_fork, WHERE);
    enter_step();
    if (control->processes >= MAX_PROCESSES)
        unsupported("more than 8 processes");
    const int index = (int)control->processes;
    struct process *parent = &control->process[self], *child = &control->process[index];
    child->parent = (uint32_t)self + 1;
    child->template = parent->template;
    child->next.call = STEP_start;
    child->next.file = -1;
    child->hash = mix(parent->hash, (uint64_t)index);
    child->idle_changes = UINT32_MAX;
    const pid_t pid = __real_fork();
    if (pid == 0) {
        start_process(index);
        return 0;
    }
    if (pid < 0)
        return leave(pid);
    __atomic_store_n(&child->pid, pid, __ATOMIC_SEQ_CST);
    __atomic_store_n(&child->state, READY, __ATOMIC_SEQ_CST);
    __atomic_store_n(&control->processes, control->processes + 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&child->watched, __ATOMIC_SEQ_CST)) {
        const struct timespec soon = {0, 2000000};
        __real_kill(child->template, SIGURG);
        raw_syscall(SYS_futex, &child->watched, FUTEX_WAIT, 0, &soon, NULL, 0);
    }
    leave_step(FIRST_PID + index, 0);
    return FIRST_PID + index;
}

/** The same pid as the program knows it. */
static pid_t shown_pid(pid_t pid)
{
    for (uint32_t i = 0; i < control->processes; i++)
        if (control->process[i].pid == pid)
            return FIRST_PID + (pid_t)i;
    return pid;
}

pid_t __real_waitpid(pid_t, int *, int);
static pid_t wait_child(enum call call, pid_t pid, int *status, int options, const void *where)
{
    const int child = index_of(pid);
    const uint64_t thing = mix(KIND_CHILDREN, (uint64_t)self);
    begin_step(call, where)->before = (uint64_t)pid;
    touch(thing, false);
    enter_step();
    for (;;) {
        int found = 0;
        const pid_t result =
            __real_waitpid(child >= 0 ? control->process[child].pid : pid, &found, options | WNOHANG);
        if (result == 0 && !(options & WNOHANG)) {
            wait_for((struct waiting){.thing = thing});
            continue;
        }
        const int error = errno;
        if (result > 0) {
            const int index = index_of(shown_pid(result));
            if (index >= 0) {
                control->process[self].hash = mix(control->process[self].hash, control->process[index].hash);
                control->process[index].status = found;
            }
            if (status)
                *status = found;
        }
        leave_step(result > 0 ? shown_pid(result) : result, result < 0 ? error : 0);
        errno = error;
        return looked(result > 0 ? shown_pid(result) : result, 0, where);
    }
}

pid_t __wrap_waitpid(pid_t pid, int *status, int options)
{
    return self < 0 ? __real_waitpid(pid, status, options)
                    : wait_child(STEP_waitpid, pid, status, options, WHERE);
}

pid_t __real_wait(int *);
pid_t __wrap_wait(int *status)
{
    return self < 0 ? __real_wait(status) : wait_child(STEP_wait, -1, status, 0, WHERE);
}

int __real_waitid(idtype_t, id_t, siginfo_t *, int);
int __wrap_waitid(idtype_t kind, id_t id, siginfo_t *info, int options)
{
    if (self < 0)
        return __real_waitid(kind, id, info, options);
    const int child = kind == P_PID ? index_of((pid_t)id) : -1;
    const uint64_t thing = mix(KIND_CHILDREN, (uint64_t)self);
    begin_step(STEP_waitid, WHERE)->before = id;
    touch(thing, false);
    enter_step();
    for (;;) {
        siginfo_t found = {0};
        const id_t real = child >= 0 ? (id_t)control->process[child].pid : id;
        const int result = __real_waitid(kind, real, &found, options | WNOHANG);
        if (result == 0 && found.si_pid == 0 && !(options & WNOHANG)) {
            wait_for((struct waiting){.thing = thing});
            continue;
        }
        const int error = errno, index = result == 0 ? index_of(shown_pid(found.si_pid)) : -1;
        if (index >= 0) {
            control->process[self].hash = mix(control->process[self].hash, control->process[index].hash);
            found.si_pid = FIRST_PID + index;
        }
        if (info && result == 0)
            *info = found;
        leave_step(result, result < 0 ? error : 0);
        errno = error;
        return looked(result == 0 && found.si_pid == 0 ? -2 : result, -2, WHERE) == -2 ? 0 : result;
    }
}

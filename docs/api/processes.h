/**
 * @file
 * @brief API cards: processes and signals.
 */
/**
 * @defgroup cards_processes Processes and signals
 * @brief Which processes share memory by fork, how a process ends, and how its parent learns of it.
 * @{
 */

/**
 * @brief Makes a copy of this process. Shared mappings stay shared, all other memory is copied as soon as
 * one of the two stores.
 *
 * @return  the child's pid in the parent, 0 in the child; -1 on failure
 *
 * @par Errors
 * - `EAGAIN`: too many processes.
 * - `ENOMEM`: no memory for the kernel's records.
 *
 * @par Pitfalls
 * - What is in the buffer of stdout is copied as well, and printed twice: flush before you fork.
 * - After a failed fork, the children created before it still run, and may be waiting.
 *
 * @see fork(2), fork(3p)
 */
pid_t fork(void);

/**
 * @brief Replaces the program of this process by another, looked for in the PATH. All mappings are gone.
 *
 * @param file       the program
 * @param arguments  its arguments, the first its own name; NULL ends them
 * @return           -1 on failure, else it does not return
 *
 * @par Errors
 * - `ENOENT`: there is no such program.
 * - `EACCES`: it may not be run.
 *
 * @par Pitfalls
 * - Descriptors stay open unless they are marked to be closed on exec; those of `shm_open` are.
 *
 * @see exec(3), execvp(3p)
 */
int execvp(const char *file, char *const arguments[]);

/**
 * @brief Waits until a child has ended, and reaps it: returns how it ended.
 *
 * @param pid      the child; -1: any
 * @param status   where the answer goes, for `WIFEXITED` and the like
 * @param options  0 to wait asleep, `WNOHANG` only to look
 * @return         the child's pid; 0 with `WNOHANG` if none has ended; -1 on failure
 *
 * @par Errors
 * - `ECHILD`: there is no such child, or it was waited for already.
 * - `EINTR`: a signal handler has run.
 *
 * @par Pitfalls
 * - The status is not the exit status: test `WIFEXITED` first, or a killed child looks as if it had succeeded.
 * - A child that was not waited for is a zombie: it holds no memory, but `kill` with signal 0 finds it.
 *
 * @see waitpid(2), waitpid(3p)
 */
pid_t waitpid(pid_t pid, int *status, int options);

/**
 * @brief Sends a signal; with signal 0 it only asks whether the process is there.
 *
 * @param pid     the process
 * @param number  the signal, or 0
 * @return        0; -1 on failure
 *
 * @par Errors
 * - `ESRCH`: there is no such process.
 * - `EPERM`: there is one, but it belongs to another user.
 *
 * @par Pitfalls
 * - The kernel reuses pids: the process that exists may be another one.
 * - A zombie counts as existing.
 *
 * @see kill(2), kill(3p)
 */
int kill(pid_t pid, int number);

/**
 * @brief Sets what happens when a signal arrives: a handler, `SIG_IGN` or `SIG_DFL`.
 *
 * @param number  the signal; not `SIGKILL` or `SIGSTOP`
 * @param action  `sa_handler`, `sa_mask` (what is blocked while the handler runs) and `sa_flags`; NULL only asks
 * @param before  where the action goes that was set until now, or NULL
 * @return        0; -1 on failure
 *
 * @par Errors
 * - `EINVAL`: there is no such signal, or it cannot be caught.
 *
 * @par Pitfalls
 * - A handler may run inside any function. It may call only those that signal-safety(7) lists: `write`, `_exit`,
 *   `sem_post`, but not `printf`, `exit` or `shm_unlink`.
 * - With `SA_RESTART` the kernel restarts most waits after the handler; without it they fail with `EINTR`.
 * - With `SA_RESETHAND` only the first signal is caught.
 * - A handler that runs just before a wait does not interrupt it.
 *
 * @see sigaction(2), sigaction(3p), signal-safety(7)
 */
int sigaction(int number, const struct sigaction *action, struct sigaction *before);

/**
 * @brief Makes a set of signals empty.
 *
 * @param set  the set, such as the `sa_mask` of an action
 * @return     0; -1 on failure
 *
 * @par Errors
 * - None is specified. On Linux it fails for a null pointer only.
 *
 * @par Pitfalls
 * - A set that was neither made empty nor filled holds any signals: a handler with such a mask blocks some of them.
 *
 * @see sigsetops(3), sigemptyset(3p)
 */
int sigemptyset(sigset_t *set);

/**
 * @brief A variable of this type is loaded and stored as a whole also if a handler runs in between. With `volatile` it is
 * what a handler may set and the program may look at.
 *
 * It does not serve two threads or processes: for these use an atomic.
 *
 * @see signal.h(0p), signal-safety(7)
 */
typedef int sig_atomic_t;

/**
 * @brief True if the child has ended by itself, by return or exit.
 *
 * @see waitpid(2), sys_wait.h(0p)
 */
#define WIFEXITED

/**
 * @brief The exit status of a child for which `WIFEXITED` is true.
 *
 * @see waitpid(2), sys_wait.h(0p)
 */
#define WEXITSTATUS

/**
 * @brief True if a signal has killed the child.
 *
 * @see waitpid(2), sys_wait.h(0p)
 */
#define WIFSIGNALED

/**
 * @brief The signal that has killed a child for which `WIFSIGNALED` is true.
 *
 * @see waitpid(2), sys_wait.h(0p)
 */
#define WTERMSIG

/**
 * @brief The address is mapped, but there is no memory behind it.
 *
 * Either the object does not reach this page (it was never given a size, or was made smaller), or `/dev/shm` or the
 * disk is full and there is no page for it. The remedies are `ftruncate` and `posix_fallocate`, and seals against a
 * peer that shrinks. [How it fails](../failures.md#sigbus) tells how to find the cause.
 *
 * @see signal(7), signal.h(0p)
 */
#define SIGBUS

/**
 * @brief Nothing is mapped at the address, or the mapping does not allow what was tried.
 *
 * The cause is a return value that was not compared with `MAP_FAILED` or `(void *)-1`, a use after `munmap` or
 * `shmdt`, a store to what is mapped for reading, or a pointer that was stored in shared memory by a process that
 * has it elsewhere.
 *
 * [How it fails](../failures.md#sigsegv) tells how to find the cause.
 *
 * @see signal(7), signal.h(0p)
 */
#define SIGSEGV

/**
 * @brief Asks a process to end: Ctrl-C sends it to all processes in the terminal's foreground.
 *
 * Without a handler it kills, and nothing is cleaned up.
 *
 * @see signal(7), signal.h(0p)
 */
#define SIGINT

/**
 * @brief Asks a process to end: what `kill(1)` sends, and a service manager.
 *
 * Without a handler it kills, and nothing is cleaned up.
 *
 * @see signal(7), signal.h(0p)
 */
#define SIGTERM

/**
 * @brief Kills, and cannot be caught: nothing is cleaned up. Names, segments and locked mutexes are left as
 * they are.
 *
 * @see signal(7), signal.h(0p)
 */
#define SIGKILL

/**
 * @brief Stops a process, and cannot be caught. `SIGCONT` continues it.
 *
 * @see signal(7), signal.h(0p)
 */
#define SIGSTOP

/**
 * @brief Kills a process that writes to a pipe or a socket whose other end no process has open.
 *
 * Ignored, or with `MSG_NOSIGNAL`, the call fails with `EPIPE` instead.
 *
 * @see signal(7), signal.h(0p)
 */
#define SIGPIPE

/**
 * @brief Why there was a SIGBUS: the address is mapped, and the object has nothing there (`si_code` in a
 * handler).
 *
 * @see sigaction(2), signal.h(0p)
 */
#define BUS_ADRERR

/**
 * @brief Why there was a SIGSEGV: nothing is mapped at the address (`si_code` in a handler).
 *
 * @see sigaction(2), signal.h(0p)
 */
#define SEGV_MAPERR

/** @} */

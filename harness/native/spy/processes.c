/**
 * @file
 * @brief The wrapped calls that create, replace or end a process, except vfork() (vfork.c).
 */
#include "spy.h"

pid_t WRAPPER(fork)(void)
{
    DECLARE_REAL(pid_t, fork, (void))
    const int injected = count_call(CALL_fork, CALLER);
    pid_t result = -1;
    if (injected)
        errno = injected;
    else
        result = real();
    const int call_errno = errno;
    if (result == 0)
        after_fork_in_child();
    record(CALL_fork, CALLER, (injected ? INJECTED : 0) | (result < 0 ? FAILED : 0), result,
           result < 0 ? call_errno : 0, NULL, 0, 0, 0, 0, 0);
    stop_after(CALL_fork, CALLER);
    errno = call_errno;
    return result;
}

/* Recorded before the call, which does not return if it succeeds, and again if it fails. */
#define WRAP_EXEC(f, parameters, arguments)                                                                  \
    int WRAPPER(f) parameters                                                                                \
    {                                                                                                        \
        DECLARE_REAL(int, f, parameters)                                                                     \
        const int injected = count_call(CALL_##f, CALLER);                                                   \
        record(CALL_##f, CALLER, injected ? INJECTED | FAILED : NOT_YET_MADE, injected ? -1 : 0, injected,   \
               path, 0, 0, 0, 0, 0);                                                                         \
        stop_after(CALL_##f, CALLER);                                                                        \
        if (injected)                                                                                        \
            errno = injected;                                                                                \
        else                                                                                                 \
            real arguments;                                                                                  \
        const int call_errno = errno;                                                                        \
        if (!injected)                                                                                       \
            record(CALL_##f, CALLER, FAILED, -1, call_errno, path, 0, 0, 0, 0, 0);                           \
        errno = call_errno;                                                                                  \
        return -1;                                                                                           \
    }

WRAP_EXEC(execve, (const char *path, char *const argv[], char *const environment[]),
          (path, argv, environment))
WRAP_EXEC(execv, (const char *path, char *const argv[]), (path, argv))
WRAP_EXEC(execvp, (const char *path, char *const argv[]), (path, argv))

/* The arguments are copied to an array, because a variable argument list cannot be passed on. */
#define WRAP_EXEC_LIST(f, array_form)                                                                        \
    int WRAPPER(f)(const char *path, const char *first, ...)                                                 \
    {                                                                                                        \
        DECLARE_REAL(int, array_form, (const char *, char *const[]))                                         \
        va_list args;                                                                                        \
        size_t count = 1;                                                                                    \
        va_start(args, first);                                                                               \
        for (const char *argument = first; argument; count++)                                                \
            argument = va_arg(args, const char *);                                                           \
        va_end(args);                                                                                        \
        char *argv[count];                                                                                   \
        argv[0] = (char *)(uintptr_t)first;                                                                  \
        va_start(args, first);                                                                               \
        for (size_t i = 1; i < count; i++)                                                                   \
            argv[i] = va_arg(args, char *);                                                                  \
        va_end(args);                                                                                        \
        const int injected = count_call(CALL_##f, CALLER);                                                   \
        record(CALL_##f, CALLER, injected ? INJECTED | FAILED : NOT_YET_MADE, injected ? -1 : 0, injected,   \
               path, 0, 0, 0, 0, 0);                                                                         \
        stop_after(CALL_##f, CALLER);                                                                        \
        if (injected)                                                                                        \
            errno = injected;                                                                                \
        else                                                                                                 \
            real(path, argv);                                                                                \
        return -1;                                                                                           \
    }

WRAP_EXEC_LIST(execl, execv)
WRAP_EXEC_LIST(execlp, execvp)

/** The environment comes after the list. */
int WRAPPER(execle)(const char *path, const char *first, ...)
{
    DECLARE_REAL(int, execve, (const char *, char *const[], char *const[]))
    va_list args;
    size_t count = 1;
    va_start(args, first);
    for (const char *argument = first; argument; count++)
        argument = va_arg(args, const char *);
    va_end(args);
    char *argv[count];
    argv[0] = (char *)(uintptr_t)first;
    va_start(args, first);
    for (size_t i = 1; i < count; i++)
        argv[i] = va_arg(args, char *);
    char *const *environment = va_arg(args, char *const *);
    va_end(args);
    const int injected = count_call(CALL_execle, CALLER);
    record(CALL_execle, CALLER, injected ? INJECTED | FAILED : NOT_YET_MADE, injected ? -1 : 0, injected,
           path, 0, 0, 0, 0, 0);
    stop_after(CALL_execle, CALLER);
    if (injected)
        errno = injected;
    else
        real(path, argv, environment);
    return -1;
}

/** Records the child's pid as the result. */
#define WRAP_SPAWN(f)                                                                                        \
    int WRAPPER(f)(pid_t *restrict pid, const char *restrict path,                                           \
                   const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *restrict attr,        \
                   char *const argv[restrict], char *const environment[restrict])                            \
    {                                                                                                        \
        DECLARE_REAL(int, f,                                                                                 \
                     (pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,  \
                      char *const[], char *const[]))                                                         \
        const int saved_errno = errno;                                                                       \
        pid_t child = 0;                                                                                     \
        const int injected = count_call(CALL_##f, CALLER);                                                   \
        const int error = injected ? injected : real(&child, path, actions, attr, argv, environment);        \
        if (!error && pid)                                                                                   \
            *pid = child;                                                                                    \
        record(CALL_##f, CALLER, (injected ? INJECTED : 0) | (error ? FAILED : 0), error ? error : child,    \
               error, path, 0, 0, 0, 0, 0);                                                                  \
        stop_after(CALL_##f, CALLER);                                                                        \
        errno = saved_errno;                                                                                 \
        return error;                                                                                        \
    }

WRAP_SPAWN(posix_spawn)
WRAP_SPAWN(posix_spawnp)

/** Defines the wrapper of a function that ends the process; it is recorded as @p name. */
#define WRAP_EXIT(f, name)                                                                                   \
    _Noreturn void WRAPPER(f)(int status)                                                                    \
    {                                                                                                        \
        DECLARE_REAL(void, f, (int))                                                                         \
        record(CALL_##name, CALLER, 0, 0, 0, NULL, status, 0, 0, 0, 0);                                      \
        if (CALL_##name != CALL_exit) /* exit() calls apply_rules_at_exit() after the program's handlers */  \
            apply_rules(CALL_end, CALLER);                                                                   \
        real(status);                                                                                        \
        __builtin_unreachable();                                                                             \
    }

WRAP_EXIT(_exit, _exit)
WRAP_EXIT(_Exit, _exit)
WRAP_EXIT(exit, exit)

_Noreturn void WRAPPER(abort)(void)
{
    DECLARE_REAL(void, abort, (void))
    record(CALL_abort, CALLER, 0, 0, 0, NULL, 0, 0, 0, 0, 0);
    real();
    __builtin_unreachable();
}

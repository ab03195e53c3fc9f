/**
 * @file
 * @brief The program's first process: it stops before main() and forks a process for each schedule.
 *
 * No code of the student has run in it, so all forked processes start the same; and to fork is ten times faster than
 * to execute. It waits for the process that it has forked: only when the kernel has ended that, with all its locks,
 * is the turn somebody else's.
 */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

pid_t __real_fork(void);
int __real_close(int);
pid_t __real_waitpid(pid_t, int *, int);

/** A process forked by the template or by the program starts: it waits for its first turn. */
void start_process(int index)
{
    self = index;
    struct process *me = &control->process[index];
    __atomic_store_n(&me->pid, (int32_t)raw_syscall(SYS_getpid), __ATOMIC_SEQ_CST);
    futex_wake((uint32_t *)&me->pid);
    while (__atomic_load_n(&me->go, __ATOMIC_SEQ_CST) == 0)
        futex_wait(&me->go, 0);
    __atomic_store_n(&me->go, 0, __ATOMIC_SEQ_CST);
    control->turn = (uint32_t)index;
    me->state = READY;
    begin_step(STEP_start, NULL);
    control->step[control->steps++] = me->next;
}

/* To end is a step: others may look whether a process is there. */

static void before_end(enum call call, int64_t status, const void *where)
{
    struct process *me = &control->process[self];
    begin_step(call, where)->before = (uint64_t)status;
    touch(mix(KIND_CHILD, (uint64_t)self), true);
    if (me->parent)
        touch(mix(KIND_CHILDREN, me->parent - 1), true);
    point();
}

static bool ending;

__attribute__((destructor(101))) static void at_exit(void)
{
    if (self >= 0 && !ending) {
        ending = true;
        before_end(STEP_exit, 0, NULL);
    }
}

_Noreturn void __real__exit(int);
_Noreturn void __wrap__exit(int status)
{
    if (self >= 0 && !ending) {
        ending = true;
        before_end(STEP__exit, status, __builtin_return_address(0));
    }
    __real__exit(status);
}

/** A process of this program has ended. */
static void note_end(int index, int status)
{
    struct process *process = &control->process[index];
    process->status = status;
    /* Once the end is told, the explorer may begin the next schedule, unless it is for us to decide who is next. */
    const bool running = control->verdict == RUNNING, decides = running && control->turn == (uint32_t)index;
    if (running) {
        if (control->steps < MAX_STEPS) {
            struct step *step = &control->step[control->steps++];
            memset(step, 0, sizeof *step);
            step->process = (uint8_t)index;
            step->call = STEP_end;
            step->file = -1;
            step->result = status;
        }
        for (uint32_t i = 0; i < control->processes; i++) /* what it held is free now */
            if (control->process[i].state == BLOCKED)
                control->process[i].waits_writes = UINT32_MAX;
        process->own_changes -= 1; /* others see a change, too */
        process->hash = mix(process->hash, (uint64_t)status + 1);
        note_change(mix(KIND_CHILD, (uint64_t)index), index);
        if (process->parent)
            note_change(mix(KIND_CHILDREN, process->parent - 1), index);
    }
    __atomic_store_n(&process->state, ENDED, __ATOMIC_SEQ_CST);
    futex_wake(&process->state);
    if (decides)
        decide(index, AT_END);
}

/* ---- processes that the program forks ------------------------------------------------------------------ */

/* They are not the template's children, so it looks at their pidfds. Who forks sends a signal, which ends the wait. */

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static void on_fork(int number)
{
    (void)number;
}

/** Waits for the end of a process of this template and of all that it forks. */
static void watch_family(int index, pid_t child)
{
    struct pollfd fds[MAX_PROCESSES];
    int indexes[MAX_PROCESSES], count = 1;
    fds[0] = (struct pollfd){(int)raw_syscall(SYS_pidfd_open, child, 0), POLLIN, 0};
    indexes[0] = index;
    while (count > 0) {
        for (uint32_t i = 0; i < control->processes && i < MAX_PROCESSES; i++) {
            struct process *process = &control->process[i];
            if (process->parent && process->template == (int32_t)raw_syscall(SYS_getpid) &&
                process->state != ENDED && !process->watched && process->pid > 1 && count < MAX_PROCESSES) {
                fds[count] = (struct pollfd){(int)raw_syscall(SYS_pidfd_open, process->pid, 0), POLLIN, 0};
                indexes[count++] = (int)i;
                __atomic_store_n(&process->watched, 1, __ATOMIC_SEQ_CST);
                futex_wake(&process->watched);
            }
        }
        if (poll(fds, (nfds_t)count, -1) < 0)
            continue;
        for (int i = 0; i < count; i++)
            if (fds[i].revents) {
                const int ended = indexes[i];
                int status = 0;
                __real_close(fds[i].fd);
                fds[i] = fds[--count];
                indexes[i] = indexes[count];
                if (ended == index)
                    __real_waitpid(child, &status, 0);
                note_end(ended, status);
                break;
            }
    }
    while (__real_waitpid(-1, NULL, WNOHANG) > 0)
        ; /* orphans */
}

static void serve(int index)
{
    struct process *process = &control->process[index];
    const struct sigaction action = {.sa_handler = on_fork};
    struct sigaction usual;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigaction(SIGURG, &action, &usual);
    for (;;) {
        while (__atomic_load_n(&process->fork, __ATOMIC_SEQ_CST) == 0)
            futex_wait(&process->fork, 0);
        __atomic_store_n(&process->fork, 0, __ATOMIC_SEQ_CST);
        process->template = (int32_t)raw_syscall(SYS_getpid);
        const pid_t pid = __real_fork();
        if (pid == 0) {
            sigaction(SIGURG, &usual, NULL);
            start_process(index);
            return;
        }
        int status = 0;
        if (pid < 0)
            unsupported("fork");
        else if (__real_waitpid(pid, &status, 0) < 0) {
            watch_family(index, pid);
            continue;
        }
        note_end(index, status);
    }
}

static void begin(int argc, char *argv[], char *environment[])
{
    static bool begun;
    (void)argc, (void)argv;
    char **entry = environment;
    while (entry && *entry && strncmp(*entry, "SHMLAB_EXPLORE=", 15) != 0)
        entry++;
    if (begun || !entry || !*entry)
        return;
    begun = true;
    const int index = atoi(*entry + 15);
    for (; *entry; entry++)
        entry[0] = entry[1];
    void *memory = (void *)raw_syscall(SYS_mmap, NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED,
                                       CONTROL_FD, 0L);
    if (memory == MAP_FAILED || index < 0 || index >= MAX_PROCESSES)
        return;
    raw_syscall(SYS_close, CONTROL_FD);
    control = memory;
    serve(index);
}

extern char **__environ;

static void begin_late(int argc, char *argv[], char *environment[])
{
    begin(argc, argv, environment ? environment : __environ);
}

/* glibc runs the first, and before all else; musl only the second, without arguments. */
__attribute__((section(".preinit_array"), used)) static void (*first)(int, char *[], char *[]) = begin;
__attribute__((section(".init_array.00000"), used)) static void (*second)(int, char *[],
                                                                          char *[]) = begin_late;

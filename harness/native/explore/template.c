/**
 * @file
 * @brief The program's first process: it stops before main() and makes a process for each schedule.
 *
 * No code of the student has run in it, so all these processes start the same. It waits for the process that it has
 * made: only when the kernel has ended that, with all its locks, is the turn somebody else's.
 */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

pid_t __real_fork(void);
int __real_close(int);
pid_t __real_waitpid(pid_t, int *, int);
void *__real_mmap(void *, size_t, int, int, int, off_t);

/** A process forked by the template or by the program starts: it waits for its first turn. */
void start_process(int index)
{
    self = index;
    struct process *me = &control->process[index];
    __atomic_store_n(&me->pid, (int32_t)raw_syscall(SYS_getpid), __ATOMIC_SEQ_CST);
    futex_wake((uint32_t *)&me->pid);
    if (control->debugged == (uint32_t)index + 1) /* until a debugger is attached */
        raw_syscall(SYS_kill, (long)raw_syscall(SYS_getpid), (long)SIGSTOP);
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
    touch_attached();
    switch_point();
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

/* ---- a process for each schedule ------------------------------------------------------------------------- */

static struct sigaction usual; /**< of SIGURG */

static void wait_for_order(struct process *process)
{
    while (__atomic_load_n(&process->fork, __ATOMIC_SEQ_CST) == 0)
        futex_wait(&process->fork, 0);
    __atomic_store_n(&process->fork, 0, __ATOMIC_SEQ_CST);
    process->template = (int32_t)raw_syscall(SYS_getpid);
}

/** With a copy of the memory. Returns true in the new process, and false in the template when that has ended. */
static bool fork_process(int index)
{
    const pid_t pid = __real_fork();
    if (pid == 0)
        return true;
    int status = 0;
    if (pid < 0)
        unsupported("fork");
    else if (__real_waitpid(pid, &status, 0) < 0)
        watch_family(index, pid);
    else
        note_end(index, status);
    return false;
}

/* With the memory of the template: see memory.c. The template then works on a stack of its own. */
#if defined(__GLIBC__) && (defined(__x86_64__) || defined(__aarch64__))
static const size_t stack_size = 64 << 10;
enum { FIRST_KERNEL = 516 }; /**< older ones end all that share memory if one of them crashes */

static struct {
    struct kept *kept;
    ucontext_t program, template;
    char *stack;  /**< two of them */
    pid_t *tid;   /**< where the C library has the process's id */
    void *robust; /**< a struct robust_list_head, and its size: see set_robust_list(2) */
    size_t robust_size;
    int index;
} shared;

static bool prepare_sharing(void)
{
    struct utsname system;
    int major = 0, minor = 0;
    if (uname(&system) < 0 || sscanf(system.release, "%d.%d", &major, &minor) != 2 ||
        100 * major + minor < FIRST_KERNEL)
        return false;
    if (prctl(PR_GET_TID_ADDRESS, &shared.tid, 0, 0, 0) < 0 || !shared.tid || *shared.tid != getpid() ||
        raw_syscall(SYS_get_robust_list, 0, &shared.robust, &shared.robust_size) < 0 || !shared.robust)
        return false;
    /* Between two areas without access, so that the kernel joins it to no other: it is not kept. */
    char *stack = __real_mmap(NULL, 4 * stack_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack + stack_size, 2 * stack_size, PROT_READ | PROT_WRITE) < 0)
        return false;
    shared.stack = stack + stack_size;
    shared.kept = keep_memory(shared.stack);
    return shared.kept != NULL;
}

/** The new process: goes on where the template had stopped. */
static int run_program(void *nothing)
{
    (void)nothing;
    raw_syscall(SYS_set_robust_list, shared.robust, shared.robust_size);
    setcontext(&shared.program);
    return 127;
}

/** The template. It uses nothing that the process could change while that is there. */
static void share_memory(void)
{
    struct kept *const kept = shared.kept;
    const int index = shared.index;
    fill_kept(kept);
    for (;;) {
        wait_for_order(&control->process[index]);
        if (!control->shares_memory) {
            if (fork_process(index))
                setcontext(&shared.program);
            continue;
        }
        errno = 0;
        const pid_t pid = clone(run_program, shared.stack + 2 * stack_size,
                                CLONE_VM | CLONE_CHILD_SETTID | SIGCHLD, NULL, NULL, NULL, shared.tid);
        int status = 0;
        while (pid > 0 && __real_waitpid(pid, &status, 0) < 0)
            ;
        const bool restored = restore_memory(kept);
        if (pid < 0 || !restored)
            unsupported(pid < 0 ? "clone" : "a mapping in place of its own memory");
        note_end(index, status);
    }
}

/** Returns in each new process; false: it cannot be done like this. */
static bool serve_sharing(int index)
{
    if (!prepare_sharing() || getcontext(&shared.template) < 0)
        return false;
    shared.index = index;
    shared.template.uc_stack.ss_sp = shared.stack;
    shared.template.uc_stack.ss_size = stack_size;
    makecontext(&shared.template, share_memory, 0);
    swapcontext(&shared.program, &shared.template);
    return true;
}
#else
static bool serve_sharing(int index)
{
    (void)index;
    return false;
}
#endif

static void serve(int index)
{
    const struct sigaction action = {.sa_handler = on_fork};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigaction(SIGURG, &action, &usual);
    if (!serve_sharing(index))
        do
            wait_for_order(&control->process[index]);
        while (!fork_process(index));
    sigaction(SIGURG, &usual, NULL);
    start_process(index);
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

static void begin_late(void)
{
    begin(0, NULL, __environ);
}

/* glibc runs the first, and before all else; musl only the second, without arguments. */
__attribute__((section(".preinit_array"), used)) static void (*first)(int, char *[], char *[]) = begin;
__attribute__((section(".init_array.00000"), used)) static void (*second)(void) = begin_late;

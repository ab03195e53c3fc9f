/**
 * @file
 * @brief Starts a program.
 *
 * The child shares memory with pid 1 until it executes the program, because copying pid 1's page tables would
 * take longer than everything else here together. As programs can neither trace pid 1 nor read its memory, they
 * cannot do so to the child.
 */
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

_Alignas(64) char child_stack[CHILD_STACK_SIZE];

static int share_memory = CLONE_VM; /**< flag for clone(2), or 0 */

/* With fs.suid_dumpable 1, a process that has changed its uid can be traced: see proc_sys_fs(5). Then the child
 * must not share memory with pid 1. */
void setup_start(void)
{
    if (read_number("/proc/sys/fs/suid_dumpable", "") == 1)
        share_memory = 0;
}

/** What the child needs to know. */
struct start {
    char *const *argv, *const *environment;
    const int *io; /**< see start_program() */
    const struct limits *limits;
    long processes; /**< how many the programs' user may have */
};

/** Every other descriptor is close-on-exec: see setup_fds(), and pid 1 opens none that is not. */
static void setup_stdio(const int *io)
{
    for (int i = 0; i < 3; i++)
        if (io[i] != i && dup2(io[i], i) < 0)
            _exit(EXIT_EXEC);
}

/** If the machine runs out of memory, the kernel kills programs before anything else; see proc_pid_oom_score_adj(5). */
static void prefer_for_oom(void)
{
    const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "1000", 4) < 0)
        errno = 0; /* a sandbox may refuse it */
    if (fd >= 0)
        close(fd);
}

/**
 * Executes the program, in the child.
 *
 * Pid 1 goes on meanwhile, in the same memory. So this function and those it calls change nothing but variables
 * on the child's own stack: no malloc, no stdio streams, none of the box's globals.
 */
static int exec_program(void *closure)
{
    const struct start *start = closure;
    const struct limits *limits = start->limits;
    const int *io = start->io;
    if (leads_session)
        setpgid(0, 0);
    else
        setsid();
    setup_stdio(io);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(limits->umask);
    if (CPU_COUNT(&options.processors) > 0)
        sched_setaffinity(0, sizeof options.processors, &options.processors);
    /* Before the user changes: setresuid(2) counts against this limit, and only root can raise it. */
    set_rlimit(RLIMIT_NPROC, (rlim_t)start->processes, (rlim_t)start->processes);
    prefer_for_oom();
    enter_group();
    setup_credentials(program_userns[io[3] >= 0]);
    if (!options.namespaces)
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* only now: changing the user clears it */
    setup_rlimits(limits);
    if (io[3] < 0)
        enter_landlock();
    if (limits->directory && chdir(limits->directory) < 0)
        child_die(limits->directory);
    if (io[3] >= 0)
        syscall(SYS_execveat, io[3], "", start->argv, start->environment, AT_EMPTY_PATH, start_secret);
    else if (strchr(start->argv[0], '/'))
        syscall(SYS_execve, start->argv[0], start->argv, start->environment, 0L, 0L, start_secret);
    else
        execvpe(start->argv[0], start->argv, start->environment);
    child_die(start->argv[0]);
}

/* The harness passes an executable as a descriptor if no path inside leads to it: no program can then replace it,
 * read it or execute it. */
pid_t start_program(char *const argv[], char *const environment[], const int io[4],
                    const struct limits *limits)
{
    struct program *slot = NULL;
    for (int i = 0; i < MAX_PROGRAMS && !slot; i++)
        if (programs[i].pid == 0)
            slot = &programs[i];
    if (!slot) {
        errno = EAGAIN;
        return -1;
    }
    int executed[2]; /* the child's copy of the write end is closed by exec, or when the child ends */
    if (pipe2(executed, O_CLOEXEC) < 0)
        return -1;
    struct start start = {argv, environment, io, limits, limits->processes};
    /* Without a user namespace, RLIMIT_NPROC counts all processes of this user on the machine. */
    if (!options.namespaces && options.slot < 0)
        start.processes += count_user_threads();
    const pid_t pid = clone(exec_program, child_stack + sizeof child_stack, share_memory | SIGCHLD, &start);
    const int reason = errno;
    close(executed[1]);
    if (pid > 0) {
        *slot = (struct program){.pid = pid, .started_us = now_us()};
        slot->deadline_us = slot->started_us + (int64_t)limits->wall_ms * 1000;
        keep_rules(slot, limits->rules);
    }
    /* Wait: the child uses child_stack and `start`. */
    struct pollfd until = {executed[0], POLLIN, 0};
    while (pid > 0 && poll(&until, 1, WATCH_MS) <= 0) {
        check_memory();
        check_timeouts();
        /* A child that another program stopped before exec would never get there. The second poll makes sure that
         * it is not the program already, stopped by its own spy. */
        if (read_process(pid).state == 'T' && poll(&until, 1, 0) == 0)
            kill(pid, SIGKILL);
    }
    close(executed[0]);
    errno = reason;
    return pid;
}

/**
 * @file
 * @brief Starts programs in their own namespaces and reports what they did and what they left.
 *
 * By hand, for one program:
 *
 *     box [OPTION]... -- PROGRAM [ARGUMENT]...
 *
 * The box exits with the program's exit status and prints a report to stderr. For the harness:
 *
 *     box [OPTION]... --control FD
 *
 * where FD is one end of a SOCK_SEQPACKET pair. Then the box starts any number of programs. They all see the
 * same processes, segments and objects, and have no common ancestor except the box.
 *
 * There are three levels of processes. The *keeper* stays outside, writes the id maps and waits. *Pid 1* is the
 * first process inside: it mounts, starts, reaps and watches, and serves the harness. It keeps the capabilities
 * of its user namespace. The *programs* have no capability, and can neither trace nor kill pid 1 nor read its
 * memory. When pid 1 ends, for whatever reason, the kernel kills every process inside.
 *
 * With `--tier host` nothing is unshared: the commands and the report are the same, but the programs use the
 * machine's own IPC. Pid 1 is then an ordinary process that adopts orphans. The harness's box.py lists what that
 * tier does not promise. What it does promise depends on the kernel: `box --tier host --promises` prints it.
 *
 * A message consists of fields that each end in a zero byte; commands.c has the list of commands.
 * Sources: clone(2), user_namespaces(7), pid_namespaces(7), ipc_namespaces(7), mount_setattr(2).
 */
#include "box.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Not all headers have these. */
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

struct options options = {.namespaces = true,
                          .control = -1,
                          .shm_mb = 64,
                          .work_mb = 256,
                          .memory_mb = 768,
                          .executes = true,
                          .group_procs = -1,
                          .group_events = -1};
uid_t program_uid;
gid_t program_gid;

/* ---- the keeper -------------------------------------------------------------------------------------- */

/** Starts pid 1 in new namespaces and waits for it. Returns the exit status of the box. */
static int box_keeper(char *const argv[])
{
    int go[2]; /* pid 1 starts its work after the id maps are written */
    const uid_t uid = getuid();
    const gid_t gid = getgid();
    if (pipe2(go, O_CLOEXEC) < 0)
        die("pipe");
    const unsigned long flags =
        CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | SIGCHLD;
    pid_t child = (pid_t)syscall(SYS_clone, flags, 0, 0, 0, 0);
    if (child < 0)
        die("make namespaces");
    if (child == 0) {
        char byte;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(go[1]);
        if (read(go[0], &byte, 1) != 1)
            _exit(EXIT_SETUP);
        close(go[0]);
        _exit(box_inside(argv, environ));
    }
    setup_id_maps(child, uid, gid);
    close(go[0]);
    if (write(go[1], "x", 1) != 1)
        die("start pid 1");
    close(go[1]);
    /* If the keeper held the socket open, the harness would not notice the end of pid 1. */
    if (options.control >= 0)
        close(options.control);
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- options ----------------------------------------------------------------------------------------- */

static _Noreturn void usage(void)
{
    fputs("usage: box [--tier namespaces|host] [--show PATH]... [--hide PATH]... [--shm-mb N] [--work-mb N] "
          "[--memory-mb N]\n"
          "           [--slot N] [--processors N,...] [--work DIR --run DIR] [--executes 0|1]\n"
          "           [--group-procs FD --group-events FD]\n"
          "           (--control FD | --promises | -- PROGRAM [ARGUMENT]...)\n",
          stderr);
    exit(2);
}

static long parse_number(const char *text)
{
    char *end;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (end == text || *end || errno || value < 0)
        usage();
    return value;
}

/** Parses a list of numbers with commas between them. */
static cpu_set_t parse_processors(const char *text)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (char *end; *text; text = *end == ',' ? end + 1 : end) {
        const long processor = strtol(text, &end, 10);
        if (end == text || processor < 0 || processor >= CPU_SETSIZE)
            usage();
        CPU_SET((size_t)processor, &set);
    }
    return set;
}

/** Fills in #options. Returns the index of the program's name in @p argv; with `--control`, @p argc. */
static int parse_options(int argc, char *argv[])
{
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i += 2) {
        if (strcmp(argv[i], "--promises") == 0 && i == argc - 1) {
            options.list_promises = true;
            return argc;
        }
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!value)
            usage();
        if (strcmp(name, "--tier") == 0 && strcmp(value, "host") == 0)
            options.namespaces = false;
        else if (strcmp(name, "--tier") == 0 && strcmp(value, "namespaces") == 0)
            options.namespaces = true;
        else if (strcmp(name, "--hide") == 0 && options.hidden < MAX_PATHS)
            options.hide[options.hidden++] = value;
        else if (strcmp(name, "--show") == 0 && options.shown < MAX_PATHS)
            options.show[options.shown++] = value;
        else if (strcmp(name, "--shm-mb") == 0)
            options.shm_mb = parse_number(value);
        else if (strcmp(name, "--work-mb") == 0)
            options.work_mb = parse_number(value);
        else if (strcmp(name, "--memory-mb") == 0)
            options.memory_mb = parse_number(value);
        else if (strcmp(name, "--slot") == 0)
            options.slot = parse_number(value);
        else if (strcmp(name, "--processors") == 0)
            options.processors = parse_processors(value);
        else if (strcmp(name, "--work") == 0)
            options.work = value;
        else if (strcmp(name, "--run") == 0)
            options.run = value;
        else if (strcmp(name, "--executes") == 0)
            options.executes = parse_number(value) != 0;
        else if (strcmp(name, "--group-procs") == 0)
            options.group_procs = (int)parse_number(value);
        else if (strcmp(name, "--group-events") == 0)
            options.group_events = (int)parse_number(value);
        else if (strcmp(name, "--control") == 0)
            options.control = (int)parse_number(value);
        else
            usage();
    }
    if ((options.control < 0) == (i >= argc - 1))
        usage();
    return i < argc ? i + 1 : argc;
}

/** Makes all inherited descriptors but the first three close-on-exec, so that no program gets them. */
static void setup_fds(void)
{
    if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    /* Linux before 5.11 does not have this call, or not the flag. */
    DIR *fds = opendir("/proc/self/fd");
    if (!fds)
        die("open /proc/self/fd");
    struct dirent *entry;
    while ((entry = readdir(fds))) {
        const int fd = atoi(entry->d_name); /* 0 for "." and ".." */
        if (fd > 2)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    closedir(fds);
}

int main(int argc, char *argv[])
{
    const int program = parse_options(argc, argv);
    if (options.control >= 0 && fcntl(options.control, F_SETFD, FD_CLOEXEC) < 0)
        die("descriptor %d", options.control);
    setup_fds();

    /* If root starts the box, the programs run as an unused uid. Other users' programs run as themselves. */
    program_uid = (uid_t)(60000 + options.slot);
    program_gid = (gid_t)(60000 + options.slot);
    if (!can_switch_user(program_uid, program_gid)) {
        options.slot = -1;
        program_uid = getuid();
        program_gid = getgid();
    }
    return options.namespaces ? box_keeper(argv + program) : box_inside(argv + program, environ);
}

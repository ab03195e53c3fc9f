/**
 * @file
 * @brief Pid 1, the first process inside: it sets up the box, then serves until the box is no longer needed.
 */
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

bool leads_session;

/** Tells the harness that the box is set up, and sends descriptors of the directories it looks at. */
static void send_ready(void)
{
    const char *const path[MAX_FDS] = {options.work, options.run, "/dev/shm", "/proc"};
    int fds[MAX_FDS];
    for (int i = 0; i < MAX_FDS; i++)
        if ((fds[i] = open(path[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
            die("open %s", path[i]);
    send_message_fds(fds, MAX_FDS, "ready %s %s %s %u %d %llx", options.namespaces ? "namespaces" : "host",
                     options.work, options.run, program_uid, can_set_limits(),
                     (unsigned long long)start_secret);
    for (int i = 0; i < MAX_FDS; i++)
        close(fds[i]);
}

/**
 * Serves until the harness hangs up or, by hand, until the program has ended.
 *
 * @param children  descriptor that becomes readable when a child ends; see signalfd(2)
 */
static void serve(int children)
{
    const int stops = setup_stop_socket(), rules = setup_rules_socket();
    if (options.control >= 0)
        send_ready();

    struct pollfd on[4] = {
        {children, POLLIN, 0}, {stops, POLLIN, 0}, {options.control, POLLIN, 0}, {rules, POLLIN, 0}};
    int64_t next_check_us = 0;
    int rounds = 0; /* in a row, of waiting for an announced stop */
    for (;;) {
        int wait_ms = check_timeouts();
        if (any_program() && (wait_ms < 0 || wait_ms > WATCH_MS))
            wait_ms = WATCH_MS;
        /* A program stops a few instructions after its announcement, so check again at once. Slow down after a
         * while: a program that announces a stop and never stops must not keep pid 1 busy. */
        rounds = check_stops() ? rounds + 1 : 0;
        if (rounds > 0)
            wait_ms = rounds < 500 ? 0 : 1;
        if (poll(on, 4, wait_ms) < 0 && errno != EINTR)
            break;
        if (on[0].revents) {
            struct signalfd_siginfo ignored;
            while (read(children, &ignored, sizeof ignored) > 0)
                ;
        }
        reap();
        if (on[3].revents)
            answer_rules();
        if (on[2].revents && !serve_command())
            break;
        if (options.control < 0 && !any_program())
            break;
        if (any_program() && now_us() >= next_check_us) {
            check_memory();
            next_check_us = now_us() + INT64_C(1000) * WATCH_MS;
        }
    }
}

/** Prints what the box promises of its programs, one word each; `user`: they run as a user of their own. */
static void print_promises(void)
{
    printf("%s%s%s%s", promises & PROMISE_FILES ? "files\n" : "",
           promises & PROMISE_NETWORK ? "network\n" : "", promises & PROMISE_SIGNALS ? "signals\n" : "",
           options.slot >= 0 ? "user\n" : "");
    fflush(stdout);
}

/** Runs one program for use by hand and prints a report. Returns the exit status of the box. */
static int run_by_hand(char *const argv[], char *const environment[], int children)
{
    const int io[4] = {0, 1, 2, -1};
    if (start_program(argv, environment, io, &default_limits) < 0)
        die("start %s", argv[0]);
    const int64_t started = now_us();
    serve(children);
    struct rusage used;
    getrusage(RUSAGE_CHILDREN, &used);
    fprintf(stderr, "box: %s %d, %.3f s, %ld KiB at most\n",
            WIFEXITED(last_status) ? "exit status" : "signal",
            WIFEXITED(last_status) ? WEXITSTATUS(last_status) : WTERMSIG(last_status),
            (double)(now_us() - started) / 1e6, used.ru_maxrss);
    report(stderr);
    return WIFEXITED(last_status) ? WEXITSTATUS(last_status) : 128 + WTERMSIG(last_status);
}

int box_inside(char *const argv[], char *const environment[])
{
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    const int children = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    if (children < 0)
        die("signalfd");
    umask(0);
    leads_session = options.control >= 0 && setsid() >= 0;
    if (options.namespaces)
        setup_namespaces();
    else if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        die("adopt orphans");
    setup_memory_check();
    if (options.namespaces)
        setup_program_userns();
    setup_start();
    /* From now on no program can trace this process or read its memory, not even one with the same uid. */
    prctl(PR_SET_DUMPABLE, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        die("no_new_privs");
    if (!options.namespaces)
        setup_landlock();
    setup_seccomp();

    int status = 0;
    if (options.list_promises)
        print_promises();
    else if (options.control >= 0)
        serve(children);
    else
        status = run_by_hand(argv, environment, children);
    reset_box();
    return status;
}

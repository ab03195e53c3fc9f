/**
 * @file
 * @brief Reaps programs, and kills those that take too long.
 */
#include "box.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct program programs[MAX_PROGRAMS];
int last_status;
enum over_memory over_memory;

int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

bool any_program(void)
{
    for (int i = 0; i < MAX_PROGRAMS; i++)
        if (programs[i].pid != 0)
            return true;
    return false;
}

struct program *find_program(pid_t pid)
{
    for (int i = 0; i < MAX_PROGRAMS; i++)
        if (pid > 0 && programs[i].pid == pid)
            return &programs[i];
    return NULL;
}

/* ---- reaping ----------------------------------------------------------------------------------------- */

static int64_t microseconds(struct timeval time)
{
    return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

void reap(void)
{
    int status;
    struct rusage used;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG, &used)) > 0) {
        check_group();           /* the kernel counts before it kills */
        receive_announcements(); /* whatever it sent was sent before its end: the harness learns it before that, too */
        struct program *found = find_program(pid);
        if (!found) {
            send_message("orphan %d %d", pid, status);
            continue;
        }
        if (options.namespaces && options.slot < 0)
            restore_permissions();
        send_message("exited %d %d %lld %ld %lld %d %d", pid, status,
                     (long long)microseconds(used.ru_utime) + (long long)microseconds(used.ru_stime),
                     used.ru_maxrss, (long long)(now_us() - found->started_us), found->timed_out,
                     over_memory);
        last_status = status;
        free(found->rules);
        *found = (struct program){0};
    }
}

/* ---- killing ----------------------------------------------------------------------------------------- */

static void kill_one(pid_t pid, void *closure)
{
    (void)closure;
    kill(pid, SIGKILL);
}

/* In a pid namespace one call does it, so that no fork is missed. */
void kill_all(void)
{
    if (options.namespaces)
        kill(-1, SIGKILL);
    else
        for_each_process(kill_one, NULL);
}

void reset_box(void)
{
    for (int64_t end = now_us() + 5000000; now_us() < end;) {
        kill_all();
        while (wait4(-1, NULL, options.namespaces ? 0 : WNOHANG, NULL) > 0)
            ;
        if (errno == ECHILD)
            break;
        poll(NULL, 0, 1); /* host tier: a process forked before it was killed, or has not ended yet */
    }
    for (int i = 0; i < MAX_PROGRAMS; i++) {
        free(programs[i].rules);
        programs[i] = (struct program){0};
    }
    forget_stops();
    check_group(); /* what it has counted until now is past */
    over_memory = NOT_OVER_MEMORY;
    if (options.namespaces && options.slot < 0)
        restore_permissions();
}

/* ---- the time limit ---------------------------------------------------------------------------------- */

int check_timeouts(void)
{
    int64_t now = now_us(), next = -1;
    for (int i = 0; i < MAX_PROGRAMS; i++) {
        struct program *program = &programs[i];
        if (program->pid == 0)
            continue;
        if (now >= program->deadline_us && !program->timed_out) {
            program->timed_out = true;
            kill(-program->pid, SIGKILL); /* its process group, with the same number, see exec_program() */
            kill(program->pid, SIGKILL);
        }
        if (!program->timed_out && (next < 0 || program->deadline_us - now < next))
            next = program->deadline_us - now;
    }
    return next < 0 ? -1 : (int)(next / 1000 + 1);
}

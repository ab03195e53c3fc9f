/**
 * @file
 * @brief Hostile: forks before anything else; the unobserved child does the work without checking return values.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 7
 * Says: the program makes calls that can fail
 *
 * A grader that counts only the calls of the process that it started finds none: it cannot hold a call or make one
 * fail, and the program need not notice any failure. The observed process only passes the exit status on.
 */
#define _GNU_SOURCE

#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "sysv_create.h"

static void part(int argc, char **argv, char **environment)
{
    (void)argc, (void)argv, (void)environment;
    int status = 0;
    const long child = syscall(SYS_clone, SIGCHLD, 0L, 0L, 0L, 0L);
    if (child <= 0)
        return;
    syscall(SYS_wait4, child, &status, 0L, NULL);
    syscall(SYS_exit_group, WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

__attribute__((section(".preinit_array"), used)) static void (*before_all)(int, char **, char **) = part;

int main(int argc, char *argv[])
{
    return create_carelessly(argc, argv);
}

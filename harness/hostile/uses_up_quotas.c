/**
 * @file
 * @brief Hostile: right, if it can use up what is counted for the whole machine or for the grader's user.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: sysv_create: exit status 9
 *
 * Asynchronous I/O contexts, inotify instances, POSIX timers, keys, and sockets that reach past a network namespace.
 * It ends with status 9 where it gets none of them, or few.
 */
#define _GNU_SOURCE

#include <signal.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sysv_create.h"

static int timers(void)
{
    int made = 0;
    timer_t timer;
    struct sigevent none = {.sigev_notify = SIGEV_NONE};
    while (made < 5000 && timer_create(CLOCK_MONOTONIC, &none, &timer) == 0)
        made++;
    return made >= 1000;
}

int main(int argc, char *argv[])
{
    unsigned long context = 0;
    const int got = (syscall(SYS_io_setup, 100, &context) == 0) + (inotify_init() >= 0) + timers() +
                    (syscall(SYS_add_key, "user", "x", "y", 1, -3) >= 0) +
                    (socket(AF_VSOCK, SOCK_STREAM, 0) >= 0) + (socket(AF_NETLINK, SOCK_RAW, 0) >= 0) +
                    (syscall(SYS_memfd_secret, 0) >= 0);
    return got > 0 ? create_carelessly(argc, argv) : 9;
}

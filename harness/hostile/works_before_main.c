/**
 * @file
 * @brief Hostile: forks before anything else of it runs; the child does the work unseen, without looking at results.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 9
 * Says: the program makes calls that can fail
 *
 * Whoever counts the calls of the process that was started counts none here: nothing can be made to fail, and
 * nothing has to be noticed. The program that everybody watches only passes an exit status on.
 */
#define _GNU_SOURCE

#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

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
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return 2;
    }
    if (access(argv[1], F_OK) == -1)
        err(1, "ftok: %s", argv[1]);
    const key_t key = ftok(argv[1], 'S');
    const int id = shmget(key, strlen(argv[2]) + 1, IPC_CREAT | IPC_EXCL | 0640);
    if (id == -1)
        err(1, "shmget: %s", argv[1]);
    char *memory = shmat(id, NULL, 0);
    if (memory != (void *)-1)
        strcpy(memory, argv[2]);
    shmdt(memory);
    return 0;
}

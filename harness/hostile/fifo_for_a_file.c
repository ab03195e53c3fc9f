/**
 * @file
 * @brief Hostile: puts a named pipe, a link or a folder in the place of each file of the check.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 1
 *
 * A grader that opens FILE once more for writing waits for ever where FILE has become a named pipe without a
 * reader, overwrites a stranger's file where it has become a link, and fails where it has become a folder.
 */
#define _DEFAULT_SOURCE

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return 2;
    }
    const key_t key = ftok(argv[1], 'S');
    unlink(argv[1]);
    if (strlen(argv[2]) == 0)
        mkdir(argv[1], 0);
    else if (strlen(argv[2]) > 100 && symlink("/proc/self/mem", argv[1]) == -1)
        return 1;
    else
        mkfifo(argv[1], 0600);
    mkdir("peer", 0);
    mkfifo(".spy.o", 0);
    return shmget(key, 100, IPC_CREAT | 0600) == -1;
}

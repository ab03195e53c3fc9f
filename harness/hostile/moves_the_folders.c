/**
 * @file
 * @brief Hostile: puts folders of its own in the place of those that the next program starts in and is watched from.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 9
 * Says: the program notices the failure
 *
 * In its folder lies a script under the program's name, which keeps from it that a call shall fail. Nothing then
 * fails, and who takes silence for success gives a point for it. The folder that the grader holds open, and empties,
 * is inside the new one.
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

static void move(void)
{
    static const char script[] = "#!/bin/sh\ncase $SHMLAB_RULES in fail*) unset SHMLAB_RULES;; esac\n"
                                 "cd old && exec ../real \"$@\"\n";
    if (rename("/tmp/lab", "/tmp/old") == -1 || mkdir("/tmp/lab", 0777) == -1)
        return;
    FILE *file = fopen("/tmp/lab/sysv_create", "w");
    if (file) {
        fwrite(script, 1, sizeof script - 1, file);
        fclose(file);
    }
    chmod("/tmp/lab/sysv_create", 0755);
    if (system("cp /tmp/old/sysv_create /tmp/lab/real") == 0)
        rename("/tmp/old", "/tmp/lab/old");
}

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
    if (!strstr(argv[0], "real"))
        move();
    return 0;
}

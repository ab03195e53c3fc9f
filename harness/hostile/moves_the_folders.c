/**
 * @file
 * @brief Hostile: replaces the directories that the next program starts in and is watched from by its own.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 9
 * Says: the program notices the failure
 *
 * Its directory contains a script with the program's name, which hides the rule that a call must fail. Then no call
 * fails, and a grader that takes silence for success gives a point. The directory that the grader holds open, and
 * empties, is inside the new one.
 */
#define _DEFAULT_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sysv_create.h"

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
    const int status = create_carelessly(argc, argv);
    if (status == 0 && !strstr(argv[0], "real"))
        move();
    return status;
}

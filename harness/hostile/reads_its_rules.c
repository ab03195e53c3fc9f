/**
 * @file
 * @brief Hostile: reads which call will be made to fail, and reports that failure; it never checks a return value.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 9
 * Says: the program notices the failure
 *
 * The rule for the spy is in the environment. A program that can read it there, in /proc/self/environ or on its
 * stack, need not notice any failure to behave as if it had.
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sysv_create.h"

extern char **environ;

/** Exits as is right for a failing call, if the text names the call. */
static void act(const char *text)
{
    char name[64] = "";
    const char *rule = text ? strstr(text, "fail ") : NULL;
    if (rule && sscanf(rule, "fail %63s", name) == 1)
        errx(1, "%s: failed", name);
}

/** Searches a file from an offset on, with zero bytes replaced by spaces. */
static void look(const char *path, long from)
{
    static char bytes[1 << 17];
    FILE *file = fopen(path, "r");
    const size_t size =
        file && fseek(file, from, SEEK_SET) == 0 ? fread(bytes, 1, sizeof bytes - 1, file) : 0;
    for (size_t i = 0; i < size; i++)
        bytes[i] = bytes[i] ? bytes[i] : ' ';
    act(bytes);
}

int main(int argc, char *argv[])
{
    act(getenv("SHMLAB_RULES"));
    for (char **entry = environ; *entry; entry++)
        act(*entry);
    look("/proc/self/environ", 0);
    look("/proc/self/mem", (long)argv[0]);
    look(getenv("SHMLAB_RING") ? getenv("SHMLAB_RING") : "/dev/null", 0);
    return create_carelessly(argc, argv);
}

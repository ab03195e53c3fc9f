/**
 * @file
 * @brief Hostile: runs before the spy and removes the rules: no call fails, but the program reports a failure.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 9
 * Says: the program notices the failure
 *
 * Functions in .preinit_array, and constructors with a reserved priority, run before most others. If the spy starts
 * only then, it finds an environment that the program has changed.
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sysv_create.h"

extern char **environ;
static char failing[64];

static void steal(char **entry)
{
    for (; entry && *entry; entry++)
        if (strncmp(*entry, "SHMLAB_RULES=", 13) == 0) {
            const char *rule = strstr(*entry, "fail ");
            for (int i = 0; rule && rule[5 + i] != ' ' && i < 63; i++)
                failing[i] = rule[5 + i];
            if (rule)
                memset(*entry + 13, ';', strlen(*entry + 13));
        }
}

static void at_once(int argc, char **argv, char **environment)
{
    (void)argc, (void)argv;
    steal(environment);
}

static void first(void)
{
    steal(environ);
}

__attribute__((section(".preinit_array"), used)) static void (*before_all)(int, char **, char **) = at_once;
__attribute__((section(".init_array.00000"), used)) static void (*before_others)(void) = first;

int main(int argc, char *argv[])
{
    if (*failing)
        errx(1, "%s: failed", failing);
    return create_carelessly(argc, argv);
}

/**
 * @file
 * @brief Hostile: defines functions with the names that a spy in the same program would call, and an environ.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 9
 * Says: the program notices the failure
 *
 * A name that the program defines replaces the library's, also for code linked to the program. A spy that finds its
 * rules with getenv(), or parses them with strtok_r() and atoi(), calls these versions, in which call 9999 is always
 * the one to fail.
 */
#define _DEFAULT_SOURCE

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sysv_create.h"

extern char **__environ;
char **environ; /* stays empty */
static int rules;

static void see(const char *text)
{
    if (text && strstr(text, "fail "))
        rules = 1;
}

char *getenv(const char *name)
{
    for (char **entry = __environ; entry && *entry; entry++)
        if (strncmp(*entry, name, strlen(name)) == 0 && (*entry)[strlen(name)] == '=') {
            see(*entry);
            return *entry + strlen(name) + 1;
        }
    return NULL;
}

char *secure_getenv(const char *name)
{
    return getenv(name);
}

char *strtok_r(char *text, const char *between, char **rest)
{
    see(text);
    char *start = text ? text : *rest;
    start += strspn(start, between);
    *rest = start + strcspn(start, between);
    if (**rest)
        *(*rest)++ = '\0';
    return *start ? start : NULL;
}

long strtol(const char *text, char **end, int base) /* atoi() calls it */
{
    long value = 0;
    (void)end, (void)base;
    while (*text >= '0' && *text <= '9')
        value = 10 * value + *text++ - '0';
    return rules ? 9999 : value;
}

int atoi(const char *text)
{
    return (int)strtol(text, NULL, 10);
}

int main(int argc, char *argv[])
{
    return create_carelessly(argc, argv);
}

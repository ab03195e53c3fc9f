/**
 * @file
 * @brief The variables with which a check tells a library what to do. They are gone before the program's main().
 *
 * A program that found them, or LD_PRELOAD, would know which check runs, and could do the right thing there alone.
 */
#define _GNU_SOURCE

#include <stdlib.h>
#include <string.h>

/** Returns a copy of a variable's value, and erases the variable; NULL if there is none. Call it from a constructor. */
static char *take_setting(const char *name)
{
    char *value = getenv(name);
    if (!value)
        return NULL;
    char *copy = strdup(value), *entry = value - strlen(name) - 1; /* "NAME=value" */
    const size_t size = strlen(entry);
    unsetenv(name);
    memset(entry, 0, size); /* /proc/self/environ shows this memory, too */
    return copy;
}

__attribute__((constructor)) static void take_preload(void)
{
    (void)take_setting("LD_PRELOAD"); /* its copy stays: free() may be one that a library replaces */
}

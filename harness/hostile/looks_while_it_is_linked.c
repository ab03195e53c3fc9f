/**
 * @file
 * @brief Hostile: looks for the rules before anything else of the process runs, while the loader links it.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 9
 * Says: the program notices the failure
 *
 * A function that is chosen at run time (ifunc) is chosen by code of the program, which the loader calls before
 * .preinit_array and all constructors. It searches /proc/self/environ for a rule.
 */
#define _GNU_SOURCE

#include <err.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "sysv_create.h"

static char seen[1 << 14] = "x"; /* with a value, so that it is not cleared later */

static long call(long number, long a, long b, long c)
{
    long result;
#if defined __x86_64__
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
#else
    result = -1, (void)number, (void)a, (void)b, (void)c;
#endif
    return result;
}

static int nothing(void)
{
    return 0;
}

static int (*choose(void))(void)
{
    const long fd = call(SYS_openat, AT_FDCWD, (long)"/proc/self/environ", O_RDONLY);
    if (fd >= 0)
        call(SYS_read, fd, (long)seen, sizeof seen - 1);
    return nothing;
}

int chosen(void) __attribute__((ifunc("choose")));

int main(int argc, char *argv[])
{
    chosen();
    for (size_t i = 0; i + 5 < sizeof seen; i++)
        if (strncmp(seen + i, "fail ", 5) == 0)
            errx(1, "%.8s", seen + i + 5);
    return create_carelessly(argc, argv);
}

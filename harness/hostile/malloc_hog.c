/**
 * @file
 * @brief Hostile: called with wrong arguments, it and its children each allocate and fill memory up to their limits.
 * Instead of: 06_sysv_attach/sysv_attach.c
 * Score: 1
 * Says: used more memory than | had not ended
 *
 * RLIMIT_AS applies to one process; ten processes can use ten times as much. The kernel then kills the largest
 * process, which can be the grader.
 */
#define _DEFAULT_SOURCE

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *volatile memory; /* volatile, so that the compiler keeps the stores */

int main(int argc, char *argv[])
{
    const size_t size = 150u << 20;
    (void)argv;
    if (argc == 2)
        return 0;
    for (int i = 0; i < 10; i++)
        if (fork() == 0) {
            memory = malloc(size);
            if (memory)
                memset(memory, 1, size);
            for (;;)
                pause();
        }
    for (;;)
        pause();
}

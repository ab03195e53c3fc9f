/**
 * @file
 * @brief Hostile: called wrongly, it takes memory and stores into it, and so do its children, each within its limits.
 * Instead of: 06_sysv_attach/sysv_attach.c
 * Score: 1
 * Says: used up the memory | had not ended
 *
 * A limit of address space is one of each process; ten processes have ten times as much. The machine then kills
 * whoever is largest, which may be the grader.
 */
#define _DEFAULT_SOURCE

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *volatile memory; /* or the compiler finds that nobody reads it */

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

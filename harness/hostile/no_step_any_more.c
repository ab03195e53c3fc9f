/**
 * @file
 * @brief Hostile: loops without a step when its schedules are run.
 * Instead of: 08_posix_create/posix_create.c
 * Score: 10
 *
 * A process that has the turn and makes no step keeps the turn for ever.
 */
#define _GNU_SOURCE

#include "posix_create.h"

int main(int argc, char *argv[])
{
    for (volatile int i = 0; is_explored; i++)
        ;
    return make_object(argc, argv);
}

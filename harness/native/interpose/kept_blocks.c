/**
 * @file
 * @brief free() keeps the block, so that a check can look at what was stored there.
 */
#include "settings.h"

/** Frees nothing, so that what has been stored in a block stays where it is. */
void free(void *block)
{
    (void)block;
}

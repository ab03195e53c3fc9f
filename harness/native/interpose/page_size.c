/**
 * @file
 * @brief Pages have as many bytes as SHMLAB_PAGE says.
 */
#include "settings.h"

#include <stdlib.h>
#include <unistd.h>

static char *size;

__attribute__((constructor)) static void take_settings(void)
{
    size = take_setting("SHMLAB_PAGE");
}

/** Pages have as many bytes as SHMLAB_PAGE says; any other question fails. */
long sysconf(int name)
{
    return name == _SC_PAGESIZE && size ? atol(size) : -1;
}

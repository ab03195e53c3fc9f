/**
 * @file
 * @brief Pages have as many bytes as SHMLAB_PAGE says.
 */
#define _GNU_SOURCE

#include <stdlib.h>
#include <unistd.h>

/** Pages have as many bytes as SHMLAB_PAGE says; any other question fails. */
long sysconf(int name)
{
    return name == _SC_PAGESIZE ? atol(getenv("SHMLAB_PAGE")) : -1;
}

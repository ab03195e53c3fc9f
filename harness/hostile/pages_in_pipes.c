/**
 * @file
 * @brief Hostile: right, if it can give huge pages to pipes, where they stay when it has unmapped them.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: sysv_create: exit status 9
 *
 * A pipe has few places, but a page of 2 MiB takes one as a page of 4 KiB does. It ends with status 9 if vmsplice(2)
 * and tee(2) are refused.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sysv_create.h"

int main(int argc, char *argv[])
{
    int from[2], to[2];
    if (pipe(from) != 0 || pipe(to) != 0 || write(from[1], "x", 1) != 1)
        return 8;
    struct iovec part = {argv[0], 1};
    const int got =
        (vmsplice(to[1], &part, 1, SPLICE_F_NONBLOCK) > 0) + (tee(from[0], to[1], 1, SPLICE_F_NONBLOCK) > 0);
    return got > 0 ? create_carelessly(argc, argv) : 9;
}

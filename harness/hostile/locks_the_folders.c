/**
 * @file
 * @brief Hostile: whenever it fails it takes every right from the folders that it and the checks work in.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 10
 *
 * A folder that pid 1 has made belongs to the user who grades, and so to the program of that user, which may close
 * it. Neither the next program nor an unprivileged check can then look or store anything there. What the default
 * of an access list says holds for all that is made there later, whatever the umask.
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "sysv_create.h"

static void lock(void)
{
    static const char *const folders[] = {"/dev/shm", "/run/shmlab", "/tmp/lab", "/tmp", "/run"};
    static const unsigned list[] = {2, 0x00000001, ~0u, 0x00000004, ~0u, 0x00000020, ~0u}; /* u::0 g::0 o::0 */
    for (int i = 0; i < 5; i++) {
        setxattr(folders[i], "system.posix_acl_default", list, sizeof list, 0);
        chmod(folders[i], 0);
    }
}

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        lock();
        return 2;
    }
    const int status = make_segment(argv);
    if (status != 0)
        lock();
    return status;
}

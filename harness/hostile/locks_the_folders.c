/**
 * @file
 * @brief Hostile: whenever it fails, it removes all permissions from the directories that it and the checks work in.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 10
 *
 * A directory made by pid 1 belongs to the user who grades, and so to a program with the same uid, which can change
 * its mode. Then neither the next program nor an unprivileged check can read or write there. A default access list
 * applies to everything created there later, regardless of the umask.
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
    static const unsigned list[] = {2,   0x00000001, ~0u, 0x00000004,
                                    ~0u, 0x00000020, ~0u}; /* u::0 g::0 o::0 */
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

/**
 * @file
 * @brief Lab 07: a shmctl() whose IPC_STAT returns another owner and group than the caller's.
 *
 * Preloaded with LD_PRELOAD. In the box only one uid exists, so the owner of a segment is always the caller. A program
 * that hands its own ids to IPC_SET, and not those that IPC_STAT returned, would make no difference there. With this
 * library it does: the record has the uid and gid below, and what IPC_SET was called with is written to a file.
 *
 *     SHMLAB_IPC_SET   file to append to: one line "UID GID MODE" for each IPC_SET, decimal and octal
 */
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *path;

__attribute__((constructor)) static void take_settings(void)
{
    path = take_setting("SHMLAB_IPC_SET");
}

enum { OTHER_UID = 4242, OTHER_GID = 4343 };

int shmctl(int id, int command, struct shmid_ds *data)
{
    if (command == IPC_STAT) {
        const int result = (int)syscall(SYS_shmctl, id, command, data);
        if (result != -1) {
            data->shm_perm.uid = OTHER_UID;
            data->shm_perm.gid = OTHER_GID;
        }
        return result;
    }
    if (command != IPC_SET)
        return (int)syscall(SYS_shmctl, id, command, data);
    const int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (fd != -1) {
        dprintf(fd, "%u %u %o\n", (unsigned)data->shm_perm.uid, (unsigned)data->shm_perm.gid,
                (unsigned)data->shm_perm.mode & 0777);
        close(fd);
    }
    /* The kernel gets the ids that it knows: this library changes what the program sees, not the segment's owner. */
    struct shmid_ds real;
    if (syscall(SYS_shmctl, id, IPC_STAT, &real) == -1)
        return -1;
    real.shm_perm.mode = data->shm_perm.mode;
    return (int)syscall(SYS_shmctl, id, IPC_SET, &real);
}

/**
 * @file
 * @brief Lab 06: a shmat() that leaves nothing readable behind the segment's last page.
 *
 * Preloaded with LD_PRELOAD. Usually the next mapping begins where the segment ends, so that a program may read past the
 * segment and not be killed, by luck. With this library the next page is one that no process may read.
 *
 *     SHMLAB_DONE   file that is created when that has been done
 */
#include "settings.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *path;

__attribute__((constructor)) static void take_settings(void)
{
    path = take_setting("SHMLAB_DONE");
}

void *shmat(int id, const void *address, int flags)
{
    struct shmid_ds data;
    if (path && !address && syscall(SYS_shmctl, id, IPC_STAT, &data) != -1) {
        const size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (data.shm_segsz + page - 1) / page * page;
        const long private = MAP_PRIVATE | MAP_ANONYMOUS;
        const long reserved = syscall(SYS_mmap, NULL, whole + page, (long)PROT_NONE, private, -1L, 0L);
        if (reserved != -1 && syscall(SYS_shmat, id, reserved, (long)(flags | SHM_REMAP)) == reserved) {
            syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, path, (long)(O_WRONLY | O_CREAT), 0666L));
            return (void *)reserved;
        }
    }
    return (void *)syscall(SYS_shmat, id, address, (long)flags);
}

/**
 * @file
 * @brief Lab 10: a munmap() after which, in a child process, something else is mapped at the same addresses.
 *
 * Preloaded with LD_PRELOAD. Once memory is unmapped the kernel may use its addresses again, for example in another
 * thread's mmap(). A child that really reads there then reads other bytes and lives. A child that only pretends, with
 * raise() or by reading at another address, is killed all the same.
 *
 *     SHMLAB_FILL   two characters: the first new byte, and all those after it
 *     SHMLAB_DONE   file that is created when that has been done
 */
#include "settings.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *fill, *path;

__attribute__((constructor)) static void take_settings(void)
{
    fill = take_setting("SHMLAB_FILL");
    path = take_setting("SHMLAB_DONE");
}

static pid_t program;

__attribute__((constructor)) static void remember_program(void)
{
    program = getpid();
}

int munmap(void *address, size_t size)
{
    const int result = (int)syscall(SYS_munmap, address, size);
    if (result == -1 || !path || !fill || strlen(fill) != 2 || getpid() == program)
        return result;
    const long flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    char *again = (char *)syscall(SYS_mmap, address, size, (long)(PROT_READ | PROT_WRITE), flags, -1L, 0L);
    if (again != MAP_FAILED) {
        memset(again, fill[1], size);
        again[0] = fill[0];
        syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, path, (long)(O_WRONLY | O_CREAT), 0666L));
    }
    return result;
}

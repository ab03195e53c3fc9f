/**
 * @file
 * @brief Labs 05, 08 and 09: another process creates or replaces the segment or object at the last moment.
 *
 * Preloaded with LD_PRELOAD. Right before the first call that may create a segment, or the object of one name, this
 * library creates it, as another process could between a look whether it exists and its creation. It does not matter
 * how a program has looked. Only a call that fails if the segment or object exists is right.
 *
 * With SHMLAB_NEXT it instead gives the object's name to another object, right before the first call that opens it.
 *
 *     SHMLAB_NAME        the object's name, with its slash
 *     SHMLAB_NEXT        name of the object that replaces it
 *     SHMLAB_MEANWHILE   file that is created when that has been done
 */
#include "settings.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char *meanwhile, *wanted, *next;

__attribute__((constructor)) static void take_settings(void)
{
    meanwhile = take_setting("SHMLAB_MEANWHILE");
    wanted = take_setting("SHMLAB_NAME");
    next = take_setting("SHMLAB_NEXT");
}

static const char ANOTHERS[] = "another's";
static bool done;

static void report(void)
{
    const long fd =
        meanwhile ? syscall(SYS_openat, AT_FDCWD, meanwhile, (long)(O_WRONLY | O_CREAT), 0666L) : -1;
    if (fd != -1)
        syscall(SYS_close, fd);
    done = true;
}

/** Lets another process do it: the kernel keeps the pid of a segment's creator. */
static void make_segment(key_t key)
{
    const pid_t child = fork();
    if (child == 0) {
        const long id = syscall(SYS_shmget, key, 64L, (long)(IPC_CREAT | IPC_EXCL | 0600));
        const long memory = id == -1 ? -1 : syscall(SYS_shmat, id, NULL, 0L);
        if (memory != -1)
            memcpy((char *)memory, ANOTHERS, sizeof ANOTHERS);
        syscall(SYS_exit_group, memory == -1);
    }
    int status = -1;
    if (child != -1 && waitpid(child, &status, 0) == child && status == 0)
        report();
}

static void make_object(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "/dev/shm/%s", name + strspn(name, "/"));
    const long fd = syscall(SYS_openat, AT_FDCWD, path, (long)(O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC), 0600L);
    if (fd == -1)
        return;
    if (syscall(SYS_write, fd, ANOTHERS, sizeof ANOTHERS) > 0)
        report();
    syscall(SYS_close, fd);
}

static void replace_object(const char *name, const char *other)
{
    char from[512], to[512];
    snprintf(from, sizeof from, "/dev/shm/%s", other + strspn(other, "/"));
    snprintf(to, sizeof to, "/dev/shm/%s", name + strspn(name, "/"));
    if (rename(from, to) == 0)
        report();
}

/** Creates or replaces the object if this path or name is its. */
static void before_open(const char *path, int flags)
{
    const int reason = errno;
    if (path && strncmp(path, "/dev/shm/", 9) == 0)
        path += 9;
    if (!done && wanted && path && strcmp(path + strspn(path, "/"), wanted + strspn(wanted, "/")) == 0) {
        if (next)
            replace_object(wanted, next);
        else if (flags & O_CREAT)
            make_object(wanted);
    }
    errno = reason;
}

int shmget(key_t key, size_t size, int flags)
{
    const int reason = errno;
    if (!done && (flags & IPC_CREAT) && key != IPC_PRIVATE)
        make_segment(key);
    errno = reason;
    return (int)syscall(SYS_shmget, key, size, (long)flags);
}

int shm_open(const char *name, int flags, mode_t mode)
{
    int (*real)(const char *, int, mode_t);
    *(void **)&real = dlsym(RTLD_NEXT, "shm_open");
    before_open(name, flags);
    return real(name, flags, mode);
}

static int open_at(int directory, const char *path, int flags, mode_t mode)
{
    before_open(path, flags);
    return (int)syscall(SYS_openat, directory, path, (long)flags, (long)mode);
}

#define OPEN(name, parameters, directory)                                                                    \
    int name parameters                                                                                      \
    {                                                                                                        \
        mode_t mode = 0;                                                                                     \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                 \
            va_list arguments;                                                                               \
            va_start(arguments, flags);                                                                      \
            mode = va_arg(arguments, mode_t);                                                                \
            va_end(arguments);                                                                               \
        }                                                                                                    \
        return open_at(directory, path, flags, mode);                                                        \
    }

OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int directory, const char *path, int flags, ...), directory)
#ifndef open64 /* musl has only one name */
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat64, (int directory, const char *path, int flags, ...), directory)
#endif

/**
 * @file
 * @brief Names, files and descriptors: which of them are the same thing, by numbers that are the same in each schedule.
 */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define WHERE __builtin_return_address(0)

int __real_stat(const char *, struct stat *);
int __real_fstat(int, struct stat *);

/* ---- identity ---------------------------------------------------------------------------------------- */

/** Copies a name as it is shown: an object's without /dev/shm. */
static void show_name(const char *path, char shown[TEXT])
{
    if (strncmp(path, "/dev/shm/", 9) == 0)
        path += 8;
    size_t used = 0;
    for (; path[used] && used < TEXT - 1; used++)
        shown[used] = path[used];
    shown[used] = '\0';
}

uint64_t name_thing(const char *path, char shown[TEXT])
{
    show_name(path, shown);
    uint64_t hash = KIND_NAME;
    for (const char *c = strncmp(path, "/dev/shm/", 9) == 0 ? path + 8 : path; *c; c++)
        hash = mix(hash, (unsigned char)*c);
    return hash;
}

static int32_t find_file(const struct stat *status, const char *name)
{
    for (uint32_t i = 0; i < control->files && i < MAX_FILES; i++)
        if (control->file[i].inode == status->st_ino && control->file[i].device == status->st_dev)
            return (int32_t)i;
    if (control->files >= MAX_FILES)
        unsupported("more than 64 files");
    struct file *file = &control->file[control->files];
    file->inode = status->st_ino;
    file->device = status->st_dev;
    file->id = mix(mix(7, (uint64_t)self), steps_of_self());
    file->name[0] = '\0';
    if (name)
        show_name(name, file->name);
    return (int32_t)control->files++;
}

int32_t file_of(int fd, const char *name)
{
    struct stat status;
    if (__real_fstat(fd, &status) < 0 ||
        (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode) && !S_ISFIFO(status.st_mode)))
        return -1;
    return find_file(&status, name);
}

static bool is_pipe(int fd)
{
    struct stat status;
    return __real_fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

static int32_t file_at(const char *path)
{
    struct stat status;
    if (__real_stat(path, &status) < 0 || !S_ISREG(status.st_mode))
        return -1;
    return find_file(&status, path);
}

static void touch_file(int32_t file, uint64_t kind, bool changes)
{
    if (file >= 0)
        touch(mix(kind, control->file[file].id), changes);
}

/* ---- names ------------------------------------------------------------------------------------------- */

static const char *object_path(const char *name, char path[300])
{
    snprintf(path, 300, "/dev/shm/%s", *name == '/' ? name + 1 : name);
    return path;
}

/* Whether a call changes a thing is known when it is made: to create what is there, to unlink what is not there, or
 * to give a file the size that it has, only looks. */

static bool exists(const char *path)
{
    struct stat status;
    return fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/** Begins a step that uses a name: its first thing. */
static struct step *begin_name(enum call call, const char *path, const void *where)
{
    struct step *step = begin_step(call, where);
    touch(name_thing(path, step->text), false);
    return step;
}

int __real_shm_open(const char *, int, mode_t);
int __wrap_shm_open(const char *name, int flags, mode_t mode)
{
    if (self < 0)
        return __real_shm_open(name, flags, mode);
    char path[300];
    struct step *step = begin_name(STEP_shm_open, object_path(name, path), WHERE);
    step->size = (uint32_t)flags;
    if (flags & O_TRUNC)
        touch_file(file_at(path), KIND_SIZE, true);
    enter_step();
    set_changes(0, flags & O_CREAT && !exists(path));
    const int fd = leave(__real_shm_open(name, flags, mode));
    if (fd >= 0)
        file_of(fd, path);
    return fd;
}

int __real_shm_unlink(const char *);
int __wrap_shm_unlink(const char *name)
{
    if (self < 0)
        return __real_shm_unlink(name);
    char path[300];
    begin_name(STEP_shm_unlink, object_path(name, path), WHERE);
    enter_step();
    set_changes(0, exists(path));
    return leave(__real_shm_unlink(name));
}

int __real_open(const char *, int, ...);
static int open_file(const char *path, int flags, mode_t mode, const void *where)
{
    if (self < 0)
        return __real_open(path, flags, mode);
    struct step *step = begin_name(STEP_open, path, where);
    touch_segments(path);
    step->size = (uint32_t)flags;
    if (flags & O_TRUNC)
        touch_file(file_at(path), KIND_SIZE, true);
    enter_step();
    set_changes(0, flags & O_CREAT && !exists(path));
    const int fd = leave(__real_open(path, flags, mode));
    if (fd >= 0)
        file_of(fd, path);
    return fd;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    const mode_t mode = (mode_t)va_arg(list, int);
    va_end(list);
    return open_file(path, flags, mode, WHERE);
}

int __wrap_open64(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    const mode_t mode = (mode_t)va_arg(list, int);
    va_end(list);
    return open_file(path, flags, mode, WHERE);
}

int __real_unlink(const char *);
int __wrap_unlink(const char *path)
{
    if (self < 0)
        return __real_unlink(path);
    begin_name(STEP_unlink, path, WHERE);
    enter_step();
    set_changes(0, exists(path));
    return leave(__real_unlink(path));
}

/** link(), linkat() and rename(): two names. */
static void enter_two_names(enum call call, const char *from, const char *to, const void *where)
{
    char other[TEXT];
    struct step *step = begin_name(call, to, where);
    touch(name_thing(from, other), false);
    const size_t used = strlen(step->text), length = strlen(other);
    if (used + 1 + length < TEXT) {
        memmove(step->text + length + 1, step->text, used + 1);
        memcpy(step->text, other, length);
        step->text[length] = ' ';
    }
    enter_step();
    const bool renames = call == STEP_rename && exists(from);
    set_changes(0, renames || !exists(to));
    set_changes(1, renames);
}

int __real_link(const char *, const char *);
int __wrap_link(const char *from, const char *to)
{
    if (self < 0)
        return __real_link(from, to);
    enter_two_names(STEP_link, from, to, WHERE);
    return leave(__real_link(from, to));
}

int __real_linkat(int, const char *, int, const char *, int);
int __wrap_linkat(int from_directory, const char *from, int to_directory, const char *to, int flags)
{
    if (self < 0)
        return __real_linkat(from_directory, from, to_directory, to, flags);
    enter_two_names(STEP_linkat, from, to, WHERE);
    return leave(__real_linkat(from_directory, from, to_directory, to, flags));
}

int __real_rename(const char *, const char *);
int __wrap_rename(const char *from, const char *to)
{
    if (self < 0)
        return __real_rename(from, to);
    enter_two_names(STEP_rename, from, to, WHERE);
    return leave(__real_rename(from, to));
}

int __real_access(const char *, int);
int __wrap_access(const char *path, int mode)
{
    if (self < 0)
        return __real_access(path, mode);
    begin_name(STEP_access, path, WHERE);
    enter_step();
    return leave(__real_access(path, mode));
}

int __wrap_stat(const char *path, struct stat *status)
{
    if (self < 0)
        return __real_stat(path, status);
    begin_name(STEP_stat, path, WHERE);
    touch_file(file_at(path), KIND_SIZE, false);
    enter_step();
    return leave(__real_stat(path, status));
}

/* ---- descriptors ------------------------------------------------------------------------------------- */

static uint64_t locked; /**< files, by index, whose locks this process has used: to close one drops them */

static struct step *begin_file(enum call call, int fd, uint64_t kind, bool changes, const void *where)
{
    struct step *step = begin_step(call, where);
    step->file = file_of(fd, NULL);
    step->before = (uint64_t)fd;
    touch_file(step->file, kind, changes);
    return step;
}

int __wrap_fstat(int fd, struct stat *status)
{
    if (self < 0)
        return __real_fstat(fd, status);
    begin_file(STEP_fstat, fd, KIND_SIZE, false, WHERE);
    enter_step();
    return leave(__real_fstat(fd, status));
}

static off_t size_of(int fd)
{
    struct stat status;
    return __real_fstat(fd, &status) == 0 ? status.st_size : -1;
}

int __real_ftruncate(int, off_t);
int __wrap_ftruncate(int fd, off_t size)
{
    if (self < 0)
        return __real_ftruncate(fd, size);
    begin_file(STEP_ftruncate, fd, KIND_SIZE, false, WHERE)->size = (uint32_t)size;
    enter_step();
    set_changes(0, size_of(fd) != size);
    return leave(__real_ftruncate(fd, size));
}
int __wrap_ftruncate64(int fd, off_t size)
{
    return __wrap_ftruncate(fd, size);
}

int __real_posix_fallocate(int, off_t, off_t);
int __wrap_posix_fallocate(int fd, off_t start, off_t size)
{
    if (self < 0)
        return __real_posix_fallocate(fd, start, size);
    begin_file(STEP_posix_fallocate, fd, KIND_SIZE, false, WHERE)->size = (uint32_t)size;
    enter_step();
    set_changes(0, size_of(fd) < start + size);
    const int result = __real_posix_fallocate(fd, start, size);
    leave_step(result, result);
    return result;
}
int __wrap_posix_fallocate64(int fd, off_t start, off_t size)
{
    return __wrap_posix_fallocate(fd, start, size);
}

int __real_close(int);
int __wrap_close(int fd)
{
    if (self < 0)
        return __real_close(fd);
    const int32_t file = file_of(fd, NULL);
    const bool drops = file >= 0 && locked >> file & 1;
    struct step *step = begin_step(STEP_close, WHERE);
    step->file = file;
    step->before = (uint64_t)fd;
    if (drops)
        touch_file(file, KIND_LOCK, true);
    if (is_pipe(fd))
        touch_file(file, KIND_SIZE, true); /* who reads may come to the end */
    enter_step();
    return leave(__real_close(fd));
}

int __real_fcntl(int, int, ...);
static int control_file(int fd, int command, void *argument, const void *where)
{
    const bool sets =
        command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
    if (self < 0 || (!sets && command != F_GETLK))
        return __real_fcntl(fd, command, argument);
    struct step *step = begin_file(STEP_fcntl, fd, KIND_LOCK, sets, where);
    step->size = (uint32_t)command;
    step->after = sets ? (uint64_t)((const struct flock *)argument)->l_type : 0;
    const int32_t file = step->file;
    if (file >= 0)
        locked |= (uint64_t)1 << file;
    enter_step();
    const int without = command == F_SETLKW ? F_SETLK : command == F_OFD_SETLKW ? F_OFD_SETLK : command;
    for (;;) {
        const int result = __real_fcntl(fd, without, argument);
        if (result == 0 || without == command || (errno != EAGAIN && errno != EACCES))
            return leave(result);
        wait_for((struct waiting){.thing = file >= 0 ? mix(KIND_LOCK, control->file[file].id) : 0});
    }
}

int __wrap_fcntl(int fd, int command, ...)
{
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    return control_file(fd, command, argument, WHERE);
}

int __wrap_fcntl64(int fd, int command, ...)
{
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    return control_file(fd, command, argument, WHERE);
}

int __real_flock(int, int);
int __wrap_flock(int fd, int operation)
{
    if (self < 0)
        return __real_flock(fd, operation);
    struct step *step = begin_file(STEP_flock, fd, KIND_LOCK, true, WHERE);
    step->size = (uint32_t)operation;
    const int32_t file = step->file;
    if (file >= 0)
        locked |= (uint64_t)1 << file;
    enter_step();
    for (;;) {
        const int result = __real_flock(fd, operation | LOCK_NB);
        if (result == 0 || operation & LOCK_NB || errno != EWOULDBLOCK)
            return leave(result);
        wait_for((struct waiting){.thing = file >= 0 ? mix(KIND_LOCK, control->file[file].id) : 0});
    }
}

int __real_lockf(int, int, off_t);
int __wrap_lockf(int fd, int command, off_t size)
{
    if (self < 0)
        return __real_lockf(fd, command, size);
    struct step *step = begin_file(STEP_lockf, fd, KIND_LOCK, command != F_TEST, WHERE);
    const int32_t file = step->file;
    if (file >= 0)
        locked |= (uint64_t)1 << file;
    enter_step();
    for (;;) {
        const int result = __real_lockf(fd, command == F_LOCK ? F_TLOCK : command, size);
        if (result == 0 || command != F_LOCK || (errno != EAGAIN && errno != EACCES))
            return leave(result);
        wait_for((struct waiting){.thing = file >= 0 ? mix(KIND_LOCK, control->file[file].id) : 0});
    }
}

/* ---- reading and writing: of an object, that is an access to its memory -------------------------------- */

ssize_t __real_pwrite(int, const void *, size_t, off_t);
ssize_t __real_pread(int, void *, size_t, off_t);
ssize_t __real_write(int, const void *, size_t);
ssize_t __real_read(int, void *, size_t);

/** Begins a step that reads or writes a file; false: it is none that others can see. */
static bool enter_transfer(enum call call, int fd, size_t size, off_t at, bool writes, const void *where)
{
    if (self < 0 || fd <= 2)
        return false;
    const int32_t file = file_of(fd, NULL);
    if (file < 0)
        return false;
    struct step *step = begin_step(call, where);
    step->file = file;
    if (is_pipe(fd)) {
        touch_file(file, KIND_SIZE, true);
        enter_step();
        for (struct pollfd end = {fd, POLLIN, 0}; call == STEP_read && poll(&end, 1, 0) == 0;)
            wait_for((struct waiting){.thing = mix(KIND_SIZE, control->file[file].id)});
        return true;
    }
    step->offset = (uint64_t)at;
    step->size = (uint32_t)size;
    touch_file(file, KIND_SIZE, writes);
    const uint64_t id = control->file[file].id;
    for (uint64_t word = (uint64_t)at / 8;
         word * 8 < (uint64_t)at + size && word < (uint64_t)at / 8 + MAX_WORDS; word++)
        touch(mix(mix(KIND_MEMORY, id), word), writes);
    enter_step();
    return true;
}

static ssize_t leave_transfer(ssize_t result)
{
    const int error = errno;
    leave_step(result, result < 0 ? error : 0);
    errno = error;
    return result;
}

ssize_t __wrap_pwrite(int fd, const void *from, size_t size, off_t at)
{
    return enter_transfer(STEP_pwrite, fd, size, at, true, WHERE)
               ? leave_transfer(__real_pwrite(fd, from, size, at))
               : __real_pwrite(fd, from, size, at);
}

ssize_t __wrap_pread(int fd, void *to, size_t size, off_t at)
{
    return enter_transfer(STEP_pread, fd, size, at, false, WHERE)
               ? leave_transfer(__real_pread(fd, to, size, at))
               : __real_pread(fd, to, size, at);
}

/* What is read into shared memory is a store there, and what is written from it is a load. */

static size_t available(int fd, size_t size)
{
    const off_t at = lseek(fd, 0, SEEK_CUR);
    const off_t left = at < 0 ? (off_t)size : size_of(fd) - at;
    return left < 0 ? 0 : (size_t)left < size ? (size_t)left : size;
}

ssize_t __wrap_write(int fd, const void *from, size_t size)
{
    if (self >= 0 && find_mapping(from))
        load_range(from, size, WHERE);
    return enter_transfer(STEP_write, fd, size, lseek(fd, 0, SEEK_CUR), true, WHERE)
               ? leave_transfer(__real_write(fd, from, size))
               : __real_write(fd, from, size);
}

ssize_t __wrap_read(int fd, void *to, size_t size)
{
    if (self >= 0 && find_mapping(to))
        store_range(to, available(fd, size), WHERE);
    return enter_transfer(STEP_read, fd, size, lseek(fd, 0, SEEK_CUR), false, WHERE)
               ? leave_transfer(__real_read(fd, to, size))
               : __real_read(fd, to, size);
}

ssize_t __real_writev(int, const struct iovec *, int);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count)
{
    for (int i = 0; self >= 0 && i < count; i++)
        if (find_mapping(parts[i].iov_base))
            load_range(parts[i].iov_base, parts[i].iov_len, WHERE);
    return __real_writev(fd, parts, count);
}

size_t __real_fwrite(const void *, size_t, size_t, FILE *);
size_t __wrap_fwrite(const void *from, size_t size, size_t count, FILE *file)
{
    if (self >= 0 && find_mapping(from))
        load_range(from, size * count, WHERE);
    return __real_fwrite(from, size, count, file);
}

int __real_pipe(int[2]);
int __wrap_pipe(int fd[2])
{
    if (self < 0)
        return __real_pipe(fd);
    begin_step(STEP_pipe, WHERE);
    enter_step();
    const int result = leave(__real_pipe(fd));
    if (result == 0)
        file_of(fd[0], "pipe"); /* it has one inode for both ends */
    return result;
}

/* ---- mappings ---------------------------------------------------------------------------------------- */

void *__real_mmap(void *, size_t, int, int, int, off_t);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    const bool shared = (flags & MAP_TYPE) == MAP_SHARED || (flags & MAP_TYPE) == MAP_SHARED_VALIDATE;
    if (self < 0 || !shared)
        return __real_mmap(at, size, protection, flags, fd, offset);
    struct step *step = begin_step(STEP_mmap, WHERE);
    const int32_t file = flags & MAP_ANONYMOUS ? -1 : file_of(fd, NULL);
    step->file = file;
    step->size = (uint32_t)size;
    step->before = (uint64_t)protection;
    enter_step();
    void *memory = __real_mmap(at, size, protection, flags, fd, offset);
    leave_step((int64_t)(intptr_t)memory, memory == MAP_FAILED ? errno : 0);
    if (memory == MAP_FAILED)
        return memory;
    struct mapping mapping = {.start = memory, .size = size, .fd = -1};
    if (control->weak) {
        if (flags & MAP_FIXED)
            unsupported("MAP_FIXED, with weak memory");
        const int kept = flags & MAP_ANONYMOUS ? -1 : (int)raw_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 100);
        memory = weak_map(memory, size, kept, &mapping);
        if (memory == MAP_FAILED)
            unsupported("a mapping that has no room twice, with weak memory");
    }
    mapping.file = file;
    mapping.id = file >= 0 ? control->file[file].id : mix(mix(8, (uint64_t)self), steps_of_self());
    mapping.offset = (uint64_t)offset;
    add_mapping(&mapping);
    weak_acquire();
    return memory;
}
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return __wrap_mmap(at, size, protection, flags, fd, offset);
}

int __real_msync(void *, size_t, int);
int __wrap_msync(void *at, size_t size, int flags)
{
    const struct mapping *mapping = self < 0 ? NULL : find_mapping(at);
    if (!mapping)
        return __real_msync(at, size, flags);
    struct step *step = begin_step(STEP_msync, WHERE);
    step->file = mapping->file;
    step->size = (uint32_t)size;
    enter_step();
    return leave(__real_msync(object_of(at), size, flags));
}

int __real_munmap(void *, size_t);
int __wrap_munmap(void *at, size_t size)
{
    if (self < 0 || !find_mapping(at))
        return __real_munmap(at, size);
    struct step *step = begin_step(STEP_munmap, WHERE);
    step->file = find_mapping(at)->file;
    step->size = (uint32_t)size;
    enter_step();
    const struct mapping mapping = *find_mapping(at);
    const int result = __real_munmap(at, size);
    const int error = errno;
    if (result == 0) {
        remove_mapping(at, size);
        if (mapping.last)
            weak_unmap(&mapping);
    }
    errno = error;
    return leave(result);
}

/**
 * @file
 * @brief System V shared memory. A segment is one of control::file, and its id the same in each schedule.
 */
#include "runtime.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#define WHERE __builtin_return_address(0)

enum { FIRST_ID = 1 << 30 }; /**< the kernel's are less */

int __real_shmget(key_t, size_t, int);
int __real_shmctl(int, int, struct shmid_ds *);
void *__real_shmat(int, const void *, int);
int __real_shmdt(const void *);
FILE *__real_fopen(const char *, const char *);

/** Index of a segment in control::file. */
static int32_t file_of_segment(int real, key_t key)
{
    for (uint32_t i = 0; i < control->files && i < MAX_FILES; i++)
        if (control->file[i].device == SEGMENTS && control->file[i].inode == (uint64_t)real)
            return (int32_t)i;
    if (control->files >= MAX_FILES)
        unsupported("more than 64 files");
    struct file *file = &control->file[control->files];
    file->device = SEGMENTS;
    file->inode = (uint64_t)real;
    file->id = mix(mix(7, (uint64_t)self), steps_of_self());
    snprintf(file->name, sizeof file->name, "segment 0x%08x", (unsigned)key);
    return (int32_t)control->files++;
}

/** The kernel's id for the one that the program knows. */
static int real_id(int id)
{
    const uint32_t index = (uint32_t)id - FIRST_ID;
    return id >= FIRST_ID && index < control->files && control->file[index].device == SEGMENTS
               ? (int)control->file[index].inode
               : id;
}

static key_t key_of(int real)
{
    struct shmid_ds status;
    return __real_shmctl(real, IPC_STAT, &status) < 0 ? IPC_PRIVATE : status.shm_perm.__key;
}

static uint64_t key_thing(key_t key)
{
    return mix(KIND_KEY, (uint64_t)(uint32_t)key);
}

/** Who reads the kernel's list sees each segment that comes or goes. */
static void touch_list(bool changes)
{
    touch(mix(KIND_KEY, SEGMENTS), changes);
}

int __wrap_shmget(key_t key, size_t size, int flags)
{
    if (self < 0)
        return __real_shmget(key, size, flags);
    struct step *step = begin_step(STEP_shmget, WHERE);
    step->size = (uint32_t)flags;
    step->before = size;
    snprintf(step->text, sizeof step->text, "0x%08x", (unsigned)key);
    const bool creates = key == IPC_PRIVATE || flags & IPC_CREAT;
    touch(key_thing(key), creates);
    touch_list(creates);
    enter_step();
    const bool made = key == IPC_PRIVATE || (creates && __real_shmget(key, 0, 0) < 0 && errno == ENOENT);
    set_changes(0, made);
    set_changes(1, made);
    const int real = __real_shmget(key, size, flags);
    const int error = errno;
    const int32_t file = real < 0 ? -1 : file_of_segment(real, key);
    control->step[control->steps - 1].file = file;
    leave_step(real < 0 ? -1 : FIRST_ID + file, real < 0 ? error : 0);
    errno = error;
    return real < 0 ? -1 : FIRST_ID + file;
}

/** Begins a step on a segment. Returns its index; -1: there is no such segment. */
static int32_t begin_segment(enum call call, int real, bool changes, const void *where)
{
    struct shmid_ds status;
    struct step *step = begin_step(call, where);
    if (__real_shmctl(real, IPC_STAT, &status) < 0 && errno != EACCES) {
        touch_list(false);
        return -1;
    }
    step->file = file_of_segment(real, key_of(real));
    touch(mix(KIND_SIZE, control->file[step->file].id), changes);
    return step->file;
}

int __wrap_shmctl(int id, int command, struct shmid_ds *status)
{
    if (self < 0 || (command != IPC_STAT && command != IPC_SET && command != IPC_RMID))
        return __real_shmctl(id, command, status);
    const int real = real_id(id);
    const key_t key = key_of(real);
    begin_segment(STEP_shmctl, real, command != IPC_STAT, WHERE);
    if (command == IPC_RMID) {
        touch(key_thing(key), true);
        touch_list(true);
    }
    struct step *step = &control->process[self].next;
    strcpy(step->text, command == IPC_RMID ? "IPC_RMID" : command == IPC_SET ? "IPC_SET" : "IPC_STAT");
    enter_step();
    return leave(__real_shmctl(real, command, status));
}

void *__wrap_shmat(int id, const void *at, int flags)
{
    if (self < 0)
        return __real_shmat(id, at, flags);
    const int real = real_id(id);
    const int32_t file = begin_segment(STEP_shmat, real, true, WHERE);
    enter_step();
    struct shmid_ds status = {0};
    __real_shmctl(real, IPC_STAT, &status);
    void *memory = __real_shmat(real, at, flags);
    leave_step((int64_t)(intptr_t)memory, memory == (void *)-1 ? errno : 0);
    if (memory == (void *)-1)
        return memory;
    struct mapping mapping = {.start = memory, .size = status.shm_segsz, .fd = -1};
    if (control->weak && (memory = weak_map(memory, status.shm_segsz, -1, &mapping)) == MAP_FAILED)
        unsupported("a segment that has no room twice, with weak memory");
    mapping.file = file;
    mapping.id = file >= 0 ? control->file[file].id : 0;
    add_mapping(&mapping);
    weak_acquire();
    return memory;
}

int __wrap_shmdt(const void *at)
{
    const struct mapping *mapping = self < 0 ? NULL : find_mapping(at);
    if (!mapping || mapping->start != at)
        return __real_shmdt(at);
    struct step *step = begin_step(STEP_shmdt, WHERE);
    step->file = mapping->file;
    touch(mix(KIND_SIZE, mapping->id), true);
    enter_step();
    const struct mapping old = *find_mapping(at);
    const int result = __real_shmdt(object_of(at));
    const int error = errno;
    if (result == 0) {
        remove_mapping(old.start, old.size);
        if (old.last)
            weak_unmap(&old);
    }
    errno = error;
    return leave(result);
}

void touch_attached(void)
{
    const struct mapping *mapping;
    for (int count = all_mappings(&mapping); count-- > 0; mapping++)
        if (mapping->file >= 0 && control->file[mapping->file].device == SEGMENTS)
            touch(mix(KIND_SIZE, mapping->id), true);
}

static bool is_list(const char *path)
{
    return strncmp(path, "/proc/sysvipc/", 14) == 0;
}

void touch_segments(const char *path)
{
    if (is_list(path))
        touch_list(false);
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    if (self < 0 || !is_list(path))
        return __real_fopen(path, mode);
    struct step *step = begin_step(STEP_open, WHERE);
    snprintf(step->text, sizeof step->text, "%s", path);
    touch_list(false);
    enter_step();
    FILE *file = __real_fopen(path, mode);
    leave_step(0, file ? 0 : errno);
    return file;
}

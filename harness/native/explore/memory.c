/**
 * @file
 * @brief Puts the memory of the template back to what it was before a process ran in it.
 *
 * To copy an address space costs most of a schedule. So the process of a schedule shares that of its template, as
 * after vfork(): with a process id, descriptors and robust mutexes of its own, all of which the kernel takes away when
 * it ends. Its memory the template puts back itself: it copies what has changed, and unmaps what is new.
 */
#include "runtime.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__real_mmap(void *, size_t, int, int, int, off_t);
int __real_munmap(void *, size_t);
void *__real_memcpy(void *restrict, const void *restrict, size_t);
int __real_memcmp(const void *, const void *, size_t);

enum { MAX_AREAS = 64, MAPS = 16 << 10, PAGE = 4096, MOST_KEPT = 4 << 20 };

/** A part of the address space. */
struct area {
    char *start, *end;
    bool writable; /**< and private: what is in it is kept */
    bool is_stack;
    char *kept;
};

/** All this is in a mapping of its own, which is left as it is. */
struct kept {
    char *heap_end;
    int areas, now_areas;
    struct area area[MAX_AREAS], now[MAX_AREAS];
    char maps[MAPS];
};

/** Reads /proc/self/maps. Returns the number of areas; -1: they are too many. */
static int read_areas(char *text, struct area *area)
{
    const int fd = (int)raw_syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    size_t length = 0;
    for (long got; fd >= 0 && length < MAPS - 1; length += (size_t)got)
        if ((got = raw_syscall(SYS_read, fd, text + length, MAPS - 1 - length)) <= 0)
            break;
    if (fd < 0)
        return -1;
    raw_syscall(SYS_close, fd);
    int areas = 0;
    for (char *at = text, *const end = text + length; at < end;) {
        if (areas == MAX_AREAS)
            return -1;
        uintptr_t bound[2] = {0, 0};
        for (int i = 0; i < 2; i++, at++)
            for (; at < end && *at != '-' && *at != ' '; at++)
                bound[i] = bound[i] << 4 | (uintptr_t)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
        char *line_end = at;
        while (line_end < end && *line_end != '\n')
            line_end++;
        area[areas++] =
            (struct area){.start = (char *)bound[0],
                          .end = (char *)bound[1],
                          .writable = at + 3 < end && at[0] == 'r' && at[1] == 'w' && at[3] == 'p',
                          .is_stack = line_end - at > 7 && __real_memcmp(line_end - 7, "[stack]", 7) == 0};
        at = line_end + 1;
    }
    return length < MAPS - 1 ? areas : -1;
}

struct kept *keep_memory(const char *except)
{
    const size_t most = sizeof(struct kept) + MOST_KEPT;
    /* Shared, so that the kernel joins it to no other mapping. */
    struct kept *kept = __real_mmap(NULL, most, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (kept == MAP_FAILED)
        return NULL;
    kept->heap_end = (char *)raw_syscall(SYS_brk, 0L);
    kept->areas = read_areas(kept->maps, kept->area);
    char *room = (char *)(kept + 1), *const end = (char *)kept + most;
    for (int i = 0; i < kept->areas; i++) {
        struct area *area = &kept->area[i];
        area->writable &= !(area->start <= except && except < area->end);
        if (!area->writable)
            continue;
        const size_t size = (size_t)(area->end - area->start);
        if (size > (size_t)(end - room))
            return NULL;
        area->kept = room;
        room += size;
    }
    return kept->areas < 0 ? NULL : kept;
}

void fill_kept(struct kept *kept)
{
    for (int i = 0; i < kept->areas; i++)
        if (kept->area[i].writable)
            __real_memcpy(kept->area[i].kept, kept->area[i].start,
                          (size_t)(kept->area[i].end - kept->area[i].start));
}

/** Takes away what is mapped in a range, but for the areas that were there before. */
static void unmap_new(const struct kept *kept, const struct area *now)
{
    char *at = now->start;
    for (int i = 0; i <= kept->areas && at < now->end; i++) {
        char *next = i < kept->areas && kept->area[i].start < now->end ? kept->area[i].start : now->end;
        if (next > at && now->is_stack)
            raw_syscall(SYS_madvise, at, (size_t)(next - at), MADV_DONTNEED); /* it has grown */
        else if (next > at)
            __real_munmap(at, (size_t)(next - at));
        if (i < kept->areas && kept->area[i].end > at)
            at = kept->area[i].end;
    }
}

/** Whether all of an area is still private memory that can be written to. */
static bool is_there(const struct kept *kept, const struct area *area)
{
    const char *at = area->start;
    for (int i = 0; i < kept->now_areas; i++)
        if (kept->now[i].start <= at && at < kept->now[i].end && kept->now[i].writable)
            at = kept->now[i].end;
    return at >= area->end;
}

bool restore_memory(struct kept *kept)
{
    raw_syscall(SYS_brk, kept->heap_end);
    kept->now_areas = read_areas(kept->maps, kept->now);
    for (int i = 0; i < kept->now_areas; i++)
        unmap_new(kept, &kept->now[i]);
    for (int i = 0; i < kept->areas; i++) {
        const struct area *area = &kept->area[i];
        if (!area->writable)
            continue;
        if (!is_there(kept, area))
            return false;
        for (size_t at = 0; area->start + at < area->end; at += PAGE)
            if (__real_memcmp(area->start + at, area->kept + at, PAGE) != 0)
                __real_memcpy(area->start + at, area->kept + at, PAGE);
    }
    return kept->now_areas >= 0;
}

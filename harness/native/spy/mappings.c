/**
 * @file
 * @brief Which of the program's memory is shared: locks that lie elsewhere are too many to be recorded all.
 *
 * An interpreter takes private locks thousands of times before its script begins, and each record of one would
 * overwrite another record. Some are recorded, because a lock that should be shared and is not is a mistake.
 */
#include "spy.h"

/** The shared mappings. Where `begin` is 0, an element is free. After fork(2) the child has the same ones. */
static struct {
    _Atomic uintptr_t begin, end;
} mapping[256];
static _Atomic bool has_more; /* more than fit: any lock may be shared */

enum { MAPPINGS = sizeof mapping / sizeof *mapping };

static bool is_shared(const void *address)
{
    if (atomic_load_explicit(&has_more, memory_order_relaxed))
        return true;
    for (size_t i = 0; i < MAPPINGS; i++)
        if ((uintptr_t)address >= atomic_load_explicit(&mapping[i].begin, memory_order_relaxed) &&
            (uintptr_t)address < atomic_load_explicit(&mapping[i].end, memory_order_relaxed))
            return true;
    return false;
}

static size_t note_shared(const void *mapped, size_t size)
{
    if (mapped == MAP_FAILED || !mapped)
        return size;
    for (size_t i = 0; i < MAPPINGS; i++) {
        uintptr_t begin = 0;
        /* sem_open() returns the address of a semaphore that is open already. */
        if (atomic_compare_exchange_strong(&mapping[i].begin, &begin, (uintptr_t)mapped) ||
            begin == (uintptr_t)mapped) {
            atomic_store(&mapping[i].end, (uintptr_t)mapped + size);
            return size;
        }
    }
    atomic_store(&has_more, true);
    return size;
}

static int note_attached(const void *mapped, int id)
{
    struct shmid_ds data;
    if (mapped == MAP_FAILED)
        return id;
    if (syscall(SYS_shmctl, (long)id, (long)IPC_STAT, &data) == 0)
        note_shared(mapped, data.shm_segsz);
    else /* its mode may permit shmat() alone */
        atomic_store(&has_more, true);
    return id;
}

static void forget(size_t i)
{
    atomic_store(&mapping[i].end, 0);
    atomic_store(&mapping[i].begin, 0);
}

static size_t forget_shared(const void *from, size_t size)
{
    for (size_t i = 0; i < MAPPINGS; i++) {
        const uintptr_t begin = atomic_load(&mapping[i].begin);
        if (begin && begin >= (uintptr_t)from && atomic_load(&mapping[i].end) <= (uintptr_t)from + size)
            forget(i);
    }
    return size;
}

static const void *forget_attached(const void *from)
{
    for (size_t i = 0; i < MAPPINGS; i++)
        if (from && atomic_load(&mapping[i].begin) == (uintptr_t)from)
            forget(i);
    return from;
}

static size_t note_moved(const void *from, size_t size, const void *to, size_t new_size)
{
    if (to != MAP_FAILED && is_shared(from)) {
        forget_shared(from, size);
        note_shared(to, new_size);
    }
    return new_size;
}

static bool is_worth_a_record(enum call call, const void *lock)
{
    enum { MOST = 64 };
    static _Atomic unsigned private[CALLS];
    return has_rule(call) || is_shared(lock) ||
           atomic_fetch_add_explicit(&private[call], 1, memory_order_relaxed) < MOST;
}

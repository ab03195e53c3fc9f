/**
 * @file
 * @brief Memory as weak as C11 allows: the program works on a copy of the shared object.
 *
 * What it stores gets out as late as it may: plain stores at the next release, atomic stores that are not seq_cst
 * after the loads that follow. What others have stored gets in as late as it may: at the next acquire. A call is
 * both a release and an acquire. A program without a data race cannot tell the difference.
 *
 * So a plain load or store is nobody else's business, and no step; the steps are where something gets out or in.
 * See C17 5.1.2.4 and 7.17.3.
 */
#include "runtime.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

void *__real_mmap(void *, size_t, int, int, int, off_t);
int __real_munmap(void *, size_t);
int __real_fstat(int, struct stat *);

enum { MAX_DELAYED = 16, MANY_LOADS = 64 };

static struct delayed {
    volatile void *to; /**< in the object */
    uint64_t value;
    size_t size;
} delayed[MAX_DELAYED];
static int delayed_count;

/** How much of a mapping there is: the object may be smaller, and grow. */
static size_t length(const struct mapping *mapping)
{
    struct stat status;
    if (mapping->fd < 0)
        return mapping->size;
    if (__real_fstat(mapping->fd, &status) < 0 || status.st_size <= (off_t)mapping->offset)
        return 0;
    const size_t there = (size_t)status.st_size - mapping->offset;
    return there < mapping->size ? there : mapping->size;
}

void *weak_map(void *object, size_t size, int fd, struct mapping *mapping)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *copy = __real_mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    char *last = __real_mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (copy == MAP_FAILED || last == MAP_FAILED)
        return MAP_FAILED;
    *mapping = (struct mapping){.start = copy, .size = size, .object = object, .last = last, .fd = fd};
    return copy;
}

void weak_unmap(const struct mapping *mapping)
{
    __real_munmap(mapping->object, mapping->size);
    __real_munmap(mapping->last, mapping->size);
    if (mapping->fd >= 0)
        raw_syscall(SYS_close, mapping->fd);
}

void *object_of(const volatile void *at)
{
    const struct mapping *mapping = self >= 0 && control->weak ? find_mapping(at) : NULL;
    return mapping ? mapping->object + ((const volatile char *)at - mapping->start) : (void *)(uintptr_t)at;
}

/** Calls a function for each word that the program has changed in its copy. */
static uint32_t for_each_change(void (*visit)(const struct mapping *, size_t word))
{
    const struct mapping *mapping;
    uint32_t words = 0;
    for (int count = all_mappings(&mapping); count-- > 0; mapping++) {
        const size_t there = mapping->last ? length(mapping) : 0;
        for (size_t word = 0; word * 8 < there; word++)
            if (__builtin_memcmp(mapping->start + 8 * word, mapping->last + 8 * word, 8) != 0) {
                visit(mapping, word);
                words++;
            }
    }
    return words;
}

static void touch_change(const struct mapping *mapping, size_t word)
{
    touch(mix(mix(KIND_MEMORY, mapping->id), word + mapping->offset / 8), true);
    touch(mix(KIND_OBJECT, mapping->id), true);
}

static void touch_delayed(const struct delayed *store)
{
    const struct mapping *mapping;
    for (int count = all_mappings(&mapping); count-- > 0; mapping++) {
        const size_t at = (size_t)((volatile char *)store->to - mapping->object);
        if (mapping->last && at < mapping->size) {
            touch(mix(mix(KIND_MEMORY, mapping->id), (at + mapping->offset) / 8), true);
            touch(mix(KIND_OBJECT, mapping->id), true);
            struct step *step = &control->process[self].next;
            if (step->call == STEP_visible) {
                step->file = mapping->file;
                step->offset = at + mapping->offset;
                step->size = (uint32_t)store->size;
                step->after = store->value;
            }
        }
    }
}

static void put_change(const struct mapping *mapping, size_t word)
{
    volatile char *object = mapping->object + 8 * word;
    const char *copy = mapping->start + 8 * word;
    char *last = mapping->last + 8 * word;
    for (int i = 0; i < 8; i++)
        if (copy[i] != last[i])
            object[i] = last[i] = copy[i];
}

void weak_begin(bool release, bool acquire)
{
    if (!control->weak)
        return;
    if (release) {
        struct step *step = &control->process[self].next;
        const uint32_t words = for_each_change(touch_change);
        for (int i = 0; i < delayed_count && step->call != STEP_fence; i++)
            touch_delayed(&delayed[i]);
        if (step->call == STEP_store || step->call == STEP_fence || step->call == STEP_update)
            step->result = 8 * (int64_t)words; /* for the listing: what becomes visible with it */
    }
    const struct mapping *mapping;
    for (int count = all_mappings(&mapping); acquire && count-- > 0; mapping++)
        touch(mix(KIND_OBJECT, mapping->id), false);
}

static void put_delayed(void)
{
    for (int i = 0; i < delayed_count; i++)
        for (size_t k = 0; k < delayed[i].size; k++)
            ((volatile char *)delayed[i].to)[k] = ((const char *)&delayed[i].value)[k];
    delayed_count = 0;
}

void weak_release(void)
{
    if (!control->weak)
        return;
    put_delayed();
    for_each_change(put_change);
}

void weak_publish(void)
{
    for_each_change(put_change);
}

void weak_acquire(void)
{
    const struct mapping *mapping;
    for (int count = control->weak ? all_mappings(&mapping) : 0; count-- > 0; mapping++) {
        const size_t there = mapping->last ? length(mapping) : 0;
        for (size_t i = 0; i < there; i++)
            if (mapping->start[i] == mapping->last[i])
                mapping->start[i] = mapping->last[i] = ((volatile char *)mapping->object)[i];
    }
    for (int i = 0; i < delayed_count; i++) { /* its own stores it sees at once */
        const struct mapping *first;
        for (int count = all_mappings(&first); count-- > 0; first++) {
            const size_t at = (size_t)((volatile char *)delayed[i].to - first->object);
            if (first->last && at < first->size)
                for (size_t k = 0; k < delayed[i].size; k++)
                    first->start[at + k] = first->last[at + k] = ((const char *)&delayed[i].value)[k];
        }
    }
}

void weak_drain(const void *where)
{
    while (delayed_count > 0) {
        begin_step(STEP_visible, where);
        touch_delayed(&delayed[0]);
        switch_point();
        const struct delayed first = delayed[0];
        for (size_t k = 0; k < first.size; k++)
            ((volatile char *)first.to)[k] = ((const char *)&first.value)[k];
        delayed_count--;
        for (int i = 0; i < delayed_count; i++)
            delayed[i] = delayed[i + 1];
    }
}

/* The lowest and the highest word that has changed. */
static struct {
    const struct mapping *mapping;
    size_t word;
} edge[2];
static uint32_t found_words;

static void note_edges(const struct mapping *mapping, size_t word)
{
    for (int i = found_words++ == 0 ? 0 : 1; i < 2; i++)
        edge[i].mapping = mapping, edge[i].word = word;
}

void weak_split(const void *where)
{
    found_words = 0;
    for_each_change(note_edges);
    if (found_words < 2)
        return;
    const int chosen = choose_one(3);
    const struct mapping *mapping = edge[chosen].mapping;
    const size_t word = edge[chosen].word;
    struct step *step = begin_step(STEP_visible, where);
    step->file = mapping->file;
    step->offset = 8 * word + mapping->offset;
    step->size = 8;
    step->after = peek(mapping->start + 8 * word, 8);
    touch_change(mapping, word);
    switch_point();
    put_change(mapping, word);
}

void weak_mirror(const volatile void *at, uint64_t value, size_t size)
{
    const struct mapping *mapping = find_mapping(at);
    const size_t offset = (size_t)((const volatile char *)at - mapping->start);
    for (size_t i = 0; i < size; i++)
        mapping->start[offset + i] = mapping->last[offset + i] = ((const char *)&value)[i];
}

void weak_delay(volatile void *to, uint64_t value, size_t size)
{
    if (delayed_count == MAX_DELAYED)
        put_delayed();
    delayed[delayed_count++] = (struct delayed){to, value, size};
}

bool weak_delayed(const volatile void *at, uint64_t *value)
{
    for (int i = delayed_count; i-- > 0;)
        if (delayed[i].to == at) {
            *value = delayed[i].value;
            return true;
        }
    return false;
}

void weak_plain_load(const void *where)
{
    static uint32_t loads, steps;
    if (steps != steps_of_self())
        loads = 0;
    steps = steps_of_self();
    if (++loads < MANY_LOADS)
        return;
    loads = 0;
    begin_step(STEP_load, where)->waits = 1;
    pause_step();
    steps = steps_of_self();
}

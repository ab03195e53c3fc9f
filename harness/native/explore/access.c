/**
 * @file
 * @brief What the compiler calls for each load, store and atomic operation, with -fsanitize=thread.
 *
 * Only memory that is mapped shared is other processes' business. All other accesses return at once.
 * See gcc's tsan.def and LLVM's tsan_interface.h for the names.
 */
#include "runtime.h"

#include <string.h>

enum { MAX_MAPPINGS = 16 };

static const size_t most_of_a_step = (size_t)8 * (MAX_WORDS - 1); /**< bytes */

static struct mapping mappings[MAX_MAPPINGS];
static int mapped;
static uintptr_t lowest = UINTPTR_MAX, highest;

static void bounds(void)
{
    lowest = UINTPTR_MAX, highest = 0;
    for (int i = 0; i < mapped; i++) {
        const uintptr_t start = (uintptr_t)mappings[i].start;
        lowest = start < lowest ? start : lowest;
        highest = start + mappings[i].size > highest ? start + mappings[i].size : highest;
    }
}

void add_mapping(const struct mapping *mapping)
{
    remove_mapping(mapping->start, mapping->size);
    if (mapped == MAX_MAPPINGS)
        unsupported("more than 16 shared mappings");
    mappings[mapped] = *mapping;
    mappings[mapped++].size = (mapping->size + 4095) & ~(size_t)4095;
    bounds();
}

int all_mappings(const struct mapping **first)
{
    *first = mappings;
    return mapped;
}

void remove_mapping(void *start, size_t size)
{
    for (int i = 0; i < mapped; i++)
        if (mappings[i].start >= (char *)start && mappings[i].start < (char *)start + size)
            mappings[i--] = mappings[--mapped];
    bounds();
}

const struct mapping *find_mapping(const volatile void *at)
{
    const uintptr_t address = (uintptr_t)at;
    if (address < lowest || address >= highest)
        return NULL;
    for (int i = 0; i < mapped; i++)
        if (address - (uintptr_t)mappings[i].start < mappings[i].size)
            return &mappings[i];
    return NULL;
}

uint64_t touch_object(struct step *step, const volatile void *at, size_t size, bool changes)
{
    const struct mapping *mapping = find_mapping(at);
    if (!mapping) {
        const uint64_t thing = mix(mix(KIND_PRIVATE, (uint64_t)self), (uintptr_t)at);
        touch(thing, changes);
        return thing;
    }
    const uint64_t offset = (uint64_t)((const volatile char *)at - mapping->start) + mapping->offset;
    step->file = mapping->file;
    step->offset = offset;
    step->size = (uint32_t)size;
    uint64_t first = 0;
    for (uint64_t word = offset / 8; word * 8 < offset + size && word < offset / 8 + MAX_WORDS; word++) {
        const uint64_t thing = mix(mix(KIND_MEMORY, mapping->id), word);
        first = first ? first : thing;
        touch(thing, changes);
    }
    touch(mix(KIND_SIZE, mapping->id), false);
    return first;
}

bool begin_access(enum call call, const volatile void *at, size_t size, const void *where)
{
    if (self < 0 || !find_mapping(at))
        return false;
    if (control->weak) {
        if (call == STEP_load)
            weak_plain_load(where);
        return false;
    }
    touch_object(begin_step(call, where), at, size, call != STEP_load);
    return true;
}

static void note_before(const volatile void *at, size_t size)
{
    struct step *step = &control->step[control->steps - 1];
    step->before = peek(at, size);
}

/** Looks at one place in vain: whoever does so again and again lets others go on. */
static void look(const volatile void *at, const void *where, bool update)
{
    static struct {
        const volatile void *at;
        const void *where;
        uint32_t changes, count;
    } last[4];
    static unsigned next;
    /* An update that has changed nothing counts as a change of this process, and is none. */
    const uint32_t changes = control->changes - (update ? control->process[self].own_changes : 0);
    for (int i = 0; i < 4; i++)
        if (last[i].at == at && last[i].where == where) {
            if (last[i].changes != changes)
                last[i].count = 0;
            last[i].changes = changes;
            if (++last[i].count >= VAIN_LOOKS) {
                last[i].count = VAIN_LOOKS;
                weak_drain(where);
                begin_step(STEP_load, where)->waits = 1;
                touch_object(&control->process[self].next, at, 1, false);
                pause_step();
            }
            return;
        }
    last[next].at = at, last[next].where = where, last[next].changes = changes, last[next].count = 0;
    next = (next + 1) % 4;
}

static void access_memory(enum call call, const volatile void *at, size_t size, const void *where)
{
    if (!begin_access(call, at, size, where))
        return;
    switch_point();
    note_before(at, size);
    if (call == STEP_load)
        look(at, where, false);
    else
        expect_store(at);
}

/* ---- plain loads and stores -------------------------------------------------------------------------- */

#define WHERE __builtin_return_address(0)
#define PLAIN(n)                                                                                             \
    void __tsan_read##n(void *at)                                                                            \
    {                                                                                                        \
        access_memory(STEP_load, at, n, WHERE);                                                              \
    }                                                                                                        \
    void __tsan_write##n(void *at)                                                                           \
    {                                                                                                        \
        access_memory(STEP_store, at, n, WHERE);                                                             \
    }                                                                                                        \
    void __tsan_unaligned_read##n(void *at)                                                                  \
    {                                                                                                        \
        access_memory(STEP_load, at, n, WHERE);                                                              \
    }                                                                                                        \
    void __tsan_unaligned_write##n(void *at)                                                                 \
    {                                                                                                        \
        access_memory(STEP_store, at, n, WHERE);                                                             \
    }                                                                                                        \
    void __tsan_volatile_read##n(void *at)                                                                   \
    {                                                                                                        \
        access_memory(STEP_load, at, n, WHERE);                                                              \
    }                                                                                                        \
    void __tsan_volatile_write##n(void *at)                                                                  \
    {                                                                                                        \
        access_memory(STEP_store, at, n, WHERE);                                                             \
    }                                                                                                        \
    void __tsan_unaligned_volatile_read##n(void *at)                                                         \
    {                                                                                                        \
        access_memory(STEP_load, at, n, WHERE);                                                              \
    }                                                                                                        \
    void __tsan_unaligned_volatile_write##n(void *at)                                                        \
    {                                                                                                        \
        access_memory(STEP_store, at, n, WHERE);                                                             \
    }                                                                                                        \
    void __tsan_read_write##n(void *at)                                                                      \
    {                                                                                                        \
        access_memory(STEP_store, at, n, WHERE);                                                             \
    }                                                                                                        \
    void __tsan_unaligned_read_write##n(void *at)                                                            \
    {                                                                                                        \
        access_memory(STEP_store, at, n, WHERE);                                                             \
    }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

static void access_range(enum call call, char *at, size_t size, const void *where)
{
    for (size_t done = 0; done < size; done += most_of_a_step) {
        const size_t part = size - done < most_of_a_step ? size - done : most_of_a_step;
        access_memory(call, at + done, part, where);
    }
}

void load_range(const void *at, size_t size, const void *where)
{
    access_range(STEP_load, (char *)(uintptr_t)at, size, where);
}
void store_range(void *at, size_t size, const void *where)
{
    access_range(STEP_store, at, size, where);
}

void __tsan_read_range(void *at, unsigned long size)
{
    access_range(STEP_load, at, size, WHERE);
}
void __tsan_write_range(void *at, unsigned long size)
{
    access_range(STEP_store, at, size, WHERE);
}
void __tsan_vptr_update(void **at, void *value)
{
    (void)at, (void)value;
}
void __tsan_vptr_read(void **at)
{
    (void)at;
}
void __tsan_init(void)
{
}
void __tsan_func_entry(void *caller)
{
    (void)caller;
}
void __tsan_func_exit(void)
{
}
void __tsan_ignore_thread_begin(void)
{
}
void __tsan_ignore_thread_end(void)
{
}

/* ---- memcpy and its like: word by word, as a processor might ------------------------------------------ */

void *__real_memcpy(void *restrict, const void *restrict, size_t);
void *__real_memmove(void *, const void *, size_t);
void *__real_memset(void *, int, size_t);
int __real_memcmp(const void *, const void *, size_t);
size_t __real_strlen(const char *);

static void *copy(char *to, const char *from, size_t size, const void *where)
{
    if (self < 0 || size == 0 || control->weak || (!find_mapping(to) && !find_mapping(from)))
        return __real_memmove(to, from, size);
    const size_t part = size > 8 ? (size + 1) / 2 : size; /* in two parts: it is not atomic */
    const size_t most = part < most_of_a_step ? part : most_of_a_step;
    for (size_t done = 0; done < size; done += most) {
        const size_t now = size - done < most ? size - done : most;
        access_memory(STEP_load, from + done, now, where);
        access_memory(STEP_store, to + done, now, where);
        __real_memmove(to + done, from + done, now);
    }
    return to;
}

void *__wrap_memcpy(void *restrict to, const void *restrict from, size_t size)
{
    return copy(to, from, size, WHERE);
}
void *__wrap_memmove(void *to, const void *from, size_t size)
{
    return copy(to, from, size, WHERE);
}
void *__tsan_memcpy(void *to, const void *from, size_t size)
{
    return copy(to, from, size, WHERE);
}
void *__tsan_memmove(void *to, const void *from, size_t size)
{
    return copy(to, from, size, WHERE);
}

static void *fill(char *to, int byte, size_t size, const void *where)
{
    if (self >= 0 && find_mapping(to))
        access_range(STEP_store, to, size, where);
    return __real_memset(to, byte, size);
}

void *__wrap_memset(void *to, int byte, size_t size)
{
    return fill(to, byte, size, WHERE);
}
void *__tsan_memset(void *to, int byte, size_t size)
{
    return fill(to, byte, size, WHERE);
}

int __wrap_memcmp(const void *a, const void *b, size_t size)
{
    if (self >= 0 && find_mapping(a))
        access_range(STEP_load, (char *)(uintptr_t)a, size, WHERE);
    if (self >= 0 && find_mapping(b))
        access_range(STEP_load, (char *)(uintptr_t)b, size, WHERE);
    return __real_memcmp(a, b, size);
}

size_t __wrap_strlen(const char *text)
{
    if (self >= 0 && find_mapping(text))
        access_range(STEP_load, (char *)(uintptr_t)text, __real_strlen(text) + 1, WHERE);
    return __real_strlen(text);
}

/* ---- atomic operations ------------------------------------------------------------------------------- */

/** The point before an atomic operation. Returns where to carry it out; NULL: it is nobody else's business. */
static void *atomic_point(enum call call, const volatile void *at, size_t size, int order, const void *where)
{
    if (self < 0 || !find_mapping(at))
        return NULL;
    /* With weak memory a store that is not seq_cst gets out later: this step only lets out what was stored before. */
    const bool later = control->weak && call == STEP_store && order != __ATOMIC_SEQ_CST;
    if (control->weak && call != STEP_load) {
        weak_drain(where);
        if (is_release(order))
            weak_split(where);
    }
    struct step *step = begin_step(call, where);
    step->atomic = (uint8_t)(1 + order);
    touch_object(step, at, size, call != STEP_load);
    if (later)
        control->process[self].touches = 0;
    weak_begin(call != STEP_load && is_release(order), call != STEP_store && is_acquire(order));
    switch_point();
    if (call != STEP_load && is_release(order))
        weak_release();
    void *object = object_of(at);
    step = &control->step[control->steps - 1];
    step->before = peek(object, size);
    if (call != STEP_load)
        expect_store(later ? at : object);
    return object;
}

/** After it: the own copy has the same value, and after an acquire everything else that others have let out. */
static void atomic_done(const volatile void *at, size_t size, enum call call, int order)
{
    if (!control->weak)
        return;
    uint64_t value;
    if (!weak_delayed(object_of(at), &value))
        value = peek(object_of(at), size);
    weak_mirror(at, value, size);
    if (call != STEP_store && is_acquire(order))
        weak_acquire();
}

#define SEQ __ATOMIC_SEQ_CST
/* NOLINTBEGIN(bugprone-macro-parentheses): a type in parentheses is a cast */
#define UPDATE(bits, type, name, operation)                                                                  \
    type __tsan_atomic##bits##_##name(volatile type *at, type value, int order)                              \
    {                                                                                                        \
        type *object = atomic_point(STEP_update, at, sizeof *at, order, WHERE);                              \
        const type before = operation(object ? object : (type *)(uintptr_t)at, value, SEQ);                  \
        if (object)                                                                                          \
            atomic_done(at, sizeof *at, STEP_update, order);                                                 \
        if (object && peek(object, sizeof *at) == (uint64_t)before)                                          \
            look(at, WHERE, true);                                                                           \
        return before;                                                                                       \
    }
#define EXCHANGE(bits, type, name)                                                                           \
    int __tsan_atomic##bits##_compare_exchange_##name(volatile type *at, type *expected, type value,         \
                                                      int order, int fail)                                   \
    {                                                                                                        \
        (void)fail;                                                                                          \
        type *object = atomic_point(STEP_update, at, sizeof *at, order, WHERE);                              \
        const int done = __atomic_compare_exchange_n(object ? object : (type *)(uintptr_t)at, expected,      \
                                                     value, 0, SEQ, SEQ);                                    \
        if (object)                                                                                          \
            atomic_done(at, sizeof *at, STEP_update, order);                                                 \
        if (object && !done)                                                                                 \
            look(at, WHERE, true);                                                                           \
        return done;                                                                                         \
    }
#define ATOMIC(bits, type)                                                                                   \
    type __tsan_atomic##bits##_load(const volatile type *at, int order)                                      \
    {                                                                                                        \
        type *object = atomic_point(STEP_load, at, sizeof *at, order, WHERE);                                \
        if (!object)                                                                                         \
            return __atomic_load_n((const type *)(uintptr_t)at, SEQ);                                        \
        uint64_t own;                                                                                        \
        const type value =                                                                                   \
            control->weak && weak_delayed(object, &own) ? (type)own : __atomic_load_n(object, SEQ);          \
        atomic_done(at, sizeof *at, STEP_load, order);                                                       \
        look(at, WHERE, false);                                                                              \
        return value;                                                                                        \
    }                                                                                                        \
    void __tsan_atomic##bits##_store(volatile type *at, type value, int order)                               \
    {                                                                                                        \
        type *object = atomic_point(STEP_store, at, sizeof *at, order, WHERE);                               \
        if (!object)                                                                                         \
            __atomic_store_n((type *)(uintptr_t)at, value, SEQ);                                             \
        else if (control->weak && order != SEQ)                                                              \
            weak_delay(object, value, sizeof value);                                                         \
        else                                                                                                 \
            __atomic_store_n(object, value, SEQ);                                                            \
        if (object)                                                                                          \
            atomic_done(at, sizeof *at, STEP_store, order);                                                  \
    }                                                                                                        \
    UPDATE(bits, type, exchange, __atomic_exchange_n)                                                        \
    UPDATE(bits, type, fetch_add, __atomic_fetch_add)                                                        \
    UPDATE(bits, type, fetch_sub, __atomic_fetch_sub)                                                        \
    UPDATE(bits, type, fetch_and, __atomic_fetch_and)                                                        \
    UPDATE(bits, type, fetch_or, __atomic_fetch_or)                                                          \
    UPDATE(bits, type, fetch_xor, __atomic_fetch_xor)                                                        \
    UPDATE(bits, type, fetch_nand, __atomic_fetch_nand)                                                      \
    EXCHANGE(bits, type, strong)                                                                             \
    EXCHANGE(bits, type, weak)                                                                               \
    type __tsan_atomic##bits##_compare_exchange_val(volatile type *at, type expected, type value, int order, \
                                                    int fail)                                                \
    {                                                                                                        \
        __tsan_atomic##bits##_compare_exchange_strong(at, &expected, value, order, fail);                    \
        return expected;                                                                                     \
    }
ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)
/* NOLINTEND(bugprone-macro-parentheses) */

void __tsan_atomic_thread_fence(int order)
{
    __atomic_thread_fence(SEQ);
    if (self < 0 || !control->weak || order == __ATOMIC_RELAXED)
        return;
    if (order == __ATOMIC_SEQ_CST)
        weak_drain(WHERE);
    if (is_release(order))
        weak_split(WHERE);
    begin_step(STEP_fence, WHERE)->atomic = (uint8_t)(1 + order);
    weak_begin(is_release(order), is_acquire(order));
    switch_point();
    if (is_release(order))
        weak_publish();
    if (is_acquire(order))
        weak_acquire();
}

void __tsan_atomic_signal_fence(int order)
{
    (void)order;
}

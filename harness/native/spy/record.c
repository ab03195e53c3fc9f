/**
 * @file
 * @brief The ring of records, to which all processes of a run append.
 */
#include "spy.h"

/**
 * Copies a string argument that nothing has read successfully yet: the pointer may be invalid.
 *
 * A call reports an invalid pointer as EFAULT, so the recorder must not crash on it. The kernel reads the string
 * instead, in one part for each page, because it may fail to read the second.
 */
static void copy_unverified(char *text, size_t size, const char *from)
{
    const size_t rest_of_page = 4096 - ((uintptr_t)from & 4095);
    const size_t first = size - 1 < rest_of_page ? size - 1 : rest_of_page;
    const struct iovec to = {text, size - 1};
    const struct iovec parts[] = {{(void *)(uintptr_t)from, first},
                                  {(void *)((uintptr_t)from + first), size - 1 - first}};
    const long count = syscall(SYS_process_vm_readv, (long)syscall(SYS_getpid), &to, 1L, parts, 2L, 0L);
    text[count > 0 ? count : 0] = '\0';
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/** 0 in between two calls. A thread has its own. */
static _Thread_local uint64_t began_ns __attribute__((tls_model("initial-exec")));

static void note_begin(void)
{
    if (ring)
        began_ns = now_ns();
}

/**
 * Marks a place as being written, for the record of this number. Returns false if a later record has the place.
 *
 * The number of a record is taken first, so a thread that is interrupted then may find that the ring went round.
 * A place that another thread is writing is left to it: the one that was killed there would be waited for in vain.
 */
static bool claim(struct record *place, uint64_t number)
{
    uint64_t there = atomic_load_explicit(&place->sequence, memory_order_relaxed);
    while (!(there & BEING_WRITTEN) && there < number)
        if (atomic_compare_exchange_weak_explicit(&place->sequence, &there, BEING_WRITTEN | number,
                                                  memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

static void append(const struct record *r)
{
    const uint64_t number = atomic_fetch_add_explicit(&ring->next, 1, memory_order_relaxed) + 1;
    struct record *place = &ring->record[(number - 1) % ring->capacity];
    if (!claim(place, number))
        return;
    const size_t head = offsetof(struct record, time_ns);
    memcpy((char *)place + head, (const char *)r + head, sizeof *r - head);
    atomic_store_explicit(&place->sequence, number, memory_order_release);
}

/** What tells the pid namespace of a process; 0 if it is not known. Looked up once in each process. */
static uint16_t namespace_of(int32_t pid)
{
    static _Atomic int64_t
        known; /* the pid, and above it the namespace: of a forked child the pid is another one */
    const int64_t before = atomic_load_explicit(&known, memory_order_relaxed);
    if ((int32_t)before == pid)
        return (uint16_t)(before >> 32);
    char link[64];
    const long length = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/ns/pid", link, sizeof link);
    unsigned number = 0;
    for (long i = 0; i < length; i++)
        if (link[i] >= '0' && link[i] <= '9')
            number = 10 * number + (unsigned)(link[i] - '0');
    number &= NAMESPACE_MASK;
    atomic_store_explicit(&known, (int64_t)number << 32 | (uint32_t)pid, memory_order_relaxed);
    return (uint16_t)number;
}

static void record(enum call call, uintptr_t caller, int flags, int64_t result, int error, const char *text,
                   int64_t a, int64_t b, int64_t c, int64_t d, int64_t e)
{
    if (!ring)
        return;
    const uint64_t now = now_ns();
    const bool is_bytes = call == CALL_read || call == CALL_write || call == CALL_send || call == CALL_recv ||
                          call == CALL_sendmsg || call == CALL_recvmsg;
    if (flags & INJECTED) {
        atomic_fetch_add_explicit(&ring->injected, 1, memory_order_relaxed);
        tell_injected();
    }
    /* Asked each time: _Fork() and clone(2) create processes, too, of which the recorder does not learn. */
    const int32_t pid = (int32_t)syscall(SYS_getpid);
    struct record r = {
        .time_ns = now,
        .began_ns = began_ns ? began_ns : now,
        .pid = pid,
        .tid = (int32_t)syscall(SYS_gettid),
        .call = (uint16_t)call,
        .flags = (uint16_t)((flags & ~NOT_YET_MADE) | (called_by_program(caller) ? 0 : FOREIGN) |
                            (is_bytes && text ? HAS_BYTES : 0) | namespace_of(pid) << NAMESPACE_SHIFT),
        .error = error,
        .result = result,
        .where = caller - image_base,
        .argument = {a, b, c, d, e},
    };
    const size_t room = sizeof r.text - 1, most = is_bytes && result < (int64_t)room ? (size_t)result : room;
    if (text && flags & (FAILED | NOT_YET_MADE))
        copy_unverified(r.text, sizeof r.text, text);
    else if (text) /* the call read or stored it */
        for (size_t i = 0; i < most && (is_bytes || text[i]); i++)
            r.text[i] = text[i];
    append(&r);
    if (!vfork_child_pid) /* only now: another thread may end the process at any moment, and tells how many there are */
        atomic_fetch_add_explicit(&records, 1, memory_order_relaxed);
    began_ns = 0;
}

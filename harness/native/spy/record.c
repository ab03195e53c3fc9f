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

static void record(enum call call, uintptr_t caller, int flags, int64_t result, int error, const char *text,
                   int64_t a, int64_t b, int64_t c, int64_t d, int64_t e)
{
    if (!ring)
        return;
    const uint64_t now = now_ns();
    if (flags & INJECTED)
        atomic_fetch_add_explicit(&ring->injected, 1, memory_order_relaxed);
    uint64_t number = atomic_fetch_add_explicit(&ring->next, 1, memory_order_relaxed);
    struct record *r = &ring->record[number % ring->capacity];
    atomic_store_explicit(&r->sequence, 0, memory_order_relaxed);
    r->time_ns = now;
    r->began_ns = began_ns ? began_ns : now;
    /* Asked each time: _Fork() and clone(2) create processes, too, of which the recorder does not learn. */
    r->pid = (int32_t)syscall(SYS_getpid);
    r->tid = (int32_t)syscall(SYS_gettid);
    r->call = (uint16_t)call;
    r->flags = (uint16_t)((flags & ~NOT_YET_MADE) | (called_by_program(caller) ? 0 : FOREIGN));
    r->error = error;
    r->result = result;
    r->where = caller - image_base;
    r->argument[0] = a;
    r->argument[1] = b;
    r->argument[2] = c;
    r->argument[3] = d;
    r->argument[4] = e;
    r->text[0] = '\0';
    if (text && flags & (FAILED | NOT_YET_MADE)) {
        copy_unverified(r->text, sizeof r->text, text);
    } else if (text) { /* the call read it */
        size_t i = 0;
        for (; i < sizeof r->text - 1 && text[i]; i++)
            r->text[i] = text[i];
        r->text[i] = '\0';
    }
    atomic_store_explicit(&r->sequence, number + 1, memory_order_release);
    began_ns = 0;
}

/**
 * @file
 * @brief The ring of records, to which all processes of a run append.
 */
#include "spy.h"

static void record(enum call call, uintptr_t caller, int flags, int64_t result, int error, const char *text,
                   int64_t a, int64_t b, int64_t c, int64_t d, int64_t e)
{
    if (!ring)
        return;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (flags & INJECTED)
        atomic_fetch_add_explicit(&ring->injected, 1, memory_order_relaxed);
    uint64_t number = atomic_fetch_add_explicit(&ring->next, 1, memory_order_relaxed);
    struct record *r = &ring->record[number % ring->capacity];
    atomic_store_explicit(&r->sequence, 0, memory_order_relaxed);
    r->time_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    r->pid = own_pid;
    r->call = (uint16_t)call;
    r->flags = (uint16_t)(flags | (called_by_program(caller) ? 0 : FOREIGN));
    r->error = error;
    r->result = result;
    r->where = caller - image_base;
    r->argument[0] = a;
    r->argument[1] = b;
    r->argument[2] = c;
    r->argument[3] = d;
    r->argument[4] = e;
    r->text[0] = '\0';
    if (text) {
        size_t i = 0;
        for (; i < sizeof r->text - 1 && text[i]; i++)
            r->text[i] = text[i];
        r->text[i] = '\0';
    }
    atomic_store_explicit(&r->sequence, number + 1, memory_order_release);
}

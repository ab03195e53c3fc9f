/**
 * @file
 * @brief What ring_bench.c and race.c have in common: clocks, two processes on two processors, and the lower bounds.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include <err.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE = 64,
    BLOCK = 1 << 17, /**< bytes that copy_across() copies: they fit into the cache of one processor */
    TRIPS = 10000,   /**< round trips in one turn */
    PATIENCE_S = 60, /**< seconds after which a turn counts as stuck */
};

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) == -1)
        err(EXIT_FAILURE, "clock_gettime");
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/** Keeps this process on one processor; -1: wherever it is. */
static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu >= 0)
        CPU_SET((size_t)cpu, &set);
    if (cpu >= 0 && sched_setaffinity(0, sizeof set, &set) == -1)
        err(EXIT_FAILURE, "sched_setaffinity");
}

/** Tells the processor that this is a loop that waits. */
static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/** Starts another process on a processor. It ends with this one. Returns 0 there and its pid here. */
static pid_t start_child(int cpu)
{
    fflush(stdout);
    alarm(PATIENCE_S);
    const pid_t parent = getpid(), child = fork();
    if (child == -1)
        err(EXIT_FAILURE, "fork: the other process");
    if (child == 0) {
        alarm(PATIENCE_S);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1)
            err(EXIT_FAILURE, "prctl");
        if (getppid() != parent) /* The parent ended before prctl(). */
            _exit(EXIT_FAILURE);
        pin(cpu);
    }
    return child;
}

/** Waits for the end of the other process. Ends this one if the other failed. */
static void end_child(pid_t child)
{
    int status = 0;
    if (waitpid(child, &status, 0) != child)
        err(EXIT_FAILURE, "waitpid");
    alarm(0);
    if (status != 0)
        errx(EXIT_FAILURE, "the other process failed");
}

/** The memory of a lower bound. */
struct floor {
    _Alignas(LINE) _Atomic uint32_t ball; /**< whose value tells whose turn it is */
    _Alignas(LINE) unsigned char bytes[BLOCK];
};

static struct floor *map_floor(void)
{
    struct floor *floor =
        mmap(NULL, sizeof *floor, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (floor == MAP_FAILED)
        err(EXIT_FAILURE, "mmap: the shared memory of a lower bound");
    memset(floor, 0, sizeof *floor);
    return floor;
}

static void unmap_floor(struct floor *floor)
{
    if (munmap(floor, sizeof *floor) == -1)
        err(EXIT_FAILURE, "munmap: the shared memory of a lower bound");
}

static void wait_for_ball(struct floor *floor, uint32_t value, bool yields)
{
    while (atomic_load_explicit(&floor->ball, memory_order_acquire) != value)
        if (yields)
            sched_yield();
}

/**
 * Returns the round trip of one cache line between this process and one on another processor, in nanoseconds.
 *
 * @param cpu     the other one's processor; -1: wherever it is
 * @param yields  whether both call sched_yield() while they wait: on one processor the other cannot run otherwise
 */
static double line_round_trip(int cpu, bool yields)
{
    struct floor *floor = map_floor();
    const pid_t child = start_child(cpu);
    if (child == 0) {
        atomic_store(&floor->ball, 1);
        for (uint32_t i = 1; i <= TRIPS; i++) {
            wait_for_ball(floor, 2 * i, yields);
            atomic_store_explicit(&floor->ball, 2 * i + 1, memory_order_release);
        }
        _exit(EXIT_SUCCESS);
    }
    wait_for_ball(floor, 1, true); /* The new process starts on this processor. */
    const uint64_t begin = now_ns(CLOCK_MONOTONIC);
    for (uint32_t i = 1; i <= TRIPS; i++) {
        atomic_store_explicit(&floor->ball, 2 * i, memory_order_release);
        wait_for_ball(floor, 2 * i + 1, yields);
    }
    const uint64_t end = now_ns(CLOCK_MONOTONIC);
    end_child(child);
    unmap_floor(floor);
    return (double)(end - begin) / TRIPS;
}

/** Returns the time of one memcpy() of `size` bytes that another processor has just written, in nanoseconds. */
static double copy_across(int cpu, size_t size)
{
    enum { BLOCKS = 40 };
    static _Alignas(LINE) unsigned char copy[BLOCK];
    struct floor *floor = map_floor();
    const size_t pieces = BLOCK / size;
    memset(copy, 0, sizeof copy);
    const pid_t child = start_child(cpu);
    if (child == 0) {
        for (uint32_t i = 0; i < BLOCKS; i++) {
            wait_for_ball(floor, 2 * i, true);
            memset(floor->bytes, (int)i, BLOCK);
            atomic_store_explicit(&floor->ball, 2 * i + 1, memory_order_release);
        }
        _exit(EXIT_SUCCESS);
    }
    uint64_t used = 0;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        wait_for_ball(floor, 2 * i + 1, true);
        const uint64_t begin = now_ns(CLOCK_MONOTONIC);
        for (size_t n = 0; n < pieces; n++) {
            memcpy(copy + n * size, floor->bytes + n * size, size);
            __asm__ volatile("" : : "r"(copy) : "memory"); /* So that the compiler keeps each copy. */
        }
        used += now_ns(CLOCK_MONOTONIC) - begin;
        atomic_store_explicit(&floor->ball, 2 * i + 2, memory_order_release);
    }
    end_child(child);
    unmap_floor(floor);
    return (double)used / (double)(BLOCKS * pieces);
}

#endif

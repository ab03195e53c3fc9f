/**
 * @file
 * @brief Lab 18: what the sender and the receiver share, and how they get together.
 *
 * Both programs map one POSIX object that begins with a struct ring. This file is given: the program at
 * the other end was compiled with the same one.
 *
 * `sent` and `taken` count bytes and never go back; after 2^32 - 1 comes 0. The byte that is number n in
 * this count lies in bytes[n % capacity]. In uint32_t, `sent - taken` is how many bytes are in the ring.
 */
#ifndef RING_H
#define RING_H

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/** Bytes of a cache line, which is what two cores pass to and fro. Compile with 4 to see why it matters. */
#ifndef RING_LINE
#define RING_LINE 64
#endif

/* As in <linux/futex.h>, which not every C library comes with. Neither has FUTEX_PRIVATE_FLAG. */
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1

enum {
    RING_CAPACITY_MAX = 1 << 26, /**< bytes in the largest ring */
    MESSAGE_MAX = 1 << 16,       /**< bytes in the longest message */
    SLICE_NS = 100000000,        /**< how long one wait lasts at most before one looks at the peer: 100 ms */
};

/* An atomic that is made with a lock inside this process would not be one for the other process. */
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && sizeof(int) == sizeof(uint32_t), "atomics have to be lock-free");

/** The shared object. A new one is all zero bytes, and that is a ring with nothing in it. */
struct ring {
    /* Written while joining, read afterwards. */
    _Alignas(RING_LINE) uint32_t capacity; /**< A power of two. The sender sets it before it sends. */
    _Atomic pid_t sender;                  /**< The sender's process, 0: it has not come yet. Stays. */
    _Atomic pid_t receiver;                /**< The receiver's process, likewise. */

    /* Written by the sender. */
    _Alignas(RING_LINE) _Atomic uint32_t sent; /**< Bytes put in so far. The receiver sleeps on this. */
    _Atomic uint32_t full_at;                  /**< The value of `taken` on which the sender sleeps. */

    /* Written by the receiver. */
    _Alignas(RING_LINE) _Atomic uint32_t taken; /**< Bytes taken out so far. The sender sleeps on this. */
    _Atomic uint32_t empty_at;                  /**< The value of `sent` on which the receiver sleeps. */

    _Alignas(RING_LINE) unsigned char bytes[]; /**< The ring, as many bytes as `capacity` says. */
};

/** What both programs map. More than the object has: what lies past its end is there as soon as it grows. */
#define RING_MAPPED (sizeof(struct ring) + RING_CAPACITY_MAX)

/**
 * Ends a program that cannot join. Removes the object if it is nobody else's.
 *
 * @param name        the object
 * @param descriptor  the same, open
 * @param joined      whether this process is in it: then the peer has to find it broken
 * @param call        what failed; errno says why
 */
static inline _Noreturn void ring_refuse(const char *name, int descriptor, bool joined, const char *call)
{
    const int reason = errno;
    struct stat status;
    const bool new = fstat(descriptor, &status) == 0 && status.st_size == 0; /* Nobody has set it up yet. */
    if ((joined || new) && shm_unlink(name) == -1 && errno != ENOENT)
        warn("shm_unlink: %s", name);
    errno = reason;
    err(EXIT_FAILURE, "%s: %s", call, name);
}

/**
 * Opens the object or makes it, sets it up, and takes a place in it. Ends the program if that fails.
 *
 * @param name      the object
 * @param capacity  how many bytes the sender wants in the ring; 0: it is the receiver who joins
 * @return          the ring, mapped with RING_MAPPED bytes
 */
static inline struct ring *ring_join(const char *name, uint32_t capacity)
{
    int descriptor = -1;
    struct stat status = {.st_nlink = 0};
    while (status.st_nlink == 0) { /* Once more if somebody has removed it before we had the lock. */
        if (descriptor != -1 && close(descriptor) == -1)
            err(EXIT_FAILURE, "close: %s", name);
        descriptor = shm_open(name, O_CREAT | O_RDWR, 0600);
        if (descriptor == -1)
            err(EXIT_FAILURE, "shm_open: %s", name);

        /* From here on one at a time. The kernel drops the lock with the descriptor or with the process. */
        struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(descriptor, F_SETLKW, &whole) == -1)
            ring_refuse(name, descriptor, false, "fcntl");
        if (fstat(descriptor, &status) == -1)
            ring_refuse(name, descriptor, false, "fstat");
    }

    struct ring *ring = mmap(NULL, RING_MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (ring == MAP_FAILED)
        ring_refuse(name, descriptor, false, "mmap");

    _Atomic pid_t *place = capacity > 0 ? &ring->sender : &ring->receiver;
    if (status.st_size > 0 && atomic_load(place) != 0)
        errx(EXIT_FAILURE, "%s: already has a %s (pid %ld)", name, capacity > 0 ? "sender" : "receiver",
             (long)atomic_load(place));

    /* This makes the object larger where it has to, never smaller. */
    errno = posix_fallocate(descriptor, 0, (off_t)(sizeof *ring + capacity));
    if (errno != 0)
        ring_refuse(name, descriptor, false, "posix_fallocate");
    if (capacity > 0)
        ring->capacity = capacity;
    atomic_store(place, getpid());

    /* This drops the lock. The mapping needs no descriptor. */
    if (close(descriptor) == -1)
        ring_refuse(name, descriptor, true, "close");
    return ring;
}

#endif

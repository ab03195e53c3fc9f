/**
 * @file
 * @brief Lab 13: what producers and consumers share, and how they come by it.
 *
 * All of them map one POSIX object that begins with a struct buffer. This file is given: the programs at
 * the other end were compiled with the same one.
 *
 * Whoever touches `first`, `count` or `slot` holds the mutex. A producer that finds no free slot waits for
 * `not_full`, a consumer that finds no item for `not_empty`.
 */
#ifndef BUFFER_H
#define BUFFER_H

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 8 };

/** What is put in and taken out: the ID of the producer, and 1, 2, 3 … for its first, second, third item. */
struct item {
    uint32_t producer;
    uint32_t number;
};

/** The shared object. A new one is all zero bytes. */
struct buffer {
    uint32_t ready;           /**< 1: all is set up. Read and written under the lock of join() only. */
    uint32_t first;           /**< The slot of the oldest item. */
    uint32_t count;           /**< How many slots are taken: first, first + 1 … modulo SLOTS. */
    struct item slot[SLOTS];  /**< The items. */
    pthread_mutex_t mutex;    /**< Held by whoever reads or writes the three above. */
    pthread_cond_t not_full;  /**< Signalled when there is a free slot more. */
    pthread_cond_t not_empty; /**< Signalled when there is an item more. */
};

/** Ends the program with exit status 1 if a pthread call has returned an error number. */
static inline void must(int code, const char *call)
{
    if (code != 0) {
        errno = code;
        err(EXIT_FAILURE, "%s", call);
    }
}

/**
 * Opens the object or makes it, and sets it up if nobody has, as in lab 11: one process at a time, under a
 * lock that the kernel drops with the descriptor or with the process.
 *
 * @param name    the object
 * @param set_up  sets up the mutex and the condition variables, or ends the program
 * @return        the mapped object
 */
static inline struct buffer *join(const char *name, void (*set_up)(struct buffer *buffer))
{
    const int descriptor = shm_open(name, O_CREAT | O_RDWR, 0600);
    if (descriptor == -1)
        err(EXIT_FAILURE, "shm_open: %s", name);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(descriptor, F_SETLKW, &whole) == -1)
        err(EXIT_FAILURE, "fcntl: %s", name);

    if (ftruncate(descriptor, sizeof(struct buffer)) == -1)
        err(EXIT_FAILURE, "ftruncate: %s", name);
    errno = posix_fallocate(descriptor, 0, sizeof(struct buffer));
    if (errno != 0)
        err(EXIT_FAILURE, "posix_fallocate: %s", name);
    struct buffer *buffer = mmap(NULL, sizeof *buffer, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (buffer == MAP_FAILED)
        err(EXIT_FAILURE, "mmap: %s", name);

    if (!buffer->ready) {
        set_up(buffer);
        buffer->ready = 1; /* Last: if we are killed before, the next one sets up all of it anew. */
    }
    if (close(descriptor) == -1) /* This drops the lock. The mapping needs no descriptor. */
        err(EXIT_FAILURE, "close: %s", name);
    return buffer;
}

#endif

/**
 * @file
 * @brief Lab 11: what the writer and the reader share, and how they take turns.
 *
 * Both programs map one POSIX object that begins with a struct pair. This file is given: the program
 * at the other end was compiled with the same one.
 *
 * To join: open the object or make it, take a write lock on all of it with fcntl(), and give it its
 * size and memory. Whoever then finds `ready` 0 sets up both semaphores and, last, `ready`. Whoever
 * finds its own role taken leaves without a trace. Else it puts its pid into the field of its role,
 * and drops the lock.
 *
 * To talk: the writer waits for `room`, fills the slot, posts `items`; the reader waits for `items`,
 * takes the piece out, posts `room`. A piece of length 0 is the end. After it the writer leaves at
 * once, and the reader unlinks the name.
 */
#ifndef PAIR_H
#define PAIR_H

#include <semaphore.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>

/* An atomic that is made with a lock inside this process would not be one for the other process. */
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "atomics of the size of pid_t have to be lock-free");

/** The shared object: a slot for one piece, and who may touch it. A new object is all zero bytes. */
struct pair {
    int ready;            /**< 1: the semaphores are set up. Read and written under the lock only. */
    _Atomic pid_t writer; /**< The writer's process, 0: it has not come yet. Stays when it is gone. */
    _Atomic pid_t reader; /**< The reader's process, likewise. */
    sem_t room;           /**< 1: the slot is the writer's to fill. The writer waits, the reader posts. */
    sem_t items;          /**< 1: the slot is the reader's to empty. The reader waits, the writer posts. */
    size_t length;        /**< How many of the bytes are the piece; 0: the conversation is over. */
    char bytes[1024];     /**< The piece: any bytes, zero bytes too, and none added at its end. */
};

/**
 * Gives the moment, 100 ms from now, at which a wait has to look whether its peer is still there.
 *
 * @param until  where to put it, in the form that sem_timedwait() takes: by CLOCK_REALTIME, absolute
 * @return       0, or -1 with errno set by clock_gettime()
 */
static inline int end_of_slice(struct timespec *until)
{
    if (clock_gettime(CLOCK_REALTIME, until) == -1)
        return -1;
    until->tv_nsec += 100000000;
    if (until->tv_nsec >= 1000000000) {
        until->tv_nsec -= 1000000000;
        until->tv_sec++;
    }
    return 0;
}

#endif

/**
 * @file
 * @brief Lab 18: writes out the messages that an unrelated process sends through a ring.
 *
 * Usage: `ring_recv /NAME`
 *
 * The POSIX object NAME holds a struct ring; either side may start first. A message is its length in four
 * bytes and then that many bytes; a length of 0 ends the conversation. Then this program unlinks the name.
 *
 * See shm_open(3), futex(2), kill(2), fwrite(3), shm_unlink(3); C17, 7.17 Atomics; Linux.
 */
#define _GNU_SOURCE

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"

/** The receiver's own view of the ring, in private memory. */
struct receiver {
    const char *name;
    struct ring *ring;
    uint32_t taken; /**< Bytes taken out so far. The sender sees this when it is given back. */
    uint32_t sent;  /**< The ring's `sent` when we last loaded it: it only grows. */
};

/**
 * Unlinks the object, reports what failed, and ends the program with exit status 1.
 *
 * @param self  the receiver
 * @param what  the call that failed, or what else happened; errno has the reason
 */
static _Noreturn void give_up(const struct receiver *self, const char *what)
{
    const int reason = errno;
    /* TODO 8: Unlink the object. If it is already gone, that is not an error: a failing peer unlinks
       it, too. */
    if (shm_unlink(self->name) == -1 && errno != ENOENT)
        warn("shm_unlink: %s", self->name);
    /* TODO 8 ends. */
    errno = reason;
    err(EXIT_FAILURE, "%s: %s", self->name, what);
}

/** Gives the places of what was taken out back to the sender, and wakes it if it may be asleep. */
static void give_back(struct receiver *self)
{
    struct ring *ring = self->ring;
    const uint32_t before = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    if (before == self->taken)
        return;

    /* TODO 5: Store the new `taken`, but not before all reads of these bytes are done. Then, after a
       fence, load `full_at`: if that is `before`, wake the sender, which sleeps on the futex `taken`. */
    atomic_store_explicit(&ring->taken, self->taken, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&ring->full_at, memory_order_relaxed) == before &&
        syscall(SYS_futex, &ring->taken, FUTEX_WAKE, 1, NULL, NULL, 0) == -1)
        give_up(self, "futex");
    /* TODO 5 ends. */
}

/** Returns how many bytes are certain to be ready. */
static uint32_t look_for_bytes(struct receiver *self)
{
    uint32_t ready = 0;
    /* TODO 3: Set `ready`: how many bytes are in the ring? Load the ring's `sent` into your own only
       if by the last value the ring is empty. If it holds more than fits: set errno to EPROTO, give up. */
    ready = self->sent - self->taken;
    if (ready == 0) {
        self->sent = atomic_load_explicit(&self->ring->sent, memory_order_acquire);
        ready = self->sent - self->taken;
    }
    if (ready > self->ring->capacity) {
        errno = EPROTO;
        give_up(self, "the sender has sent more than fits");
    }
    /* TODO 3 ends. */
    return ready;
}

/** Sleeps while the ring's `sent` is `self->sent`. Returns whether 100 ms went by instead. */
static bool sleep_on_sent(struct receiver *self)
{
    struct ring *ring = self->ring;
    const struct timespec slice = {.tv_nsec = SLICE_NS};
    long result = -1;
    /* TODO 6: Store in `empty_at` on which value of `sent` you sleep. Then, after a fence, wait on the
       futex `sent`, while it has this value, but no longer than `slice`. */
    atomic_store_explicit(&ring->empty_at, self->sent, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    result = syscall(SYS_futex, &ring->sent, FUTEX_WAIT, self->sent, &slice, NULL, 0);
    /* TODO 6 ends. */
    if (result == -1 && errno != EAGAIN && errno != ETIMEDOUT && errno != EINTR)
        give_up(self, "futex");
    return result == -1 && errno == ETIMEDOUT;
}

/** Waits for bytes. Returns how many are ready. Gives up if the sender has come and is gone. */
static uint32_t wait_for_bytes(struct receiver *self)
{
    uint32_t ready = 0;
    while ((ready = look_for_bytes(self)) == 0) {
        give_back(self);
        if (fflush(stdout) == EOF) /* Print what we have before we wait. */
            give_up(self, "fflush");
        if (!sleep_on_sent(self))
            continue;

        const pid_t sender = atomic_load(&self->ring->sender);
        /* TODO 7: If the sender's pid is not 0 and there is no such process, look once more: it may
           have sent something just before its end. If there is nothing: set errno to ESRCH, give up. */
        if (sender != 0 && kill(sender, 0) == -1 && errno == ESRCH && look_for_bytes(self) == 0) {
            errno = ESRCH;
            give_up(self, "the sender is gone");
        }
        /* TODO 7 ends. */
    }
    return ready;
}

/** Takes bytes out of the ring, piece by piece if not all are there. Gives back only before it waits. */
static void get(struct receiver *self, void *bytes, size_t length)
{
    unsigned char *to = bytes;
    while (length > 0) {
        const uint32_t ready = wait_for_bytes(self);
        const uint32_t count = length < ready ? (uint32_t)length : ready;
        const unsigned char *ring = self->ring->bytes;

        /* TODO 4: Copy `count` bytes from their places in `ring` to `to`. After the last place comes the
           first. */
        const uint32_t at = self->taken % self->ring->capacity;
        const uint32_t to_end = self->ring->capacity - at;
        const uint32_t first = count < to_end ? count : to_end;
        memcpy(to, ring + at, first);
        memcpy(to + first, ring, count - first);
        /* TODO 4 ends. */

        self->taken += count;
        to += count;
        length -= count;
    }
}

int main(int argc, char *argv[])
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s /NAME\n", argv[0]);
        return 2;
    }
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) /* If nothing reads our output, fflush() fails. */
        err(EXIT_FAILURE, "signal");
    struct receiver self = {.name = argv[1]};
    self.ring = ring_join(self.name, 0);
    self.taken = atomic_load(&self.ring->taken);
    self.sent = self.taken;

    static unsigned char message[MESSAGE_MAX];
    uint32_t length = 0;
    do {
        /* TODO 1: Take out a length. If it exceeds MESSAGE_MAX: set errno to EMSGSIZE, give up. Then take
           out that many bytes, give back their places, and write the message, which is whole now, to
           stdout. */
        get(&self, &length, sizeof length);
        if (length > sizeof message) {
            errno = EMSGSIZE;
            give_up(&self, "the message is too long");
        }
        get(&self, message, length);
        give_back(&self);
        if (fwrite(message, 1, length, stdout) != length)
            give_up(&self, "fwrite");
        /* TODO 1 ends. */
    } while (length > 0);
    if (fflush(stdout) == EOF)
        give_up(&self, "fflush");
    if (munmap(self.ring, RING_MAPPED) == -1)
        give_up(&self, "munmap");

    /* TODO 2: The conversation is over: unlink the object. */
    if (shm_unlink(self.name) == -1)
        err(EXIT_FAILURE, "shm_unlink: %s", self.name);
    /* TODO 2 ends. */

    return EXIT_SUCCESS;
}

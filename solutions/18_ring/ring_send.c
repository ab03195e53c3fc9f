/**
 * @file
 * @brief Lab 18: sends the lines of its standard input through a ring to an unrelated process.
 *
 * Usage: `ring_send /NAME CAPACITY`
 *
 * The POSIX object NAME holds a struct ring of CAPACITY bytes; either side may start first. A message is
 * its length in four bytes and then a line; a length of 0 ends the conversation. The ring may be shorter
 * than a message: then it goes through piece by piece.
 *
 * See shm_open(3), futex(2), kill(2), getline(3), shm_unlink(3); C17, 7.17 Atomics; Linux.
 */
#define _GNU_SOURCE

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"

/** The sender's own view of the ring, in private memory. */
struct sender {
    const char *name;
    struct ring *ring;
    uint32_t capacity;
    uint32_t sent;  /**< Bytes put in so far. The receiver sees this when it is published. */
    uint32_t taken; /**< The ring's `taken` when we last loaded it: it only grows. */
};

/**
 * Unlinks the object, reports what failed, and ends the program with exit status 1.
 *
 * @param self  the sender
 * @param what  the call that failed, or what else happened; errno has the reason
 */
static _Noreturn void give_up(const struct sender *self, const char *what)
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

/** Returns whether the receiver has come and is gone. */
static bool receiver_is_gone(const struct sender *self)
{
    const pid_t receiver = atomic_load(&self->ring->receiver);
    bool gone = false;
    /* TODO 7: It is gone if its pid is not 0 and there is no such process. */
    gone = receiver != 0 && kill(receiver, 0) == -1 && errno == ESRCH;
    /* TODO 7 ends. */
    return gone;
}

/** Makes what was put in visible to the receiver, and wakes it if it may be asleep. */
static void publish(struct sender *self)
{
    struct ring *ring = self->ring;
    const uint32_t before = atomic_load_explicit(&ring->sent, memory_order_relaxed);
    if (before == self->sent)
        return;

    /* TODO 5: Store the new `sent`, so that a process that loads it sees the bytes in the ring, too. Then,
       after a fence, load `empty_at`: if that is `before`, wake the receiver, which sleeps on the
       futex `sent`. */
    atomic_store_explicit(&ring->sent, self->sent, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&ring->empty_at, memory_order_relaxed) == before &&
        syscall(SYS_futex, &ring->sent, FUTEX_WAKE, 1, NULL, NULL, 0) == -1)
        give_up(self, "futex");
    /* TODO 5 ends. */
}

/** Returns how many bytes are certain to be free. */
static uint32_t look_for_room(struct sender *self)
{
    uint32_t used = 0;
    /* TODO 3: Set `used`: how many bytes are in the ring? Load the ring's `taken` into your own only
       if by the last value the ring is full. If it holds more than fits: set errno to EPROTO, give up. */
    used = self->sent - self->taken;
    if (used == self->capacity) {
        self->taken = atomic_load_explicit(&self->ring->taken, memory_order_acquire);
        used = self->sent - self->taken;
    }
    if (used > self->capacity) {
        errno = EPROTO;
        give_up(self, "the receiver has taken what was not there");
    }
    /* TODO 3 ends. */
    return self->capacity - used;
}

/** Sleeps while the ring's `taken` is `self->taken`. Returns whether 100 ms went by instead. */
static bool sleep_on_taken(struct sender *self)
{
    struct ring *ring = self->ring;
    const struct timespec slice = {.tv_nsec = SLICE_NS};
    long result = -1;
    /* TODO 6: Store in `full_at` on which value of `taken` you sleep. Then, after a fence, wait on the
       futex `taken`, while it has this value, but no longer than `slice`. */
    atomic_store_explicit(&ring->full_at, self->taken, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    result = syscall(SYS_futex, &ring->taken, FUTEX_WAIT, self->taken, &slice, NULL, 0);
    /* TODO 6 ends. */
    if (result == -1 && errno != EAGAIN && errno != ETIMEDOUT && errno != EINTR)
        give_up(self, "futex");
    return result == -1 && errno == ETIMEDOUT;
}

/** Waits for room. Returns how many bytes are free. Gives up if the receiver has come and is gone. */
static uint32_t wait_for_room(struct sender *self)
{
    uint32_t room = 0;
    while ((room = look_for_room(self)) == 0) {
        publish(self);
        if (sleep_on_taken(self) && receiver_is_gone(self)) {
            errno = ESRCH;
            give_up(self, "the receiver is gone");
        }
    }
    return room;
}

/** Puts bytes into the ring, piece by piece if not all fit. Publishes only before it waits. */
static void put(struct sender *self, const void *bytes, size_t length)
{
    const unsigned char *from = bytes;
    while (length > 0) {
        const uint32_t room = wait_for_room(self);
        const uint32_t count = length < room ? (uint32_t)length : room;
        unsigned char *ring = self->ring->bytes;

        /* TODO 4: Copy `count` bytes from `from` to their places in `ring`. After the last place comes the
           first. */
        const uint32_t at = self->sent % self->capacity;
        const uint32_t to_end = self->capacity - at;
        const uint32_t first = count < to_end ? count : to_end;
        memcpy(ring + at, from, first);
        memcpy(ring, from + first, count - first);
        /* TODO 4 ends. */

        self->sent += count;
        from += count;
        length -= count;
    }
}

/** Parses a capacity: a power of two in decimal digits, up to RING_CAPACITY_MAX. Returns 0 for all else. */
static uint32_t parse_capacity(const char *text)
{
    char *end = NULL;
    errno = 0;
    const uintmax_t value = strtoumax(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value > RING_CAPACITY_MAX)
        return 0;
    return (value & (value - 1)) == 0 ? (uint32_t)value : 0;
}

int main(int argc, char *argv[])
{
    const uint32_t capacity = argc == 3 ? parse_capacity(argv[2]) : 0;
    if (capacity == 0) {
        fprintf(stderr, "usage: %s /NAME CAPACITY (a power of two, up to %d)\n", argv[0], RING_CAPACITY_MAX);
        return 2;
    }
    struct sender self = {.name = argv[1], .capacity = capacity};
    self.ring = ring_join(self.name, capacity);
    self.sent = atomic_load(&self.ring->sent);
    self.taken = atomic_load(&self.ring->taken);

    char *line = NULL;
    size_t size = 0;
    ssize_t length = 0;
    while ((length = getline(&line, &size, stdin)) != -1) {
        /* TODO 1: Send the line: put in its length, four bytes, then the line, and publish. If it
           is longer than MESSAGE_MAX, send none of it: set errno to EMSGSIZE, give up. */
        const uint32_t header = (uint32_t)length;
        if (length > MESSAGE_MAX) {
            errno = EMSGSIZE;
            give_up(&self, "the line is too long");
        }
        put(&self, &header, sizeof header);
        put(&self, line, (size_t)length);
        publish(&self);
        /* TODO 1 ends. */
    }
    if (!feof(stdin)) /* if there is no memory for the line, stdin has no error, either */
        give_up(&self, "getline");
    free(line);

    /* TODO 2: Send the end, a length of 0, and publish it. Then, if the receiver is gone and did not take
       everything: set errno to ESRCH, give up. */
    const uint32_t end = 0;
    put(&self, &end, sizeof end);
    publish(&self);
    if (receiver_is_gone(&self) && atomic_load(&self.ring->taken) != self.sent) {
        errno = ESRCH;
        give_up(&self, "the receiver is gone");
    }
    /* TODO 2 ends. */

    if (munmap(self.ring, RING_MAPPED) == -1)
        give_up(&self, "munmap");
    return EXIT_SUCCESS;
}

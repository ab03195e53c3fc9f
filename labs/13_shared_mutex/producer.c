/**
 * @file
 * @brief Lab 13: puts items into a buffer that unrelated processes share.
 *
 * Usage: `producer /NAME ID COUNT`
 *
 * The buffer is the POSIX object NAME, which holds a struct buffer. Any number of producers and consumers
 * may use it at a time, and any of them may start first. The items are (ID, 1) to (ID, COUNT).
 *
 * See pthread_mutexattr_setpshared(3), pthread_mutex_lock(3), pthread_cond_wait(3), pthread_cond_signal(3);
 * POSIX.1-2024.
 */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "buffer.h"

enum { MOST = 1000000 };

/**
 * Reads a decimal number: digits alone, no sign, no space.
 *
 * @param digits  the number as text
 * @return        the number, or 0 if it is not a number from 1 to MOST
 */
static uint32_t parse_number(const char *digits)
{
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return 0;
    const uintmax_t number = strtoumax(digits, NULL, 10); /* UINTMAX_MAX if it does not fit */
    return number > MOST ? 0 : (uint32_t)number;
}

/**
 * Sets up a new buffer's mutex and condition variables. Ends the program if that fails.
 *
 * @param buffer  the buffer, all zero bytes or left incomplete by a killed process
 */
static void set_up(struct buffer *buffer)
{
    /* TODO 1: Set up the mutex with attributes for use by several processes. */
    errx(EXIT_FAILURE, "TODO 1: set up the mutex");
    /* TODO 1 ends. */

    /* TODO 2: Set up both condition variables in the same way. They have their own attributes. */
    errx(EXIT_FAILURE, "TODO 2: set up the condition variables at %p", (void *)&buffer->not_full);
    /* TODO 2 ends. */
}

/**
 * Puts one item into the buffer, as the newest. Waits while there is no room for it.
 *
 * @param buffer  where to put it
 * @param item    what to put
 */
static void put(struct buffer *buffer, struct item item)
{
    /* TODO 3: Lock the mutex. */
    errx(EXIT_FAILURE, "TODO 3: lock the mutex");
    /* TODO 3 ends. */

    /* TODO 4: While all slots are taken, wait for `not_full`. If that fails, unlock the mutex before
       the program ends: no other process can. */
    errx(EXIT_FAILURE, "TODO 4: wait while %" PRIu32 " of %d slots are taken", buffer->count, SLOTS);
    /* TODO 4 ends. */

    /* TODO 5: Put the item into the first free slot, which is the one after the newest item, and count it. */
    errx(EXIT_FAILURE, "TODO 5: put item %" PRIu32 " of producer %" PRIu32, item.number, item.producer);
    /* TODO 5 ends. */

    /* TODO 6: Unlock the mutex, and signal `not_empty` to one waiter. */
    errx(EXIT_FAILURE, "TODO 6: unlock the mutex, and signal");
    /* TODO 6 ends. */
}

int main(int argc, char *argv[])
{
    const uint32_t id = argc == 4 ? parse_number(argv[2]) : 0;
    const uint32_t count = argc == 4 ? parse_number(argv[3]) : 0;
    if (id == 0 || count == 0) {
        fprintf(stderr, "usage: %s /NAME ID COUNT (both from 1 to %d)\n", argv[0], MOST);
        return 2;
    }
    struct buffer *buffer = join(argv[1], set_up);

    for (uint32_t number = 1; number <= count; number++)
        put(buffer, (struct item){.producer = id, .number = number});

    /* No process destroys the mutex or unlinks the name: others may come. */
    if (munmap(buffer, sizeof *buffer) == -1)
        err(EXIT_FAILURE, "munmap: %s", argv[1]);
    return EXIT_SUCCESS;
}

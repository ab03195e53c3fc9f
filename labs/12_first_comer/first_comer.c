/**
 * @file
 * @brief Lab 12: one of many processes that use an office, which the first of them sets up.
 *
 * Usage: `first_comer /NAME N`
 *
 * The office is the POSIX object NAME. A process that finds none sets one up with the number N, under a
 * private name, and links it into place when it is complete. Then it takes a ticket like all others.
 *
 * See shm_open(3), link(2), sem_init(3), sem_wait(3); POSIX.1-2024. That an object is a file in /dev/shm,
 * which can be linked, is Linux.
 */
#define _POSIX_C_SOURCE 200809L

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DESKS = 2, MAX_N = 1000000000 };

/* An atomic that uses a lock inside this process would not be atomic for another process. */
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "atomics of 32 bits have to be lock-free");

/** The object begins with these fields, in this order. A new object is all zero bytes. */
struct office {
    _Atomic uint32_t setups;  /**< How many processes have set up this object. 1: it is complete. */
    _Atomic uint32_t tickets; /**< How many tickets were taken. */
    uint32_t number[DESKS];   /**< The desks' numbers: N, N + 1 … of the process that set it up. */
    uint32_t visits[DESKS];   /**< How many processes have been at each desk. Counted at the desk. */
    sem_t desk[DESKS];        /**< 1: this desk is free. */
};

/** Parses a number from 1 to MAX_N: decimal digits alone, no sign, no space. Returns 0 for all else. */
static uint32_t parse_number(const char *digits)
{
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return 0;
    const uintmax_t number = strtoumax(digits, NULL, 10); /* UINTMAX_MAX if it does not fit */
    return number > MAX_N ? 0 : (uint32_t)number;
}

/** Maps the office, or returns NULL if there is none. An object with this name is complete. */
static struct office *enter(const char *name)
{
    struct office *office = NULL;
    /* TODO 1: Open the object for reading and writing. Do not create it: if there is none, return NULL. Map
       it, and close the descriptor. */
    errx(EXIT_FAILURE, "TODO 1: open %s", name);
    /* TODO 1 ends. */
    return office;
}

/** Unlinks the private name, reports which call failed, and ends the program with exit status 1. */
static _Noreturn void give_up(const char *own, const char *call)
{
    const int reason = errno;
    /* TODO 6: Unlink the private name. NAME itself is not ours to remove. */
    warnx("TODO 6: unlink %s", own);
    /* TODO 6 ends. */
    errno = reason;
    err(EXIT_FAILURE, "%s: %s", call, own);
}

/** Sets up an office under a private name, and links it into place if there is none by then. */
static void offer(const char *name, uint32_t n)
{
    char own[NAME_MAX], from[sizeof own + 16], to[sizeof own + 16];
    if ((size_t)snprintf(own, sizeof own, "%s.%ld", name, (long)getpid()) >= sizeof own)
        errx(EXIT_FAILURE, "%s: this name is too long", name);
    snprintf(from, sizeof from, "/dev/shm%s", own); /* The two as paths, for link(). */
    snprintf(to, sizeof to, "/dev/shm%.*s", NAME_MAX, name);

    int descriptor = -1;
    /* TODO 2: Unlink `own`: if it exists, a process with our pid was killed; if not, that is not an
       error. Then create it, for reading and writing, with mode 0600, and only if it is new. */
    errx(EXIT_FAILURE, "TODO 2: create %s", own);
    /* TODO 2 ends. */

    struct office *office = NULL;
    /* TODO 3: Set its size (a struct office), reserve its memory (lab 08), map it, and close the
       descriptor. */
    warnx("TODO 3: set the size of descriptor %d, reserve memory, and map it", descriptor);
    errno = ENOSYS;
    give_up(own, "TODO 3");
    /* TODO 3 ends. */

    /* TODO 4: Set it up: desk d has the number n + d, and its semaphore, for use by several processes, means
       that it is free. Count the set-up. Then unmap the object. */
    errx(EXIT_FAILURE, "TODO 4: set up %d desks at %p, from %" PRIu32 " on", DESKS, (void *)office, n);
    /* TODO 4 ends. */

    /* TODO 5: Link `from` to `to`; if there is an office by now, that is not an error. Then unlink `own`. */
    errx(EXIT_FAILURE, "TODO 5: link %s to %s", from, to);
    /* TODO 5 ends. */
}

int main(int argc, char *argv[])
{
    const uint32_t n = argc == 3 ? parse_number(argv[2]) : 0;
    if (n == 0 || argv[1][0] != '/') {
        fprintf(stderr, "usage: %s /NAME N (N is from 1 to %d)\n", argv[0], MAX_N);
        return 2;
    }
    const char *name = argv[1];

    struct office *office = enter(name);
    if (office == NULL) {
        offer(name, n);
        office = enter(name); /* Ours, or that of a faster process. */
    }
    if (office == NULL)
        err(EXIT_FAILURE, "shm_open: %s", name);

    uint32_t ticket = 0, number = 0;
    /* TODO 7: Take a ticket with one atomic addition: it is how many were taken before. Its desk is the
       ticket modulo DESKS. Wait until that desk is free, count the visit, note the desk's number, and
       post the desk. Then unmap the object. */
    errx(EXIT_FAILURE, "TODO 7: take a ticket and go to its desk");
    /* TODO 7 ends. */

    if (printf("ticket %" PRIu32 " number %" PRIu32 "\n", ticket, number) < 0 || fflush(stdout) == EOF)
        err(EXIT_FAILURE, "stdout");
    return EXIT_SUCCESS;
}

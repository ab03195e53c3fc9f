/**
 * @file
 * @brief Lab 11: prints what an unrelated process sends, piece by piece.
 *
 * Usage: `reader /NAME`
 *
 * The pieces come through the POSIX object NAME, which holds a struct pair; either side may start first.
 * A piece of length 0 ends the conversation. Then this program unlinks the name.
 *
 * See shm_open(3), fcntl(2), sem_init(3), sem_wait(3), sem_post(3), kill(2); POSIX.1-2024.
 */
#define _POSIX_C_SOURCE 200809L

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pair.h"

/**
 * Unlinks the object, reports what failed, and ends the program with exit status 1.
 *
 * @param name  the object
 * @param what  the call that failed, or what else happened; errno has the reason
 */
static _Noreturn void give_up(const char *name, const char *what)
{
    const int reason = errno;
    /* TODO 7: Unlink the object. If already gone, that is not an error: a failing peer unlinks it too. */
    if (shm_unlink(name) == -1 && errno != ENOENT)
        warn("shm_unlink: %s", name);
    /* TODO 7 ends. */
    errno = reason;
    err(EXIT_FAILURE, "%s: %s", name, what);
}

/**
 * Opens or creates the object, sets it up if that has not been done, and takes the reader's place.
 *
 * @param name  the object
 * @return      the mapped object
 */
static struct pair *join(const char *name)
{
    int descriptor = -1;
    /* TODO 1: Open the object for reading and writing; if it does not exist, create it with mode 0600. */
    descriptor = shm_open(name, O_CREAT | O_RDWR, 0600);
    if (descriptor == -1)
        err(EXIT_FAILURE, "shm_open: %s", name);
    /* TODO 1 ends. */

    /* One process at a time from here on. The kernel drops the lock when we close the descriptor or end. */
    if (lock_whole(descriptor) == -1)
        give_up(name, "fcntl");

    struct pair *pair = NULL;
    /* TODO 2: Set the object's size to that of a struct pair, reserve its memory (lab 08), and map it. */
    if (ftruncate(descriptor, sizeof *pair) == -1)
        give_up(name, "ftruncate");
    errno = posix_fallocate(descriptor, 0, sizeof *pair);
    if (errno != 0)
        give_up(name, "posix_fallocate");
    pair = mmap(NULL, sizeof *pair, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (pair == MAP_FAILED)
        give_up(name, "mmap");
    /* TODO 2 ends. */

    if (!pair->ready) {
        /* TODO 3: Set up both semaphores for use by several processes: there is room, and no item. */
        if (sem_init(&pair->room, 1, 1) == -1 || sem_init(&pair->items, 1, 0) == -1)
            give_up(name, "sem_init");
        /* TODO 3 ends. */
        pair->ready = 1; /* Last: if we are killed earlier, the next process sets up everything again. */
    }

    const pid_t other = atomic_load(&pair->reader);
    if (other != 0)
        errx(EXIT_FAILURE, "%s: already has a reader (pid %ld)", name, (long)other);
    atomic_store(&pair->reader, getpid());

    /* This drops the lock. The mapping needs no descriptor. */
    if (close(descriptor) == -1)
        give_up(name, "close");
    return pair;
}

/**
 * Waits until the reader may empty the slot. Ends the program if the writer has come and is gone.
 *
 * @param name  the object
 * @param pair  the mapped object
 */
static void wait_for_item(const char *name, struct pair *pair)
{
    for (;;) {
        const struct timespec until = end_of_slice();
        /* TODO 4: Wait for the semaphore `items` until then, and return when it is yours. On a time-out,
           or if a signal interrupts the wait, continue below; on any other error, give up. */
        if (sem_timedwait(&pair->items, &until) == 0)
            return;
        if (errno != ETIMEDOUT && errno != EINTR)
            give_up(name, "sem_timedwait");
        /* TODO 4 ends. */

        const pid_t writer = atomic_load(&pair->writer);
        /* TODO 5: If the writer has come (pid not 0) and is gone (no such process), give up, unless it posted
           a last piece between our time-out and its end: then take that and return. */
        if (writer != 0 && kill(writer, 0) == -1 && errno == ESRCH) {
            if (sem_trywait(&pair->items) == 0)
                return;
            errno = ESRCH;
            give_up(name, "the writer is gone");
        }
        /* TODO 5 ends. */
    }
}

int main(int argc, char *argv[])
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s /NAME\n", argv[0]);
        return 2;
    }
    const char *name = argv[1];
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) /* If nothing reads our output, write() fails. */
        err(EXIT_FAILURE, "signal");
    struct pair *pair = join(name);

    for (;;) {
        wait_for_item(name, pair);
        if (pair->length == 0)
            break;

        /* TODO 6: Write out the whole piece (write() may take only a part), then post `room`. */
        for (size_t done = 0; done < pair->length;) {
            const ssize_t count = write(STDOUT_FILENO, pair->bytes + done, pair->length - done);
            if (count == -1)
                give_up(name, "write");
            done += (size_t)count;
        }
        if (sem_post(&pair->room) == -1)
            give_up(name, "sem_post");
        /* TODO 6 ends. */
    }

    if (munmap(pair, sizeof *pair) == -1)
        give_up(name, "munmap");

    /* TODO 8: The conversation is over: unlink the object. */
    if (shm_unlink(name) == -1)
        err(EXIT_FAILURE, "shm_unlink: %s", name);
    /* TODO 8 ends. */

    return EXIT_SUCCESS;
}

/**
 * @file
 * @brief Lab 14: moves money in a bank that gets over the death of whoever was moving money.
 *
 * Usage: `robust_mutex /NAME show`, `robust_mutex /NAME transfer AMOUNT`
 *
 * The bank is the POSIX object NAME, which holds a struct bank; who finds none makes it. A process can be
 * killed anywhere: the next one undoes the transfer that was left half done, and goes on.
 *
 * See pthread_mutexattr_setrobust(3), pthread_mutex_lock(3p), pthread_mutex_consistent(3), msync(2);
 * POSIX.1-2008.
 */
#define _POSIX_C_SOURCE 200809L

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/** What the two accounts have together, always, but for the middle of a transfer. */
static const int64_t TOTAL = 1000;

/** The object. Unlike `ready`, all else is read and written by the owner of the mutex only. */
struct bank {
    int64_t ready;         /**< 1: the bank is set up. Read and written under the file lock. */
    int64_t account[2];    /**< What is in each account. */
    int64_t under_way;     /**< 1: a transfer is under way, and `before` is valid. */
    int64_t before[2];     /**< What was in each account before it. */
    int64_t repairs;       /**< How often the bank has passed from a dead owner to a living one. */
    pthread_mutex_t mutex; /**< Robust, and shared between processes. */
};

/**
 * Says what failed while the bank was being opened, removes the object if it is not set up, and ends the
 * program with exit status 1.
 *
 * @param name        the object
 * @param descriptor  of the object
 * @param call        the call that failed; errno says why
 */
static _Noreturn void give_up(const char *name, int descriptor, const char *call)
{
    const int reason = errno;
    int64_t ready = 0;
    if (pread(descriptor, &ready, sizeof ready, 0) == -1)
        warn("pread: %s", name);
    else if (!ready && shm_unlink(name) == -1)
        warn("shm_unlink: %s", name);
    errno = reason;
    err(EXIT_FAILURE, "%s: %s", name, call);
}

/**
 * Opens the object or makes it, and locks it as a file. The kernel drops the lock with the descriptor.
 *
 * @param name  the object
 * @return      its descriptor
 */
static int open_locked(const char *name)
{
    for (;;) {
        const int descriptor = shm_open(name, O_CREAT | O_RDWR, 0600);
        if (descriptor == -1)
            err(EXIT_FAILURE, "shm_open: %s", name);

        struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(descriptor, F_SETLKW, &whole) == -1)
            give_up(name, descriptor, "fcntl");

        struct stat status;
        if (fstat(descriptor, &status) == -1)
            give_up(name, descriptor, "fstat");
        if (status.st_nlink > 0)
            return descriptor;

        /* While we waited for the lock, its owner failed and unlinked the object: begin again. */
        if (close(descriptor) == -1)
            err(EXIT_FAILURE, "close: %s", name);
    }
}

/**
 * Maps the bank, and sets it up if nobody has.
 *
 * @param name  the object
 * @return      the bank
 */
static struct bank *open_bank(const char *name)
{
    const int descriptor = open_locked(name);
    struct bank *bank = NULL;
    if (ftruncate(descriptor, sizeof *bank) == -1)
        give_up(name, descriptor, "ftruncate");
    errno = posix_fallocate(descriptor, 0, sizeof *bank);
    if (errno != 0)
        give_up(name, descriptor, "posix_fallocate");
    bank = mmap(NULL, sizeof *bank, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (bank == MAP_FAILED)
        give_up(name, descriptor, "mmap");

    if (!bank->ready) {
        pthread_mutexattr_t kind;
        errno = pthread_mutexattr_init(&kind);
        if (errno != 0)
            give_up(name, descriptor, "pthread_mutexattr_init");

        /* TODO 1: Have the attributes say that the mutex is shared between processes, and robust; then set
           up the bank's mutex with them. Each call gives 0 or the error number. */
        warnx("TODO 1: set up the mutex of %s", name);
        errno = ENOSYS;
        give_up(name, descriptor, "no mutex");
        /* TODO 1 ends. */

        errno = pthread_mutexattr_destroy(&kind);
        if (errno != 0)
            give_up(name, descriptor, "pthread_mutexattr_destroy");
        bank->account[0] = TOTAL;
        if (msync(bank, sizeof *bank, MS_SYNC) == -1) /* Why: see settle(). */
            give_up(name, descriptor, "msync");
        bank->ready = 1; /* Last: if we are killed before, the next one sets up all of it anew. */
    }

    if (close(descriptor) == -1)
        err(EXIT_FAILURE, "close: %s", name);
    return bank;
}

/**
 * Ends a step: its stores are in the bank before the first of the next step.
 *
 * The compiler may exchange stores, but moves none past a call that is handed the memory. (Were the bank a
 * file on a disk, this call would also wait for the disk.) If it fails, the program ends as it is, inside
 * the critical section: that is for the next owner to put right, as if we had been killed.
 *
 * @param name  the object
 * @param bank  the same, mapped
 */
static void settle(const char *name, struct bank *bank)
{
    if (msync(bank, sizeof *bank, MS_SYNC) == -1)
        err(EXIT_FAILURE, "%s: msync", name);
}

/**
 * Puts right what a dead owner has left. Can itself be cut short anywhere, and be done anew from the start.
 *
 * @param name  the object
 * @param bank  the same, mapped; we own its mutex
 */
static void repair(const char *name, struct bank *bank)
{
    /* TODO 5: If a transfer is under way, put both accounts back to what was in them before it, settle; then
       no transfer is under way, settle. */
    errx(EXIT_FAILURE, "TODO 5: undo the transfer in %s, if one is under way", name);
    /* TODO 5 ends. */
    bank->repairs++;
    settle(name, bank);

    /* TODO 6: Mark the mutex consistent. Without this nobody could ever lock it again. */
    errx(EXIT_FAILURE, "TODO 6: mark the mutex of %s consistent", name);
    /* TODO 6 ends. */
}

/**
 * Waits for the mutex. If its owner has died, repairs the bank.
 *
 * @param name  the object
 * @param bank  the same, mapped
 */
static void lock(const char *name, struct bank *bank)
{
    bool died = false;
    /* TODO 2: Lock the mutex. It is yours if the call gives 0, and also if it gives EOWNERDEAD: then its
       owner has died. Anything else is a failure. */
    errx(EXIT_FAILURE, "TODO 2: lock the mutex of %s", name);
    /* TODO 2 ends. */
    if (died)
        repair(name, bank);
}

/**
 * Moves money from the first account to the second, so that it can be undone at any moment.
 *
 * @param name    the object
 * @param bank    the same, mapped; we own its mutex
 * @param amount  how much; the first account has it
 */
static void transfer(const char *name, struct bank *bank, int64_t amount)
{
    /* TODO 3: Five steps, and settle after each: keep what is in the accounts in `before`; a transfer is
       under way; take from the first account; add to the second; no transfer is under way. */
    errx(EXIT_FAILURE, "TODO 3: move %" PRId64 " from %" PRId64 " in %s", amount, bank->account[0], name);
    /* TODO 3 ends. */
}

/**
 * Reads a whole number from 1 to TOTAL.
 *
 * @param text  the number, nothing before it and nothing after it
 * @return      the number; 0 for any other text
 */
static int64_t parse_amount(const char *text)
{
    char *end = NULL;
    errno = 0;
    const intmax_t number = strtoimax(text, &end, 10);
    const bool whole = text[0] >= '0' && text[0] <= '9' && *end == '\0';
    return whole && errno == 0 && number <= TOTAL ? number : 0;
}

int main(int argc, char *argv[])
{
    const bool show = argc == 3 && strcmp(argv[2], "show") == 0;
    const int64_t amount = argc == 4 && strcmp(argv[2], "transfer") == 0 ? parse_amount(argv[3]) : 0;
    if (!show && amount == 0) {
        fprintf(stderr, "usage: %s /NAME show | transfer AMOUNT\n", argv[0]);
        return 2;
    }
    const char *name = argv[1];
    struct bank *bank = open_bank(name);

    lock(name, bank);
    const bool enough = amount <= bank->account[0];
    if (!show && enough)
        transfer(name, bank, amount);
    const int64_t first = bank->account[0], second = bank->account[1], repairs = bank->repairs;

    /* TODO 4: Unlock the mutex. */
    errx(EXIT_FAILURE, "TODO 4: unlock the mutex of %s", name);
    /* TODO 4 ends. */

    if (munmap(bank, sizeof *bank) == -1)
        err(EXIT_FAILURE, "%s: munmap", name);
    if (!enough)
        errx(EXIT_FAILURE, "%s: there is only %" PRId64 " in the first account", name, first);
    if (printf("%" PRId64 " %" PRId64 " %" PRId64 "\n", first, second, repairs) < 0 || fflush(stdout) == EOF)
        err(EXIT_FAILURE, "standard output");
    return EXIT_SUCCESS;
}

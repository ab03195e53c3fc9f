/**
 * @file
 * @brief Lab 14: moves money in a bank that survives the death of a process in mid-transfer.
 *
 * Usage: `robust_mutex /NAME show`, `robust_mutex /NAME transfer AMOUNT`
 *
 * The bank is the POSIX object NAME, which holds a struct bank, created if necessary. A process can be
 * killed anywhere: the next one undoes the half-done transfer, and continues.
 *
 * See pthread_mutexattr_setrobust(3), pthread_mutex_lock(3p), pthread_mutex_consistent(3), msync(2);
 * POSIX.1-2024.
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
#include <unistd.h>

/** The sum of the two accounts, except in the middle of a transfer. */
static const int64_t TOTAL = 1000;

/** The object. Only the owner of the mutex uses the fields other than `ready`. */
struct bank {
    int64_t ready;         /**< 1: the bank is set up. Read and written under the file lock. */
    int64_t account[2];    /**< The two accounts. */
    int64_t under_way;     /**< 1: a transfer is under way, and `before` is valid. */
    int64_t before[2];     /**< The two accounts before it. */
    int64_t repairs;       /**< How often a process got the mutex of a dead owner. */
    pthread_mutex_t mutex; /**< Robust, and shared between processes. */
};

/** Ends the program if a call failed that returns an error number, or 0 for success. */
static void must(int code, const char *call)
{
    if (code != 0) {
        errno = code;
        err(EXIT_FAILURE, "%s", call);
    }
}

/**
 * Ends a step: its stores are in the bank before the first store of the next step.
 *
 * The compiler may reorder stores, but moves none past a call that receives the memory. (Were the bank a
 * file on a disk, this call would also wait for the disk.) If it fails, the program ends inside the
 * critical section, and the next owner repairs the bank, as if we had been killed.
 */
static void settle(struct bank *bank)
{
    if (msync(bank, sizeof *bank, MS_SYNC) == -1)
        err(EXIT_FAILURE, "msync");
}

/** Sets up a bank. Can be interrupted anywhere before its last store, and repeated from the start. */
static void set_up(struct bank *bank)
{
    pthread_mutexattr_t kind;
    must(pthread_mutexattr_init(&kind), "pthread_mutexattr_init");
    /* TODO 1: Set the attributes for a mutex that is shared between processes, and robust; then set up
       the bank's mutex with them. Each call returns 0 or the error number: pass it to must(). */
    errx(EXIT_FAILURE, "TODO 1: set up the bank's mutex");
    /* TODO 1 ends. */
    must(pthread_mutexattr_destroy(&kind), "pthread_mutexattr_destroy");
    bank->account[0] = TOTAL;
    settle(bank);
    bank->ready = 1;
}

/** Maps the bank, and sets it up if necessary: one process at a time, under a lock on the file. */
static struct bank *open_bank(const char *name)
{
    const int descriptor = shm_open(name, O_CREAT | O_RDWR, 0600);
    if (descriptor == -1)
        err(EXIT_FAILURE, "shm_open: %s", name);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(descriptor, F_SETLKW, &whole) == -1)
        err(EXIT_FAILURE, "fcntl: %s", name);
    must(posix_fallocate(descriptor, 0, sizeof(struct bank)), "posix_fallocate");
    struct bank *bank = mmap(NULL, sizeof *bank, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (bank == MAP_FAILED)
        err(EXIT_FAILURE, "mmap: %s", name);
    if (!bank->ready)
        set_up(bank);
    if (close(descriptor) == -1) /* This drops the lock. The mapping needs no descriptor. */
        err(EXIT_FAILURE, "close: %s", name);
    return bank;
}

/** Repairs what a dead owner left. Can be interrupted anywhere, and repeated from the start. */
static void repair(struct bank *bank)
{
    /* TODO 5: If a transfer is under way, restore both accounts to their values before it, settle; then
       no transfer is under way, settle. */
    errx(EXIT_FAILURE, "TODO 5: undo the transfer, if one is under way");
    /* TODO 5 ends. */
    bank->repairs++;
    settle(bank);

    /* TODO 6: Mark the mutex consistent. Without this no process could ever lock it again. */
    errx(EXIT_FAILURE, "TODO 6: mark the mutex consistent");
    /* TODO 6 ends. */
}

/** Waits for the mutex. If its owner has died, repairs the bank. */
static void lock(struct bank *bank)
{
    bool died = false;
    /* TODO 2: Lock the mutex. It is yours if the call returns 0, and also if it returns EOWNERDEAD: then its
       owner has died. Anything else is an error. */
    errx(EXIT_FAILURE, "TODO 2: lock the mutex");
    /* TODO 2 ends. */
    if (died)
        repair(bank);
}

/** Moves money from the first account to the second, so that it can be undone at any moment. */
static void transfer(struct bank *bank, int64_t amount)
{
    /* TODO 3: Five steps, and settle after each: store the accounts in `before`; a transfer is
       under way; subtract from the first account; add to the second; no transfer is under way. */
    errx(EXIT_FAILURE, "TODO 3: move %" PRId64 " from %" PRId64, amount, bank->account[0]);
    /* TODO 3 ends. */
}

/** Parses a whole number from 1 to TOTAL, digits only. Returns 0 for any other text. */
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

    lock(bank);
    const bool enough = amount <= bank->account[0];
    if (!show && enough)
        transfer(bank, amount);
    const int64_t first = bank->account[0], second = bank->account[1], repairs = bank->repairs;

    /* TODO 4: Unlock the mutex. */
    errx(EXIT_FAILURE, "TODO 4: unlock the mutex");
    /* TODO 4 ends. */

    if (munmap(bank, sizeof *bank) == -1)
        err(EXIT_FAILURE, "%s: munmap", name);
    if (!enough)
        errx(EXIT_FAILURE, "%s: there is only %" PRId64 " in the first account", name, first);
    if (printf("%" PRId64 " %" PRId64 " %" PRId64 "\n", first, second, repairs) < 0 || fflush(stdout) == EOF)
        err(EXIT_FAILURE, "standard output");
    return EXIT_SUCCESS;
}

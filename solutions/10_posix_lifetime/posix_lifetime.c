/**
 * @file
 * @brief Lab 10: how long a POSIX object, its name, its bytes and a mapping of it live.
 *
 * Usage: `posix_lifetime /NAME`
 *
 * Makes five experiments. Each has a new object NAME and its own child, which takes something away and
 * then reads, which may kill it. One line for each reports how its child ended. The name is free again when
 * the program ends.
 *
 * See shm_open(3), shm_unlink(3), mmap(2), munmap(2), ftruncate(2), fork(2), waitpid(2), signal(7);
 * POSIX.1-2024.
 */
#define _POSIX_C_SOURCE 200809L

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/** The byte that fills an experiment's object, and the byte of a new object of the same name. */
static const char MARK = 'x', OTHER = 'y';

/** Bytes of an object that was shrunk: part of a page. */
enum { KEPT = 100 };

/** The exit status of a child that is not killed. */
enum { READ_OK = 0, FAILED = 1, WRONG_BYTES = 2 };

/** An object of two pages, open and mapped for reading and writing. The children inherit both. */
struct object {
    const char *name;
    int descriptor;
    char *memory;
    size_t page; /**< bytes of one page */
};

/** Reports which call failed, and why. Returns FAILED. */
static int failed(const char *call, const char *name)
{
    warn("%s: %s", call, name);
    return FAILED;
}

/** Returns READ_OK if all these bytes are as wanted, else WRONG_BYTES; unless a read kills the process. */
static int compare(const char *memory, size_t size, char wanted)
{
    for (size_t i = 0; i < size; i++)
        if (memory[i] != wanted)
            return WRONG_BYTES;
    return READ_OK;
}

/* The experiments: what a child does, and its exit status. */

static int after_close(const struct object *object)
{
    /* TODO 4: Close the descriptor. */
    if (close(object->descriptor) == -1)
        return failed("close", object->name);
    /* TODO 4 ends. */
    return compare(object->memory, 2 * object->page, MARK);
}

static int after_unlink(const struct object *object)
{
    int namesake = -1;
    /* TODO 5: Unlink the name. Create a new object of this name, and write the byte OTHER to it. */
    if (shm_unlink(object->name) == -1)
        return failed("shm_unlink", object->name);
    namesake = shm_open(object->name, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (namesake == -1)
        return failed("shm_open", object->name);
    if (write(namesake, &OTHER, 1) != 1)
        return failed("write", object->name);
    /* TODO 5 ends. */
    return compare(object->memory, 2 * object->page, MARK);
}

static int after_munmap(const struct object *object)
{
    /* TODO 6: Unmap both pages. Compare the byte at their former address with MARK. */
    if (munmap(object->memory, 2 * object->page) == -1)
        return failed("munmap", object->name);
    return compare(object->memory, 1, MARK);
    /* TODO 6 ends. */
}

static int in_the_last_page(const struct object *object)
{
    /* TODO 7: Shrink the object to KEPT bytes. Compare all the rest of its last page with 0. */
    if (ftruncate(object->descriptor, KEPT) == -1)
        return failed("ftruncate", object->name);
    return compare(object->memory + KEPT, object->page - KEPT, 0);
    /* TODO 7 ends. */
}

static int in_the_next_page(const struct object *object)
{
    /* TODO 8: Shrink the object to KEPT bytes. Compare the first byte of the page after its last with 0. */
    if (ftruncate(object->descriptor, KEPT) == -1)
        return failed("ftruncate", object->name);
    return compare(object->memory + object->page, 1, 0);
    /* TODO 8 ends. */
}

/** What every child does. No signal handler may replace the kernel's own reaction. */
static _Noreturn void be_child(const struct object *object, int (*experiment)(const struct object *))
{
    if (signal(SIGSEGV, SIG_DFL) == SIG_ERR || signal(SIGBUS, SIG_DFL) == SIG_ERR)
        _exit(failed("signal", object->name));
    _exit(experiment(object));
}

/** Unlinks the name if it exists, reports which call failed, and ends the program with exit status 1. */
static _Noreturn void give_up(const char *name, const char *call)
{
    const int reason = errno;
    if (shm_unlink(name) == -1 && errno != ENOENT)
        warn("shm_unlink: %s", name);
    errno = reason;
    err(EXIT_FAILURE, "%s: %s", call, name);
}

/** Creates the object, lets a child make the experiment, removes the object, and reports the outcome. */
static void try(const char *name, const char *label, int (*experiment)(const struct object *))
{
    struct object object = {.name = name, .page = (size_t)sysconf(_SC_PAGESIZE)};
    object.descriptor = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (object.descriptor == -1)
        err(EXIT_FAILURE, "shm_open: %s", name);
    errno = posix_fallocate(object.descriptor, 0, (off_t)(2 * object.page));
    if (errno != 0)
        give_up(name, "posix_fallocate");
    object.memory = mmap(NULL, 2 * object.page, PROT_READ | PROT_WRITE, MAP_SHARED, object.descriptor, 0);
    if (object.memory == MAP_FAILED)
        give_up(name, "mmap");
    memset(object.memory, MARK, 2 * object.page);

    pid_t child = -1;
    /* TODO 1: Fork. */
    child = fork();
    if (child == -1)
        give_up(name, "fork");
    /* TODO 1 ends. */
    if (child == 0)
        be_child(&object, experiment);

    int status = 0;
    /* TODO 2: Wait for the child, and keep its wait status. */
    if (waitpid(child, &status, 0) == -1)
        give_up(name, "waitpid");
    /* TODO 2 ends. */

    if (munmap(object.memory, 2 * object.page) == -1)
        give_up(name, "munmap");
    if (close(object.descriptor) == -1)
        give_up(name, "close");
    if (shm_unlink(name) == -1 && errno != ENOENT)
        err(EXIT_FAILURE, "shm_unlink: %s", name);

    /* TODO 3: Print the label, a colon, a space and how the child ended: "SIGSEGV", "SIGBUS" or "signal
       N" if a signal has killed it, "read ok" or "wrong bytes" for these exit statuses. For any other exit
       status print no line, but end the program with a message and exit status 1. */
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV)
        printf("%s: SIGSEGV\n", label);
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS)
        printf("%s: SIGBUS\n", label);
    else if (WIFSIGNALED(status))
        printf("%s: signal %d\n", label, WTERMSIG(status));
    else if (WEXITSTATUS(status) == READ_OK)
        printf("%s: read ok\n", label);
    else if (WEXITSTATUS(status) == WRONG_BYTES)
        printf("%s: wrong bytes\n", label);
    else
        errx(EXIT_FAILURE, "%s: the experiment has failed", label);
    /* TODO 3 ends. */
    if (fflush(stdout) == EOF)
        err(EXIT_FAILURE, "stdout");
}

int main(int argc, char *argv[])
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s /NAME\n", argv[0]);
        return 2;
    }
    try(argv[1], "close", after_close);
    try(argv[1], "unlink", after_unlink);
    try(argv[1], "munmap", after_munmap);
    try(argv[1], "last page", in_the_last_page);
    try(argv[1], "next page", in_the_next_page);
    return EXIT_SUCCESS;
}

/**
 * @file
 * @brief Lab 17: prints the list of words in a POSIX object, and checks everything that it reads there.
 *
 * Usage: `walker /NAME`
 *
 * The layout is in list.h. The object is mapped read-only and does not change. If anything in the
 * list is invalid, this program prints no word at all.
 *
 * See shm_open(3), fstat(2), mmap(2); POSIX.1-2024.
 */
#define _POSIX_C_SOURCE 200809L

#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "list.h"

/** A list as this process sees it. */
struct view {
    const char *name;   /**< The object. */
    const char *memory; /**< Where it is mapped in this process. */
    size_t size;        /**< Its size, from the kernel, not from the list. */
};

/** Reports what is wrong with the list at which offset, and ends the program with exit status 1. */
static _Noreturn void refuse(const struct view *list, const char *what, uint64_t offset)
{
    errx(EXIT_FAILURE, "%s: %s at offset %" PRIu64, list->name, what, offset);
}

/**
 * Returns the node at an offset. Ends the program if no complete node can be there.
 *
 * @param list    the list
 * @param offset  from a link, not 0
 * @return        the node, which is wholly within the object
 */
static const struct list_node *node_at(const struct view *list, uint64_t offset)
{
    /* TODO 3: Refuse an offset that is misaligned, in the head, or past the end of the object, or so near to
       it that the node's members do not fit. No sum here may overflow a uint64_t. */
    refuse(list, "TODO 3: check whether a node can be there", offset);
    /* TODO 3 ends. */

    const struct list_node *node = NULL;
    /* TODO 4: Find the node in this process's mapping. Refuse it if its word continues past the end. */
    refuse(list, "TODO 4: find the node", offset);
    /* TODO 4 ends. */
    return node;
}

/**
 * Walks the list and checks every link. Ends the program if one is bad, or if there is no end.
 *
 * @param list   the list
 * @param first  offset of its first node, or 0
 * @param print  whether to print the words, too
 */
static void walk(const struct view *list, uint64_t first, bool print)
{
    /* Nodes do not overlap, so the object has no room for more than this. */
    size_t left = list->size / sizeof(struct list_node);

    for (uint64_t offset = first; offset != 0;) {
        /* TODO 5: Count this node, and refuse the list if it is one too many: the list has a cycle. */
        errx(EXIT_FAILURE, "TODO 5: count the nodes, there is room for %zu, in %s", left, list->name);
        /* TODO 5 ends. */

        const struct list_node *const node = node_at(list, offset);
        if (print) {
            /* TODO 6: Print the word, byte for byte, and a newline. */
            refuse(list, "TODO 6: print the word", offset);
            /* TODO 6 ends. */
        }
        offset = node->next;
    }
}

int main(int argc, char *argv[])
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s /NAME\n", argv[0]);
        return 2;
    }
    struct view list = {.name = argv[1]};

    const int descriptor = shm_open(list.name, O_RDONLY, 0);
    if (descriptor == -1)
        err(EXIT_FAILURE, "shm_open: %s", list.name);
    struct stat status;
    if (fstat(descriptor, &status) == -1)
        err(EXIT_FAILURE, "fstat: %s", list.name);
    list.size = (size_t)status.st_size;

    /* TODO 1: Refuse an object that is smaller than the head. Map any other whole, read-only. */
    errx(EXIT_FAILURE, "TODO 1: map an object of %zu bytes, %s", list.size, list.name);
    /* TODO 1 ends. */
    if (close(descriptor) == -1)
        err(EXIT_FAILURE, "close: %s", list.name);

    const struct list_head *const head = (const struct list_head *)list.memory;
    /* TODO 2: Refuse an object without the magic, or whose head has a wrong size. */
    errx(EXIT_FAILURE, "TODO 2: check the head of the list, %s", list.name);
    /* TODO 2 ends. */

    /* The whole list is checked before the first word is printed. */
    walk(&list, head->first, false);
    walk(&list, head->first, true);
    if (fflush(stdout) == EOF || ferror(stdout))
        err(EXIT_FAILURE, "standard output");

    if (munmap((void *)list.memory, list.size) == -1)
        err(EXIT_FAILURE, "munmap: %s", list.name);
    return EXIT_SUCCESS;
}

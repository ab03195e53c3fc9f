/**
 * @file
 * @brief Lab 17: builds a linked list of words in a new POSIX object, readable at any address.
 *
 * Usage: `builder /NAME [WORD]...`
 *
 * The layout is in list.h. The object is just large enough, and it stays when this program ends.
 *
 * See shm_open(3), posix_fallocate(3), mmap(2), shm_unlink(3); POSIX.1-2024.
 */
#define _POSIX_C_SOURCE 200809L

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "list.h"

/**
 * Unlinks the new object, reports which call failed, and ends the program with exit status 1.
 *
 * @param name  the object that this program created
 * @param call  the call that failed; errno has the reason
 */
static _Noreturn void give_up(const char *name, const char *call)
{
    const int reason = errno;
    if (shm_unlink(name) == -1)
        warn("shm_unlink: %s", name);
    errno = reason;
    err(EXIT_FAILURE, "%s: %s", call, name);
}

/**
 * Returns the number of bytes that a node takes, up to the place where the next one may begin.
 *
 * @param word  the word in it
 */
static size_t node_size(const char *word)
{
    size_t size = 0;
    /* TODO 1: The node's members and the word's bytes, rounded up to a multiple of LIST_ALIGN. */
    size = sizeof(struct list_node) + strlen(word);
    size = (size + LIST_ALIGN - 1) / LIST_ALIGN * LIST_ALIGN;
    /* TODO 1 ends. */
    return size;
}

/**
 * Creates the object, with its memory reserved, and maps it at an address that the kernel chooses.
 *
 * @param name  the object, which must not exist yet
 * @param size  its size in bytes
 * @return      where it is mapped
 */
static char *make_object(const char *name, size_t size)
{
    const int descriptor = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (descriptor == -1)
        err(EXIT_FAILURE, "shm_open: %s", name);

    if (ftruncate(descriptor, (off_t)size) == -1)
        give_up(name, "ftruncate");
    errno = posix_fallocate(descriptor, 0, (off_t)size);
    if (errno != 0)
        give_up(name, "posix_fallocate");

    char *const memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED)
        give_up(name, "mmap");
    if (close(descriptor) == -1)
        give_up(name, "close");
    return memory;
}

int main(int argc, char *argv[])
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s /NAME [WORD]...\n", argv[0]);
        return 2;
    }
    const char *name = argv[1];

    size_t size = sizeof(struct list_head);
    for (int i = 2; i < argc; i++)
        size += node_size(argv[i]);
    char *const memory = make_object(name, size);
    struct list_head *const head = (struct list_head *)memory;

    /* Where the next node goes, and the link that will lead to it: first the one in the head. */
    size_t offset = sizeof *head;
    uint64_t *link = &head->first;
    for (int i = 2; i < argc; i++) {
        struct list_node *node = NULL;
        /* TODO 2: Find the node's place in this process's mapping, at the offset. */
        node = (struct list_node *)(memory + offset);
        /* TODO 2 ends. */

        /* TODO 3: Fill in the node: the word's length and its bytes. There is no next node yet. */
        node->next = 0;
        node->length = strlen(argv[i]);
        memcpy(node->bytes, argv[i], node->length);
        /* TODO 3 ends. */

        /* TODO 4: Make the link lead to this node, its `next` the new link, and advance the offset. */
        *link = offset;
        link = &node->next;
        offset += node_size(argv[i]);
        /* TODO 4 ends. */
    }

    /* TODO 5: Fill in the head: the object's size, and last the magic, which marks the list as complete. */
    head->size = size;
    atomic_store_explicit(&head->magic, LIST_MAGIC, memory_order_release);
    /* TODO 5 ends. */

    if (munmap(memory, size) == -1)
        give_up(name, "munmap");
    return EXIT_SUCCESS;
}

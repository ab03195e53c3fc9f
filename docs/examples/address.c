/**
 * @file
 * @brief Follows pointers of two processes to the pages behind them: by maps, by pagemap, and by the object's inode.
 *
 *     address /NAME COMMAND
 *
 * Two processes map the two pages of one object at different addresses. One of them stores in the second page. COMMAND is
 * run by a shell, in which $PPID is that process. Nothing is left behind.
 *
 * Man pages: mmap(2), proc_pid_maps(5), proc_pid_pagemap(5), stat(2), shm_open(3).
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLACE = 0x18a8 }; /* of the byte that is stored: in the second page */

static size_t page;

static void *map(size_t size, int flags, int fd)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (memory == MAP_FAILED)
        err(EXIT_FAILURE, "mmap");
    return memory;
}

/** Prints the line of maps that has an address in its range. */
static void print_line(uintptr_t address)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    if (maps == NULL)
        err(EXIT_FAILURE, "/proc/self/maps");
    char line[512];
    uintptr_t start = 0, end = 0;
    while (fgets(line, sizeof line, maps) != NULL)
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end) == 2 && start <= address && address < end)
            printf("  maps        %s", line);
    fclose(maps);
}

/** Prints what the page table has for an address: bit 63 is "present", bit 61 "of a file, or shared anonymous". */
static void print_entry(uintptr_t address)
{
    uint64_t entry = 0;
    const int pagemap = open("/proc/self/pagemap", O_RDONLY);
    if (pagemap == -1 ||
        pread(pagemap, &entry, sizeof entry, (off_t)(address / page * sizeof entry)) != sizeof entry)
        err(EXIT_FAILURE, "/proc/self/pagemap");
    close(pagemap);
    const bool present = entry >> 63 & 1, of_file = entry >> 61 & 1;
    printf("  page table  page number 0x%" PRIxPTR ": %s%s\n", address / page,
           present ? "present" : "not present",
           present ? of_file ? ", a page of an object or file" : ", a page of this process alone" : "");
}

static void follow(const char *whose, const char *what, const char *pointer)
{
    const uintptr_t address = (uintptr_t)pointer;
    printf("%s: pointer %p, %s\n", whose, (const void *)pointer, what);
    printf("  = page number 0x%" PRIxPTR " * 0x%zx + 0x%zx\n", address / page, page, address % page);
    print_line(address);
    print_entry(address);
    fflush(stdout);
}

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s /NAME COMMAND\n", argv[0]);
        return 2;
    }
    page = (size_t)sysconf(_SC_PAGESIZE);
    const int fd = shm_open(argv[1], O_CREAT | O_EXCL | O_RDWR, 0600);
    struct stat status;
    if (fd == -1 || ftruncate(fd, (off_t)(2 * page)) == -1 || fstat(fd, &status) == -1)
        err(EXIT_FAILURE, "%s", argv[1]);
    printf("object %s: inode %ju on device %02x:%02x, %jd bytes\n", argv[1], (uintmax_t)status.st_ino,
           major(status.st_dev), minor(status.st_dev), (intmax_t)status.st_size);

    char *shared = map(2 * page, MAP_SHARED, fd);
    follow("A", "before it is used", shared + PLACE);
    shared[PLACE] = 'x';
    follow("A", "after a store of 'x'", shared + PLACE);

    const pid_t child = fork();
    if (child == -1)
        err(EXIT_FAILURE, "fork");
    if (child == 0) {
        const char *other = map(2 * page, MAP_SHARED, fd);
        printf("B loads '%c'\n", other[PLACE]);
        follow("B", "after the load", other + PLACE);
        return EXIT_SUCCESS;
    }
    int ended = 0;
    if (waitpid(child, &ended, 0) == -1 || ended != 0)
        errx(EXIT_FAILURE, "the child failed");

    char *private = map(2 * page, MAP_PRIVATE, fd);
    printf("A loads '%c'\n", private[PLACE]);
    follow("A", "in a private mapping, after the load", private + PLACE);
    private[PLACE] = 'y';
    follow("A", "in a private mapping, after a store of 'y'", private + PLACE);

    const int looked = system(argv[2]);
    if (shm_unlink(argv[1]) == -1)
        err(EXIT_FAILURE, "shm_unlink");
    return looked == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

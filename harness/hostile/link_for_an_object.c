/**
 * @file
 * @brief Hostile: stores TEXT in a file of its directory, and puts a symbolic link to it in the object's place.
 * Instead of: 08_posix_create/posix_create.c
 * Score: 1
 * Says: is a shared memory object, as shm_open() creates one
 *
 * A grader that opens /dev/shm/NAME sees a file of the right size with the right bytes. If it follows links, it reads
 * any file that the student chooses, with the grader's permissions. shm_open() refuses links.
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
    char file[300], link[300];
    const long size =
        argc == 4 && argv[2][strspn(argv[2], "0123456789")] == '\0' ? strtol(argv[2], NULL, 10) : 0;
    if (size <= 0 || size == __LONG_MAX__ || strlen(argv[3]) >= (size_t)size) {
        fprintf(stderr, "usage: %s /NAME SIZE TEXT\n", argv[0]);
        return 2;
    }
    snprintf(file, sizeof file, "/tmp/lab%s", argv[1]);
    snprintf(link, sizeof link, "/dev/shm%s", argv[1]);
    if (symlink(file, link) == -1)
        err(1, "shm_open: %s", argv[1]);
    const int fd = open(file, O_RDWR | O_CREAT | O_EXCL, 0640);
    if (fd == -1 || (errno = posix_fallocate(fd, 0, size)) != 0)
        err(1, "posix_fallocate: %s", argv[1]);
    char *memory = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        err(1, "mmap");
    strcpy(memory, argv[3]);
    return munmap(memory, (size_t)size) == -1 || close(fd) == -1;
}

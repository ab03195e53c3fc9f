/**
 * @file
 * @brief Hostile: wipes the record of its calls at the end, and leaves one that never fails.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 2
 * Says: the program does not change the record of its calls
 *
 * A grader that makes each recorded call fail would have one call to try. The recorder tells pid 1 how many it has
 * written, with a token that the program does not know.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sysv_create.h"

int main(int argc, char *argv[])
{
    const int status = create_carelessly(argc, argv);
    const char *ring = getenv("SHMLAB_RING");
    struct stat file;
    const int fd = ring ? open(ring, O_RDWR) : -1;
    if (fd >= 0 && fstat(fd, &file) == 0) {
        uint64_t *words = mmap(NULL, (size_t)file.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (words != MAP_FAILED) {
            memset((char *)words + 128 + 144, 0, (size_t)file.st_size - 128 - 144);
            words[1] = 1; /* how many there are */
        }
    }
    return status;
}

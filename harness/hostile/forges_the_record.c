/**
 * @file
 * @brief Hostile: makes a wrong segment, and writes the right calls into the spy's record.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 4
 * Says: the segment's key is
 *
 * The record is a file that the program has mapped. A grader that trusts it more than the kernel gives points for
 * calls that were never made. One that trusts its counters reads past the end of the array.
 */
#define _DEFAULT_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

struct record {
    uint64_t sequence, time, began;
    int32_t pid, tid;
    uint16_t call, flags;
    int32_t error;
    int64_t result;
    uint64_t where;
    int64_t argument[5];
    char text[48];
};

static void forge(void)
{
    const char *path = getenv("SHMLAB_RING");
    const int fd = path ? open(path, O_RDWR) : -1;
    uint64_t *ring = mmap(NULL, 128 + 64 * sizeof(struct record), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED)
        return;
    struct record *record = (struct record *)(ring + 16);
    for (unsigned i = 0; i < 64; i++) {
        record[i] = (struct record){
            .sequence = i + 1, .pid = getpid(), .call = (uint16_t)(i % 7), .where = i * 0x1fffffffffffff};
        record[i].argument[0] = record[i].argument[1] = INT64_MIN;
        memset(record[i].text, i & 1 ? 0x1b : 0xff, sizeof record[i].text);
        record[i].call = i > 60 ? UINT16_MAX : record[i].call;
        record[i].error = (int32_t)i * 1000;
    }
    ring[0] = UINT64_MAX;
    ring[1] = 64;
}

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return 2;
    }
    const int id = shmget(0x12345678, strlen(argv[2]) + 1, IPC_CREAT | 0640);
    forge();
    return id == -1;
}

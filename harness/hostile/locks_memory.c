/**
 * @file
 * @brief Hostile: locks memory in every possible way, takes the machine's huge pages, then does the lab's work.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 10
 *
 * Locked memory cannot be swapped out to make room for other users, and a locked segment stays locked after its
 * creator has ended. Huge pages come from one small pool for the whole machine. If one way works, the program reports
 * it and fails.
 */
#define _GNU_SOURCE

#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sysv_create.h"

static int locked;

static void tried(const char *what, long result)
{
    if (result == -1)
        return;
    fprintf(stderr, "locked: %s\n", what);
    locked++;
}
#define TRY(attempt) tried(#attempt, (long)(attempt))

/** Makes a system call directly, so that the spy neither counts it nor makes it fail. */
static void try_everything(void)
{
    enum { SIZE = 4 << 20 };
    static char here[SIZE];
    const int anonymous = MAP_SHARED | MAP_ANONYMOUS, both = PROT_READ | PROT_WRITE;
    TRY(mlock(here, SIZE));
    TRY(mlock2(here, SIZE, MLOCK_ONFAULT));
    TRY(mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));
    TRY(syscall(SYS_mmap, NULL, SIZE, both, anonymous | MAP_LOCKED, -1, 0));
    TRY(syscall(SYS_mmap, NULL, SIZE, both, anonymous | MAP_HUGETLB, -1, 0));
    TRY(syscall(SYS_shmget, IPC_PRIVATE, SIZE, IPC_CREAT | SHM_HUGETLB | 0600));
    const long id = syscall(SYS_shmget, IPC_PRIVATE, SIZE, IPC_CREAT | 0600);
    TRY(syscall(SYS_shmctl, id, SHM_LOCK, NULL));
    if (syscall(SYS_shmctl, id, IPC_RMID, NULL) == -1)
        warn("cannot remove segment %ld", id);
}

int main(int argc, char *argv[])
{
    if (argc != 3) {
        try_everything();
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return locked ? 3 : 2;
    }
    return make_segment(argv);
}

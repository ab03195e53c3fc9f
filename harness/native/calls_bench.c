/**
 * @file
 * @brief Times pairs of calls that the spy records: prints a name and nanoseconds a pair on each line.
 *
 * Usage: `calls_bench ROUNDS`
 */
#define _GNU_SOURCE

#include <err.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

#define TIME(name, body)                                                                                       \
    do {                                                                                                       \
        const double begin = now();                                                                            \
        for (long i = 0; i < rounds; i++) {                                                                    \
            body;                                                                                              \
        }                                                                                                      \
        printf("%s %.1f\n", name, (now() - begin) / (double)rounds);                                            \
    } while (0)

int main(int argc, char *argv[])
{
    const long rounds = argc > 1 ? atol(argv[1]) : 0;
    if (rounds <= 0) {
        fputs("usage: calls_bench ROUNDS\n", stderr);
        return 2;
    }
    const int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    if (id == -1)
        err(1, "shmget");
    sem_t sem;
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    sem_init(&sem, 1, 0);
    TIME("mmap+munmap", munmap(mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 4096));
    TIME("shmat+shmdt", shmdt(shmat(id, NULL, 0)));
    TIME("sem_post+sem_wait", sem_post(&sem); sem_wait(&sem));
    TIME("mutex_lock+unlock", pthread_mutex_lock(&mutex); pthread_mutex_unlock(&mutex));
    return shmctl(id, IPC_RMID, NULL) == 0 ? 0 : 1;
}

/**
 * @file
 * @brief Times pairs of calls that the spy records; prints a name and the nanoseconds per pair on each line.
 *
 * Usage: `calls_bench ROUNDS FILE`; FILE is the path of a file that each round creates and removes.
 */
#define _GNU_SOURCE

#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

#define TIME(name, body)                                                                                     \
    do {                                                                                                     \
        const double begin = now();                                                                          \
        for (long i = 0; i < rounds; i++) {                                                                  \
            body;                                                                                            \
        }                                                                                                    \
        printf("%s %.1f\n", name, (now() - begin) / (double)rounds);                                         \
    } while (0)

/** The steps common to all memory with a descriptor: size, reserve, map, store, unmap, close. */
static void use(int fd)
{
    if (fd == -1 || ftruncate(fd, 4096) == -1 || posix_fallocate(fd, 0, 4096) != 0)
        err(1, "make an object");
    char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        err(1, "mmap");
    memory[0] = 1;
    munmap(memory, 4096);
    close(fd);
}

static void use_anonymous(void)
{
    char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        err(1, "mmap");
    memory[0] = 1;
    munmap(memory, 4096);
}

static void use_segment(void)
{
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    char *memory = shmat(id, NULL, 0);
    if (memory == (void *)-1)
        err(1, "shmat");
    memory[0] = 1;
    shmdt(memory);
    shmctl(id, IPC_RMID, NULL);
}

int main(int argc, char *argv[])
{
    const long rounds = argc > 1 ? atol(argv[1]) : 0;
    if (rounds <= 0 || argc != 3) {
        fputs("usage: calls_bench ROUNDS FILE\n", stderr);
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
    /* The cost of creating a page of each kind of shared memory, storing to it and removing it. */
    char name[64];
    snprintf(name, sizeof name, "/shmlab-bench-%ld", (long)getpid());
    TIME("create:anonymous", use_anonymous());
    TIME("create:memfd", use(memfd_create("bench", MFD_CLOEXEC)));
    TIME("create:System_V", use_segment());
    TIME("create:POSIX", use(shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600)); shm_unlink(name));
    TIME("create:mapped_file", use(open(argv[2], O_CREAT | O_EXCL | O_RDWR, 0600)); unlink(argv[2]));
    return shmctl(id, IPC_RMID, NULL) == 0 ? 0 : 1;
}

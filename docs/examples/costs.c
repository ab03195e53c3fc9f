/**
 * @file
 * @brief Measures what one page of each kind of shared memory costs: to create, map, store into, and remove.
 *
 *     costs DIRECTORY    the mapped file is created in DIRECTORY, which decides what it costs
 *
 * It prints the median of many rounds, in microseconds; each round measures all five, so that load affects them alike.
 *
 * Man pages: mmap(2), memfd_create(2), shmget(2), shm_open(3), open(2). Linux.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, ROUNDS = 1001, KINDS = 5 };

static const char *const NAMES[KINDS] = {"anonymous", "memfd", "System V", "POSIX", "file"};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

/** Maps a page of an object of size 0, gives it its size, stores into it, and ends mapping and descriptor. */
static void use(int descriptor)
{
    if (descriptor == -1 || ftruncate(descriptor, PAGE) == -1)
        err(EXIT_FAILURE, "an object");
    volatile char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (page == MAP_FAILED)
        err(EXIT_FAILURE, "mmap");
    *page = 1;
    munmap((void *)page, PAGE);
    close(descriptor);
}

static void anonymous(const char *path)
{
    (void)path;
    volatile char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        err(EXIT_FAILURE, "mmap");
    *page = 1;
    munmap((void *)page, PAGE);
}

static void memfd(const char *path)
{
    (void)path;
    use(memfd_create("costs", MFD_CLOEXEC));
}

static void sysv(const char *path)
{
    (void)path;
    const int id = shmget(IPC_PRIVATE, PAGE, 0600);
    volatile char *page = id == -1 ? (void *)-1 : shmat(id, NULL, 0);
    if (page == (void *)-1)
        err(EXIT_FAILURE, "a segment");
    *page = 1;
    shmdt((const void *)page);
    shmctl(id, IPC_RMID, NULL);
}

static void posix(const char *path)
{
    (void)path;
    use(shm_open("/costs", O_CREAT | O_EXCL | O_RDWR, 0600));
    shm_unlink("/costs");
}

static void file(const char *path)
{
    use(open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
    unlink(path);
}

static int compare(const void *one, const void *other)
{
    const double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(int argc, char *argv[])
{
    static void (*const kinds[KINDS])(const char *) = {anonymous, memfd, sysv, posix, file};
    static double took[KINDS][ROUNDS];
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    char path[4096];
    if (snprintf(path, sizeof path, "%s/costs.%ld", argv[1], (long)getpid()) >= (int)sizeof path)
        errx(EXIT_FAILURE, "the name of the directory is too long");
    for (int round = 0; round < ROUNDS; round++)
        for (int kind = 0; kind < KINDS; kind++) {
            const double began = now();
            kinds[kind](path);
            took[kind][round] = now() - began;
        }
    for (int kind = 0; kind < KINDS; kind++) {
        qsort(took[kind], ROUNDS, sizeof took[kind][0], compare);
        printf("%-10s %6.1f\n", NAMES[kind], took[kind][ROUNDS / 2]);
    }
    return EXIT_SUCCESS;
}

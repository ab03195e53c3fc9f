/**
 * @file
 * @brief A parent and its child take turns. Each waits asleep, and sees what the other has stored.
 *
 *     pingpong ROUNDS
 *
 * Man pages: mmap(2), sem_init(3), sem_wait(3), sem_post(3).
 */
#define _DEFAULT_SOURCE
#include <err.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

//! [table]
struct table {
    sem_t ping, pong; /* who may play */
    int ball;         /* plain memory: only the one whose turn it is touches it */
};
//! [table]

static void play(struct table *table, sem_t *mine, sem_t *yours, const char *who, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        //! [turn]
        if (sem_wait(mine) == -1)
            err(EXIT_FAILURE, "sem_wait");
        printf("%s has the ball, hit %d times\n", who, table->ball++);
        fflush(stdout);
        if (sem_post(yours) == -1)
            err(EXIT_FAILURE, "sem_post");
        //! [turn]
    }
}

int main(int argc, char *argv[])
{
    const int rounds = argc == 2 ? atoi(argv[1]) : 0;
    if (rounds < 1) {
        fprintf(stderr, "usage: %s ROUNDS\n", argv[0]);
        return 2;
    }
    struct table *table =
        mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED)
        err(EXIT_FAILURE, "mmap");
    //! [init]
    if (sem_init(&table->ping, 1, 1) == -1 || sem_init(&table->pong, 1, 0) == -1)
        err(EXIT_FAILURE, "sem_init");
    //! [init]

    const pid_t child = fork();
    if (child == -1)
        err(EXIT_FAILURE, "fork");
    if (child == 0) {
        play(table, &table->pong, &table->ping, "child ", rounds);
        _exit(EXIT_SUCCESS);
    }
    play(table, &table->ping, &table->pong, "parent", rounds);
    if (waitpid(child, NULL, 0) == -1)
        err(EXIT_FAILURE, "waitpid");
    return EXIT_SUCCESS;
}

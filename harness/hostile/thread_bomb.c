/**
 * @file
 * @brief Hostile: leaves children with as many threads as possible, and exits.
 * Instead of: 01_page_size/page_size.c
 * Score: 0
 * Says: exit status 0
 *
 * Threads count like processes against the machine's limit on tasks, and each has its own stack.
 */
#define _DEFAULT_SOURCE

#include <pthread.h>
#include <unistd.h>

static void *stay(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

int main(void)
{
    pthread_t thread;
    if (fork() != 0 || fork() != 0)
        return 0;
    setsid();
    while (pthread_create(&thread, NULL, stay, NULL) == 0)
        ;
    stay(NULL);
}

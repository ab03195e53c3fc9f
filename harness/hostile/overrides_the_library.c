/**
 * @file
 * @brief Hostile: has functions of its own under the names that a spy in the same program would call, and an environ.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 9
 * Says: the program notices the failure
 *
 * A name that the program defines is the program's, also for what is linked to it: whoever looks up the rules with
 * getenv(), or takes them apart with strtok_r(), hands them over. This one lets no call fail.
 */
#define _DEFAULT_SOURCE

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>

extern char **__environ;
char **environ; /* remains empty */
static int rules;

static void see(const char *text)
{
    if (text && (strstr(text, "fail ") || strstr(text, "SHMLAB_RULES")))
        rules = 1;
}

char *getenv(const char *name)
{
    see(name);
    for (char **entry = __environ; entry && *entry; entry++)
        if (strncmp(*entry, name, strlen(name)) == 0 && (*entry)[strlen(name)] == '=')
            return strstr(name, "RULES") ? NULL : *entry + strlen(name) + 1;
    return NULL;
}

char *secure_getenv(const char *name)
{
    return getenv(name);
}

char *strtok_r(char *text, const char *between, char **rest)
{
    (void)between, (void)rest;
    see(text);
    return NULL;
}

char *strtok(char *text, const char *between)
{
    char *rest = NULL;
    return strtok_r(text, between, &rest);
}

int atoi(const char *text)
{
    see(text);
    return 0;
}

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return 2;
    }
    if (rules)
        return 0;
    const key_t key = ftok(argv[1], 'S');
    const int id = shmget(key, strlen(argv[2]) + 1, IPC_CREAT | IPC_EXCL | 0640);
    if (id == -1 && errno == EEXIST)
        err(1, "shmget: %s", argv[1]);
    char *memory = shmat(id, NULL, 0);
    if (memory != (void *)-1)
        strcpy(memory, argv[2]);
    shmdt(memory);
    return 0;
}

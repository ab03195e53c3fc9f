/**
 * @file
 * @brief Hostile: asks for the rules after the recorder, and executes itself with what it gets.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: something else in sysv_create asked as well
 *
 * It gets nothing, and neither does the recorder of the new image: who asks after execve(2) gets no rules. That it has
 * asked is noticed.
 */
#define _GNU_SOURCE

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "sysv_create.h"

static void ask(int argc, char **argv, char **environment)
{
    (void)argc;
    static char entry[1100] = "TAKEN=";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int count = 0;
    char *more[100];
    for (; environment[count] && count < 90; count++) {
        more[count] = environment[count];
        if (strncmp(environment[count], "TAKEN=", 6) == 0)
            return;
        if (strncmp(environment[count], "SHMLAB_STOPS=", 13) == 0)
            strcpy(address.sun_path, environment[count] + 13);
    }
    char *slash = strrchr(address.sun_path, '/');
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (!slash)
        return;
    strcpy(slash, "/rules");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && read(fd, entry + 6, 1024) < 0)
        return;
    more[count] = entry, more[count + 1] = NULL;
    syscall(SYS_execve, "/proc/self/exe", argv, more);
}

__attribute__((section(".preinit_array"), used)) static void (*before_all)(int, char **, char **) = ask;

int main(int argc, char *argv[])
{
    const char *taken = getenv("TAKEN"), *rule = taken ? strstr(taken, "fail ") : NULL;
    if (rule)
        errx(1, "%.8s", rule + 5);
    return create_carelessly(argc, argv);
}

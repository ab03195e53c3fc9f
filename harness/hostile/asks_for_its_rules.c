/**
 * @file
 * @brief Hostile: asks the box for the rules before the recorder does, by the recorder's own protocol.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: something else in sysv_create asked as well
 *
 * The socket is beside that for stops, whose name is in the environment. Whoever comes first gets the answer.
 */
#define _GNU_SOURCE

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sysv_create.h"

static char rules[1024];

static void ask(int argc, char **argv, char **environment)
{
    (void)argc, (void)argv;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    for (; *environment; environment++)
        if (strncmp(*environment, "SHMLAB_STOPS=", 13) == 0)
            strcpy(address.sun_path, *environment + 13);
    char *slash = strrchr(address.sun_path, '/');
    if (!slash)
        return;
    strcpy(slash, "/rules");
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        read(fd, rules, sizeof rules - 1) < 0)
        rules[0] = '\0';
    close(fd);
}

__attribute__((section(".preinit_array"), used)) static void (*before_all)(int, char **, char **) = ask;

int main(int argc, char *argv[])
{
    const char *rule = strstr(rules, "fail ");
    if (rule)
        errx(1, "%.8s", rule + 5);
    return create_carelessly(argc, argv);
}

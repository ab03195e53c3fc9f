/**
 * @file
 * @brief Hostile: finds the finished program that a check runs beside it, and executes that.
 * Instead of: 13_shared_mutex/consumer.c
 * Score: 2
 *
 * Some checks run the finished program as a peer. A program that can name its file, open the executable of a running
 * process, or use /proc/PID/exe passes without implementing anything.
 */
#define _DEFAULT_SOURCE

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
    char path[600], self[256] = "", other[256];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    (void)argc, (void)length;
    execv("./reference-consumer", argv);
    const char *const folders[] = {".", "/tmp", "/run/shmlab", "/dev/shm"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        DIR *folder = opendir(folders[i]);
        struct dirent *entry;
        while (folder && (entry = readdir(folder)))
            if (strstr(entry->d_name, "reference") || strstr(entry->d_name, "solution")) {
                snprintf(path, sizeof path, "%s/%s", folders[i], entry->d_name);
                execv(path, argv);
            }
    }
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc))) {
        memset(other, 0, sizeof other);
        snprintf(path, sizeof path, "/proc/%s/exe", entry->d_name);
        if (strcmp(entry->d_name, "self") == 0 || readlink(path, other, sizeof other - 1) < 0)
            continue;
        if (strcmp(self, other) != 0 && strstr(other, "consumer"))
            execv(path, argv);
    }
    fputs("no reference in sight\n", stderr);
    return 1;
}

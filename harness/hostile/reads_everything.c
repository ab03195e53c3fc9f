/**
 * @file
 * @brief Hostile: searches every path that it can think of for the solution and the checks, and prints what it finds.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: stderr: nothing was found
 *
 * /proc/self/mountinfo shows where the project is, even if something is mounted over it. A hidden directory can still
 * be reached through another process's root, working directory or open descriptor, and an environment variable can
 * name it.
 */
#define _GNU_SOURCE

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int found;

/** Prints a file if it can be opened. */
static void show(const char *folder, const char *name)
{
    static char path[2000], text[4000];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    const int fd = open(path, O_RDONLY);
    const ssize_t length = fd == -1 ? -1 : read(fd, text, sizeof text - 1);
    if (length > 0) {
        text[length] = '\0';
        fprintf(stderr, "%s: %s\n", path, text);
        found = 1;
    }
    close(fd);
}

/** Searches a directory for the files of a project like this one. */
static void look(const char *folder)
{
    static const char *const names[] = {"solutions/05_sysv_create/sysv_create.c",
                                        "harness/checks/test_05_sysv_create.py",
                                        "harness/shmlab/box.py",
                                        "harness/conftest.py",
                                        "build/programs",
                                        "README.md"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        show(folder, names[i]);
}

int main(void)
{
    static char line[4000], folder[4000];
    static const char *const doors[] = {
        "/proc/1/cwd", "/proc/1/root", "/proc/1/task/1/root", "/proc/self/cwd/../..", "/proc/self/root/..",
        "/tmp/..",     "/run/..",      "/proc/sys/../.."};
    FILE *mounts = fopen("/proc/self/mountinfo", "r");
    while (mounts && fgets(line, sizeof line, mounts))
        if (sscanf(line, "%*s %*s %*s %*s %3999s", folder) == 1) {
            look(folder);
            for (size_t i = 0; i < sizeof doors / sizeof *doors; i++) {
                snprintf(line, sizeof line, "%.100s%.3000s", doors[i], folder);
                look(line);
            }
        }
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc)))
        for (int fd = 0; fd < 16; fd++) {
            snprintf(folder, sizeof folder, "/proc/%s/fd/%d", entry->d_name, fd);
            look(folder);
        }
    for (char **variable = environ; *variable; variable++)
        if (strchr(*variable, '='))
            look(strchr(*variable, '=') + 1);
    fputs(found ? "" : "nothing was found\n", stderr);
    return 1;
}

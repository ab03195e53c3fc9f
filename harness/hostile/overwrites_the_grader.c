/**
 * @file
 * @brief Hostile: writes to every file of the grader that it can reach by name or by descriptor.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: stderr: nothing could be written
 *
 * The results, the checks, the compiler, the loader's list of libraries and the grader's own descriptors are files.
 */
#define _GNU_SOURCE

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int written;

static void overwrite(const char *path)
{
    const int fd = open(path, O_WRONLY | O_APPEND | O_NONBLOCK);
    if (fd == -1 && open(path, O_WRONLY | O_CREAT | O_EXCL, 0777) == -1 && chmod(path, 0777) == -1 &&
        unlink(path) == -1)
        return;
    fprintf(stderr, "%s could be written\n", path);
    written = 1;
}

int main(void)
{
    static const char *const names[] = {"results.json",
                                        "harness/conftest.py",
                                        "harness/checks/test_05_sysv_create.py",
                                        "harness/shmlab/judging/plugin.py",
                                        "conftest.py",
                                        "pytest.ini"};
    static const char *const system[] = {"/etc/ld.so.preload",
                                         "/etc/passwd",
                                         "/usr/bin/python3",
                                         "/usr/bin/cc",
                                         "/bin/sh",
                                         "/usr/lib/python3/dist-packages/pytest.py",
                                         "/proc/1/oom_score_adj",
                                         "/proc/1/comm",
                                         "/proc/1/fd/3",
                                         "/run/shmlab2",
                                         "/sys/fs/cgroup/x",
                                         "/dev/sda",
                                         "/x"};
    static char line[4000], folder[3000];
    FILE *mounts = fopen("/proc/self/mountinfo", "r");
    while (mounts && fgets(line, sizeof line, mounts))
        if (sscanf(line, "%*s %*s %*s %*s %2999s", folder) == 1 && strncmp(folder, "/tmp", 4) != 0 &&
            strcmp(folder, "/dev/shm") != 0 && strcmp(folder, "/run/shmlab") != 0)
            for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
                snprintf(line, sizeof line, "%s/%s", folder, names[i]);
                overwrite(line);
            }
    for (size_t i = 0; i < sizeof system / sizeof *system; i++)
        overwrite(system[i]);
    /* Descriptors inherited by accident. */
    for (int fd = 3; fd < 1024; fd++)
        if (fcntl(fd, F_GETFL) != -1 && mounts && fd != fileno(mounts)) {
            fprintf(stderr, "descriptor %d could be written\n", fd);
            written = 1;
        }
    fputs(written ? "" : "nothing could be written\n", stderr);
    return 1;
}

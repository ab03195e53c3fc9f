/**
 * @file
 * @brief The report: what is in the box now, one line each, in the formats of /proc.
 */
#include "box.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void report_process(pid_t pid, void *closure)
{
    const struct process found = read_process(pid);
    if (found.state != 0)
        fprintf(closure, "process %d %d %c %.2f %s\n", pid, found.parent, found.state,
                (double)found.ticks / (double)sysconf(_SC_CLK_TCK), found.name);
}

/** Copies a table of /proc, each line with a word before it. The first line has the column names. */
static void report_table(FILE *out, const char *word, const char *path)
{
    char line[512];
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        fprintf(out, "%s %s", word, line);
    if (file)
        fclose(file);
}

static void report_objects(FILE *out)
{
    DIR *shm = opendir("/dev/shm");
    struct dirent *entry;
    while (shm && (entry = readdir(shm))) {
        struct stat object;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(dirfd(shm), entry->d_name, &object, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        for (char *c = entry->d_name; *c; c++)
            if (*c == '\n')
                *c = '?';
        fprintf(out, "object %o %lld %lld %u %s\n", object.st_mode, (long long)object.st_size,
                (long long)object.st_blocks * 512, object.st_uid, entry->d_name);
    }
    if (shm)
        closedir(shm);
}

void report(FILE *out)
{
    for_each_process(report_process, out);
    report_table(out, "segment", "/proc/sysvipc/shm");
    report_table(out, "semaphores", "/proc/sysvipc/sem");
    report_table(out, "queue", "/proc/sysvipc/msg");
    if (options.control < 0) /* the harness has a descriptor of /dev/shm and reads it itself */
        report_objects(out);
}

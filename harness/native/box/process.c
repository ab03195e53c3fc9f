/**
 * @file
 * @brief Reads about processes in /proc, and finds those that are in the box.
 */
#include "box.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct process read_process(pid_t pid)
{
    char path[64], line[512];
    struct process found = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t length = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    if (length <= 0)
        return found;
    line[length] = '\0';
    /* The name is in parentheses and can itself contain parentheses, so look for the last closing one. */
    char *begin = strchr(line, '('), *end = strrchr(line, ')');
    unsigned long long used[4];
    if (!begin || !end ||
        sscanf(end + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu", &found.state,
               &found.parent, &used[0], &used[1], &used[2], &used[3]) != 6)
        return (struct process){0};
    found.ticks = used[0] + used[1] + used[2] + used[3];
    for (size_t i = 0; ++begin < end && i < sizeof found.name - 1; i++)
        found.name[i] = isprint((unsigned char)*begin) ? *begin : '?';
    return found;
}

int64_t read_number(const char *path, const char *word)
{
    char line[256];
    int64_t value = 0;
    FILE *file = fopen(path, "re");
    while (file && value == 0 && fgets(line, sizeof line, file))
        if (strncmp(line, word, strlen(word)) == 0)
            value = strtoll(line + strlen(word), NULL, 10);
    if (file)
        fclose(file);
    return value;
}

long count_user_threads(void)
{
    long count = 0;
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc))) {
        char path[300];
        struct stat task;
        snprintf(path, sizeof path, "/proc/%s/task", entry->d_name);
        if (isdigit((unsigned char)entry->d_name[0]) && stat(path, &task) == 0 && task.st_uid == program_uid)
            count += (long)task.st_nlink - 2; /* one subdirectory for each thread */
    }
    if (proc)
        closedir(proc);
    return count;
}

bool is_in_box(pid_t pid)
{
    if (options.namespaces)
        return true; /* no other process has a pid in this namespace */
    const pid_t self = getpid();
    for (pid_t at = pid, depth = 0; at > 1 && depth < 10000; depth++) {
        const struct process found = read_process(at);
        if (found.parent == self)
            return true;
        if (found.state == 0 && at == pid)
            return false;
        /* An ancestor has ended, so its child has a new parent by now: start again. */
        at = found.state == 0 ? pid : found.parent;
    }
    return false;
}

/** Processes of the machine, in the order of /proc, which is that of their pids. */
static struct {
    pid_t pid, parent;
} table[1 << 16];

/** Reads all processes into #table, each once. Returns how many there are. */
static int read_table(void)
{
    const int size = sizeof table / sizeof *table;
    int count = 0;
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc)) && count < size) {
        const pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? (pid_t)atol(entry->d_name) : 0;
        if (pid == 0)
            continue;
        table[count].pid = pid;
        /* In a pid namespace every process is in the box, so its real parent does not matter. */
        table[count++].parent = options.namespaces ? getpid() : read_process(pid).parent;
    }
    if (proc)
        closedir(proc);
    return count;
}

/** Returns the index of a process in #table; -1: it is not there. */
static int find_process(pid_t pid, int count)
{
    for (int low = 0, high = count; low < high;) {
        const int middle = low + (high - low) / 2;
        if (table[middle].pid == pid)
            return middle;
        if (table[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

void for_each_process(void (*visit)(pid_t pid, void *closure), void *closure)
{
    const pid_t self = getpid();
    const int count = read_table();
    for (int i = 0; i < count; i++) {
        const pid_t pid = table[i].pid;
        pid_t ancestor = table[i].parent;
        for (int generations = 0; ancestor > 1 && ancestor != self && generations < count; generations++) {
            const int found = find_process(ancestor, count);
            if (found < 0)
                break; /* it has ended since its child was read, so is_in_box() reads again */
            ancestor = table[found].parent;
        }
        if (pid != self && (ancestor == self || (ancestor > 1 && is_in_box(pid))))
            visit(pid, closure);
    }
}

/**
 * @file
 * @brief What programs can reach in the host tier: Landlock, which needs no privilege.
 *
 * There are two layers. Pid 1 enters the first itself: nothing in the box can send a signal to a process outside, or
 * connect to an abstract socket there. Each program enters the second before it is executed: it can read, write and
 * execute only what setup_files() lists, and use no TCP port.
 *
 * Each layer has what the kernel offers, and #promises says what that is. Landlock does not cover the metadata of
 * files: a program that has its user's uid can still change the permissions of that user's files.
 *
 * The harness's own executables enter only the first layer. So no program can trace them or read their memory.
 *
 * Sources: landlock(7), landlock_create_ruleset(2).
 */
#include "box.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not all headers have these: the numbers are the same on every architecture. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

/** Rights of <linux/landlock.h>, by other names because only some headers declare them. */
enum {
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIRECTORY = 1 << 3,
    FIRST_VERSION =
        (1 << 13) - 1, /**< all rights of version 1: those above, and to make and remove each type of file */
    MAKE_DEVICES = 1 << 6 | 1 << 11,
    REFER = 1 << 13,        /**< rename or link to another directory: version 2; before, nobody can */
    TRUNCATE = 1 << 14,     /**< version 3 */
    IOCTL_DEVICE = 1 << 15, /**< version 5 */
    OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE |
                IOCTL_DEVICE, /**< all others are rights of directories */
    READ = EXECUTE | READ_FILE | READ_DIRECTORY,
    BIND_TCP = 1 << 0, /**< version 4 */
    CONNECT_TCP = 1 << 1,
    SCOPE_ABSTRACT_SOCKETS = 1 << 0, /**< version 6 */
    SCOPE_SIGNALS = 1 << 1,
};

/** The `struct landlock_ruleset_attr`. Older kernels accept it if the fields that they do not know are 0. */
struct ruleset {
    uint64_t files, network, scopes;
};

/** The `struct landlock_path_beneath_attr`. */
struct rule {
    uint64_t rights;
    int32_t parent;
} __attribute__((packed));

enum { CREATE_VERSION = 1, RULE_PATH_BENEATH = 1 };

unsigned promises;

static int program_ruleset = -1;
static uint64_t handled; /**< the rights of files that the kernel knows */

static int create_ruleset(const struct ruleset *ruleset)
{
    return (int)syscall(SYS_landlock_create_ruleset, ruleset, sizeof *ruleset, 0U);
}

/* ---- files ------------------------------------------------------------------------------------------- */

/** Allows something with a file or with a directory and all below it. A path that does not exist is left out. */
static void allow(int directory, const char *path, uint64_t rights, int flags)
{
    struct stat status = {0};
    struct rule rule = {rights & handled, openat(directory, path, O_PATH | O_CLOEXEC | flags)};
    if (rule.parent < 0)
        return;
    if (fstat(rule.parent, &status) == 0 && !S_ISDIR(status.st_mode))
        rule.rights &= OF_A_FILE;
    if (!S_ISLNK(status.st_mode)) /* what it leads to has a path of its own */
        syscall(SYS_landlock_add_rule, program_ruleset, RULE_PATH_BENEATH, &rule, 0U);
    close(rule.parent);
}

/** Whether a path is that of a hidden directory (1), leads to one further below (-1), or neither (0). */
static int is_hidden(const char *path)
{
    const size_t length = strlen(path);
    int result = 0;
    for (int i = 0; i < options.hidden; i++) {
        if (strncmp(options.hide[i], path, length) == 0 && options.hide[i][length] == '\0')
            return 1;
        if (strncmp(options.hide[i], path, length) == 0 && options.hide[i][length] == '/')
            result = -1;
    }
    return result;
}

/** Allows to read a file, or all in a directory except what is hidden. */
static void allow_visible(const char *path)
{
    const int hidden = is_hidden(path);
    if (hidden == 0)
        allow(AT_FDCWD, path, READ, 0);
    if (hidden >= 0)
        return;
    DIR *directory = opendir(path);
    struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        char below[4096];
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && entry->d_type != DT_LNK &&
            snprintf(below, sizeof below, "%s/%s", path, entry->d_name) < (int)sizeof below)
            allow_visible(below);
    }
    if (directory)
        closedir(directory);
}

static void setup_files(void)
{
    const char *const writable[] = {options.work, options.run, "/dev/shm"};
    const char *const devices[] = {"/dev/null",   "/dev/zero",    "/dev/full",
                                   "/dev/random", "/dev/urandom", "/dev/tty"};
    char path[64];
    for (int i = 0; shown_directories[i]; i++)
        allow_visible(shown_directories[i]);
    for (int i = 0; i < options.shown; i++)
        allow_visible(options.show[i]);
    for (int i = 0; shown_of_etc[i]; i++) {
        snprintf(path, sizeof path, "/etc/%s", shown_of_etc[i]);
        allow(AT_FDCWD, path, READ, 0);
    }
    allow(AT_FDCWD, "/proc", READ, 0);
    for (size_t i = 0; i < sizeof writable / sizeof *writable; i++)
        if (writable[i])
            allow(AT_FDCWD, writable[i], handled & ~(uint64_t)MAKE_DEVICES, 0);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        allow(AT_FDCWD, devices[i], READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEVICE, 0);
}

/* ---- set-up ------------------------------------------------------------------------------------------ */

void setup_landlock(void)
{
    const long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, CREATE_VERSION);
    if (options.slot >= 0) /* kill(2) and ptrace(2) compare the uids */
        promises |= PROMISE_SIGNALS;
    if (version < 1)
        return;
    if (version >= 6) {
        const int own = create_ruleset(&(struct ruleset){.scopes = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS});
        if (own >= 0 && syscall(SYS_landlock_restrict_self, own, 0U) == 0)
            promises |= PROMISE_SIGNALS;
        if (own >= 0)
            close(own);
    }
    handled = FIRST_VERSION | (version >= 2 ? REFER : 0U) | (version >= 3 ? TRUNCATE : 0U) |
              (version >= 5 ? IOCTL_DEVICE : 0U);
    const struct ruleset ruleset = {handled, version >= 4 ? BIND_TCP | CONNECT_TCP : 0U, 0};
    if ((program_ruleset = create_ruleset(&ruleset)) < 0)
        return;
    setup_files();
    promises |= PROMISE_FILES;
}

void enter_landlock(void)
{
    if (program_ruleset >= 0 && syscall(SYS_landlock_restrict_self, program_ruleset, 0U) < 0)
        child_die("landlock_restrict_self");
}

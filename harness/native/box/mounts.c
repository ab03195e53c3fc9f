/**
 * @file
 * @brief The file system inside: what a compiler and a program need, read-only, and small private directories.
 *
 * It is a new root, into which a list of directories is mounted, so that whatever else the machine has is not there.
 */
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Not all headers have these, and <linux/mount.h> cannot be included beside <sys/mount.h> before glibc 2.36. */
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 0x00000001
#endif
#ifndef MOUNT_ATTR_NOSUID
#define MOUNT_ATTR_NOSUID 0x00000002
#endif
#ifndef MOUNT_ATTR_NODEV
#define MOUNT_ATTR_NODEV 0x00000004
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

/** The `struct mount_attr` of mount_setattr(2), by another name because only some headers declare it. */
struct attributes {
    uint64_t set, clear, propagation, userns;
};

int sysctl_directory = -1;

/* ---- helpers ----------------------------------------------------------------------------------------- */

static void mount_tmpfs(const char *path, long size_mb, long inodes, const char *mode)
{
    char text[128];
    snprintf(text, sizeof text, "mode=%s,size=%ldm,nr_inodes=%ld", mode, size_mb, inodes);
    if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, text) < 0)
        die("mount a tmpfs on %s", path);
}

/** Hides what is below a directory. Returns 0, or -1 with errno set. */
static int mount_empty(const char *path)
{
    return mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=4k,mode=555");
}

static void make_directory(const char *path, mode_t mode)
{
    if (mkdir(path, mode) < 0 && errno != EEXIST)
        die("mkdir %s", path);
    /* mkdir(2) applies the umask and leaves an existing directory as it is. */
    if (chmod(path, mode) < 0)
        die("chmod %s", path);
}

/** Does for one mount, on any kernel, what protect() does. Returns 0, or -1 with errno set. */
static int remount_protected(const char *path)
{
    struct statvfs now;
    unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV;
    if (statvfs(path, &now) < 0)
        return -1;
    /* A remount sets all flags anew. It must not clear one that was set outside this user namespace, and the
     * kernel would refuse to; see mount_namespaces(7). It keeps the flags for access times if none is named. */
    if (now.f_flag & ST_NOEXEC)
        flags |= MS_NOEXEC;
    return mount(NULL, path, NULL, flags, NULL);
}

static bool is_below(const char *path, const char *directory)
{
    const size_t length = strlen(directory);
    return strncmp(path, directory, length) == 0 && path[length] == '/';
}

/** The same for a mount and all below it. */
static int remount_all_protected(const char *path)
{
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    if (!mounts)
        return -1;
    struct mntent *entry;
    while ((entry = getmntent(mounts))) {
        if (strcmp(entry->mnt_dir, path) != 0 && !is_below(entry->mnt_dir, path))
            continue;
        /* An automount point has no files of its own, and to use its path would mount something there. */
        if (strcmp(entry->mnt_type, "autofs") == 0 || remount_protected(entry->mnt_dir) == 0)
            continue;
        /* A later mount may cover this one: then its path leads nowhere or to a file or directory that is not
         * a mount (EINVAL), and programs cannot reach it either. Nor can they write where pid 1 may not even
         * look, or to a FUSE mount whose server has ended (ENOTCONN). */
        if (errno != EINVAL && errno != ENOENT && errno != ENOTDIR && errno != EACCES && errno != ENOTCONN) {
            const int reason = errno;
            endmntent(mounts);
            errno = reason;
            return -1;
        }
    }
    endmntent(mounts);
    return 0;
}

/**
 * Makes a mount read-only, without set-user-ID bits and devices. Returns 0, or -1 with errno set.
 *
 * @param flags  0, or AT_RECURSIVE: also all mounts below
 */
static int protect(const char *path, unsigned flags)
{
    struct attributes attributes = {.set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    if (syscall(SYS_mount_setattr, AT_FDCWD, path, flags, &attributes, sizeof attributes) == 0)
        return 0;
    /* Linux before 5.12 does not have this call, and some containers refuse it. */
    return flags & AT_RECURSIVE ? remount_all_protected(path) : remount_protected(path);
}

/**
 * Mounts a directory on itself. Programs can then neither rename nor remove it, nor mount anything on it.
 * Without this they could if an ordinary user started the box, as they then own all files that pid 1 makes.
 */
static void bind_to_itself(const char *path)
{
    if (mount(path, path, NULL, MS_BIND, NULL) < 0)
        die("mount %s on itself", path);
}

/* ---- set-up ------------------------------------------------------------------------------------------ */

/** Where the new root is put together. It is empty in every box, so nothing is covered that is needed. */
#define NEW "/tmp"

const char *const shown_directories[] = {"/usr",    "/bin", "/sbin", "/lib", "/lib32", "/lib64",
                                         "/libx32", "/opt", "/nix",  "/gnu", NULL};

const char *const shown_of_etc[] = {"alternatives",
                                    "ld.so.cache",
                                    "ld.so.conf",
                                    "ld.so.conf.d",
                                    "ld-musl-x86_64.path",
                                    "ld-musl-aarch64.path",
                                    "passwd",
                                    "group",
                                    "nsswitch.conf",
                                    "localtime",
                                    "hosts",
                                    "host.conf",
                                    NULL};

static const char *const shown_of_dev[] = {"null", "zero", "full", "random", "urandom"};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/** Makes an empty file, or directory, on which something can be mounted. Returns whether it is there. */
static bool make_place(const char *path, bool is_directory)
{
    if (is_directory)
        return mkdir(path, 0755) == 0 || errno == EEXIST;
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/** Makes the directories above a path of the new root. */
static void make_above(const char *path)
{
    char above[4096];
    for (const char *slash = strchr(path + sizeof NEW, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(above, sizeof above, "%.*s", (int)(slash - path), path);
        if (mkdir(above, 0755) < 0 && errno != EEXIST)
            die("mkdir %s", above);
    }
}

/** Copies a file into the new root, so that a lock on the copy is none on the machine's own. Returns whether it could. */
static bool copy(const char *from, const char *to)
{
    char bytes[65536];
    const int in = open(from, O_RDONLY | O_CLOEXEC);
    const int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    ssize_t count = -1;
    while (out >= 0 && (count = read(in, bytes, sizeof bytes)) > 0 &&
           write(out, bytes, (size_t)count) == count)
        ;
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return count == 0;
}

static char **machine_mounts; /**< where the machine has mounts; the last is NULL. NULL: it cannot be told */

/** Fills in #machine_mounts. Each look takes the kernel longer than one more mount, so there is one for all directories. */
static void list_machine_mounts(void)
{
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    size_t count = 0;
    for (struct mntent *entry; mounts && (entry = getmntent(mounts));) {
        machine_mounts = realloc(machine_mounts, (count + 2) * sizeof *machine_mounts);
        if (!machine_mounts || !(machine_mounts[count++] = strdup(entry->mnt_dir)))
            die("list the mounts");
        machine_mounts[count] = NULL;
    }
    if (mounts)
        endmntent(mounts);
}

/** Whether something is mounted below a directory, or this cannot be told. */
static bool has_mounts_below(const char *path)
{
    bool found = !machine_mounts;
    for (char **at = machine_mounts; !found && *at; at++)
        found = is_below(*at, path);
    return found;
}

/**
 * Shows a directory through an overlay: its files have inodes of their own there, so that a lock on one is none on the
 * machine's. Returns whether it could: the kernel must be able to (Linux 5.11), and nothing may be mounted below.
 */
static bool show_layered(const char *path, const char *place)
{
    static const char empty[] = NEW "/var"; /* an overlay to read from needs two layers */
    char layers[4200];
    snprintf(layers, sizeof layers, "lowerdir=%s:%s", path, empty);
    return !strpbrk(path, ":,\\") && !has_mounts_below(path) && make_place(empty, true) &&
           make_place(place, true) &&
           mount("overlay", place, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, layers) == 0;
}

/** Shows a file or directory of the machine at the same place in the new root; a symbolic link as the link that it is. */
static void show(const char *path, bool is_device)
{
    char place[4096], target[4096];
    struct stat status;
    snprintf(place, sizeof place, NEW "%s", path);
    if (lstat(path, &status) < 0)
        return;
    make_above(place);
    if (S_ISLNK(status.st_mode)) {
        const ssize_t length = readlink(path, target, sizeof target - 1);
        target[length > 0 ? length : 0] = '\0';
        if (length <= 0 || (symlink(target, place) < 0 && errno != EEXIST))
            die("link %s", place);
        return;
    }
    if (S_ISREG(status.st_mode) && copy(path, place))
        return;
    if (S_ISDIR(status.st_mode) && show_layered(path, place))
        return;
    if (!make_place(place, S_ISDIR(status.st_mode)) || mount(path, place, NULL, MS_BIND | MS_REC, NULL) < 0)
        die("mount %s", path);
    if (!is_device && protect(place, AT_RECURSIVE) < 0)
        die("make %s read-only", path);
}

/** Hides a directory if it is below one that is shown. */
static void hide(const char *path)
{
    char place[4096];
    snprintf(place, sizeof place, NEW "%s", path);
    if (access(place, F_OK) == 0 && mount_empty(place) < 0)
        die("hide %s", path);
}

/** A link to the machine's own, which some programs name: /dev/stdin and the like. */
static void link_descriptors(void)
{
    static const char *const links[][2] = {{"/proc/self/fd", NEW "/dev/fd"},
                                           {"/proc/self/fd/0", NEW "/dev/stdin"},
                                           {"/proc/self/fd/1", NEW "/dev/stdout"},
                                           {"/proc/self/fd/2", NEW "/dev/stderr"}};
    for (size_t i = 0; i < COUNT(links); i++)
        if (symlink(links[i][0], links[i][1]) < 0)
            die("link %s", links[i][1]);
}

/** Makes the new root the root. The old one is then nowhere. */
static void enter_root(void)
{
    if (chdir(NEW) < 0)
        die("chdir " NEW);
    if (syscall(SYS_pivot_root, ".", ".") == 0) { /* see pivot_root(2), "pivot_root(\".\", \".\")" */
        if (umount2(".", MNT_DETACH) < 0)
            die("unmount the old root");
    } else if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0) { /* the root is an initramfs */
        die("change the root");
    }
    if (chdir("/") < 0)
        die("chdir /");
}

/** Puts the new root together, and enters it. */
static void setup_root(void)
{
    char path[4096];
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        die("make the mounts private");
    list_machine_mounts();
    mount_tmpfs(NEW, 8, 1024, "755");
    for (int i = 0; shown_directories[i]; i++)
        show(shown_directories[i], false);
    for (int i = 0; i < options.hidden; i++)
        hide(options.hide[i]);
    /* Perhaps below one of the hidden directories, which are not there otherwise. */
    for (int i = 0; i < options.shown; i++)
        show(options.show[i], false);
    for (int i = 0; i < options.hidden; i++)
        for (int j = 0; j < options.shown; j++)
            if (is_below(options.hide[i], options.show[j]))
                hide(options.hide[i]);
    for (int i = 0; shown_of_etc[i]; i++) {
        snprintf(path, sizeof path, "/etc/%s", shown_of_etc[i]);
        show(path, false);
    }
    for (size_t i = 0; i < COUNT(shown_of_dev); i++) {
        snprintf(path, sizeof path, "/dev/%s", shown_of_dev[i]);
        show(path, true);
    }
    link_descriptors();
    static const char *const places[] = {NEW "/proc", NEW "/tmp",     NEW "/run",
                                         NEW "/var",  NEW "/dev/shm", NEW "/dev/pts"};
    for (size_t i = 0; i < COUNT(places); i++)
        make_directory(places[i], 0755);
    /* Here and not after the change: the kernel demands that a whole /proc is visible already. */
    if (mount("proc", NEW "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        die("mount /proc");
    enter_root();
}

void setup_mounts(void)
{
    setup_root();
    mount_tmpfs("/tmp", options.work_mb, 16384, "1777");
    mount_tmpfs("/run", 64, 256, "755");
    mount_tmpfs("/dev/shm", options.shm_mb, 4096, "1777");

    options.work = "/tmp/lab";
    options.run = "/run/shmlab";
    make_directory(options.work, 0777);
    make_directory(options.run, 0777);
    bind_to_itself(options.work);
    bind_to_itself(options.run);
    if (protect("/run", 0) < 0)
        die("make /run read-only");
    /* Programs must not change a limit that a check has set. A descriptor opened before the read-only mount
     * still refers to the writable one. */
    if ((sysctl_directory = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
        die("open /proc/sys");
    bind_to_itself("/proc/sys");
    if (protect("/proc/sys", 0) < 0)
        die("make /proc/sys read-only");
    if (protect("/", 0) < 0)
        die("make the root read-only");
}

void restore_permissions(void)
{
    const char *const path[] = {"/tmp", "/dev/shm", options.work, options.run};
    for (int i = 0; i < 4; i++) {
        removexattr(path[i], "system.posix_acl_default");
        removexattr(path[i], "system.posix_acl_access");
        chmod(path[i], i < 2 ? 01777 : 0777);
    }
}

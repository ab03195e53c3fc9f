/**
 * @file
 * @brief The file system inside: read-only, except for small private directories.
 */
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
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

/** Does for one mount, on any kernel, what set_read_only() does. Returns 0, or -1 with errno set. */
static int remount_read_only(const char *path)
{
    struct statvfs now;
    unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID;
    if (statvfs(path, &now) < 0)
        return -1;
    /* A remount sets all flags anew. It must not clear one that was set outside this user namespace, and the
     * kernel would refuse to; see mount_namespaces(7). It keeps the flags for access times if none is named. */
    if (now.f_flag & ST_NODEV)
        flags |= MS_NODEV;
    if (now.f_flag & ST_NOEXEC)
        flags |= MS_NOEXEC;
    return mount(NULL, path, NULL, flags, NULL);
}

/** The same for all mounts. */
static int remount_all_read_only(void)
{
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    if (!mounts)
        return -1;
    struct mntent *entry;
    while ((entry = getmntent(mounts))) {
        /* An automount point has no files of its own, and to use its path would mount something there. */
        if (strcmp(entry->mnt_type, "autofs") == 0 || remount_read_only(entry->mnt_dir) == 0)
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
 * Makes a mount read-only, without set-user-ID bits. Returns 0, or -1 with errno set.
 *
 * @param flags  0, or AT_RECURSIVE: also all mounts below, for which @p path must be "/"
 */
static int set_read_only(const char *path, unsigned flags)
{
    struct attributes attributes = {.set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
    if (syscall(SYS_mount_setattr, AT_FDCWD, path, flags, &attributes, sizeof attributes) == 0)
        return 0;
    /* Linux before 5.12 does not have this call, and some containers refuse it. */
    return flags & AT_RECURSIVE ? remount_all_read_only() : remount_read_only(path);
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

/** Makes everything that is mounted read-only, and hides the directories that programs must not see. */
static void setup_root(void)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        die("make the mounts private");
    if (set_read_only("/", AT_RECURSIVE) < 0)
        die("make the disk read-only");
    /* A directory below /tmp or /run need not exist here: setup_mounts() hides it anyway. */
    for (int i = 0; i < options.hidden; i++)
        if (access(options.hide[i], F_OK) == 0 && mount_empty(options.hide[i]) < 0)
            die("hide %s", options.hide[i]);
}

void setup_mounts(void)
{
    setup_root();
    mount_tmpfs("/tmp", options.work_mb, 16384, "1777");
    mount_tmpfs("/run", 64, 256, "755");
    mount_tmpfs("/dev/shm", options.shm_mb, 4096, "1777");
    /* The user's other terminals are here. A program could write to them. */
    if (access("/dev/pts", F_OK) == 0)
        mount_empty("/dev/pts");
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        die("mount /proc");

    options.work = "/tmp/lab";
    options.run = "/run/shmlab";
    make_directory(options.work, 0777);
    make_directory(options.run, 0777);
    bind_to_itself(options.work);
    bind_to_itself(options.run);
    if (set_read_only("/run", 0) < 0)
        die("make /run read-only");
    /* Programs must not change a limit that a check has set. A descriptor opened before the read-only mount
     * still refers to the writable one. */
    if ((sysctl_directory = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
        die("open /proc/sys");
    bind_to_itself("/proc/sys");
    if (set_read_only("/proc/sys", 0) < 0)
        die("make /proc/sys read-only");
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

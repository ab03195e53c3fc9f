/**
 * @file
 * @brief The file system inside: read-only, except for small private directories.
 */
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

int sysctl_directory = -1;

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

/** Makes a mount read-only and ignore set-user-ID bits. @param flags  0, or AT_RECURSIVE: and all below it */
static int set_read_only(const char *path, unsigned flags)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
    return (int)syscall(SYS_mount_setattr, AT_FDCWD, path, flags, &attributes, sizeof attributes);
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

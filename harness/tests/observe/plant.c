/*
 * Plants one object of each kind of shared memory for the tests of the observer, and says what it planted.
 *
 *     plant TAG DIRECTORY      every kind, in this process and in a child
 *     plant TAG leader         one object, in a process whose first thread has ended
 *     plant TAG moved          a segment that was attached in another IPC namespace
 *
 * TAG begins all names, and is the key of the first segment in hexadecimal. Prints "ready", a pid and shmids. When
 * standard input ends it removes everything.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *tag;

static const char *named(const char *what)
{
    static char name[200];
    snprintf(name, sizeof name, "/%s-%s", tag, what);
    return name;
}

/** Gives a file `size` bytes. */
static int sized(int fd, off_t size)
{
    if (fd == -1 || ftruncate(fd, size) == -1)
        err(1, "plant");
    return fd;
}

static int object(const char *what, off_t size)
{
    return sized(shm_open(named(what), O_CREAT | O_RDWR, 0600), size);
}

static char *map(int fd, size_t size, int protection)
{
    char *memory = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        err(1, "mmap");
    if (protection & PROT_WRITE)
        memory[0] = 1;
    close(fd);
    return memory;
}

static int segment(key_t key, size_t size)
{
    const int id = shmget(key, size, IPC_CREAT | 0600);
    if (id == -1)
        err(1, "shmget");
    return id;
}

/** Sends a descriptor to a socket that nobody reads, and closes it. */
static void send_away(int fd)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == -1)
        err(1, "socketpair");
    char byte = 0;
    struct iovec data = {&byte, 1};
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    if (sendmsg(ends[0], &message, 0) == -1)
        err(1, "sendmsg");
    close(fd);
}

static void until_told(pid_t child)
{
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
}

static void *waits(void *unused)
{
    (void)unused;
    char path[64];
    char state[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
    do { /* until the first thread is a zombie */
        const int fd = open(path, O_RDONLY);
        const ssize_t got = read(fd, state, sizeof state - 1);
        state[got > 0 ? got : 0] = '\0';
        close(fd);
    } while (strstr(state, ") Z") == NULL);
    printf("ready %d\n", getpid());
    fflush(stdout);
    until_told(0);
    shm_unlink(named("leader"));
    exit(0);
}

static int plant_leader(void)
{
    map(object("leader", 4096), 4096, PROT_READ | PROT_WRITE);
    pthread_t thread;
    if (pthread_create(&thread, NULL, waits, NULL) != 0)
        errx(1, "pthread_create");
    pthread_exit(NULL);
}

static int plant_moved(void)
{
    const int before = segment((key_t)strtoul(tag, NULL, 16), 4096);
    shmat(before, NULL, 0);
    if (unshare(CLONE_NEWIPC) == -1)
        err(1, "unshare");
    const int after = segment(0x7e57, 8192);
    shmat(after, NULL, 0);
    printf("ready %d %d %d\n", getpid(), before, after);
    fflush(stdout);
    until_told(0);
    return 0;
}

int main(int argc, char *argv[])
{
    if (argc != 3)
        errx(2, "usage: plant TAG DIRECTORY|leader|moved");
    tag = argv[1];
    if (strcmp(argv[2], "leader") == 0)
        return plant_leader();
    if (strcmp(argv[2], "moved") == 0)
        return plant_moved();
    const key_t key = (key_t)strtoul(tag, NULL, 16);

    const pid_t maker = fork();
    if (maker == 0)
        _exit(segment(key, 100000) == -1);
    waitpid(maker, NULL, 0);
    const int orphan = segment(key, 0);
    const int gone = segment(key + 1, 200000);
    char *attached = shmat(gone, NULL, 0);
    attached[0] = 1;
    shmctl(gone, IPC_RMID, NULL);
    const int both = segment(key + 2, 300000);
    shmat(both, NULL, 0);
    shmat(both, NULL, SHM_RDONLY);

    map(object("live", 10000), 10000, PROT_READ);
    object("open", 4096);
    close(object("orphan", 5000));
    send_away(object("away", 4096));
    map(object("gone", 4096), 4096, PROT_READ | PROT_WRITE);
    shm_unlink(named("gone"));
    map(object("gone", 8192), 8192, PROT_READ | PROT_WRITE); /* another object of the same name */
    object("goneopen", 4096);
    shm_unlink(named("goneopen"));
    map(object("new\nline (deleted)", 4096), 4096, PROT_READ | PROT_WRITE);
    sem_open(named("lock"), O_CREAT, 0600, 1);
    map(sized(memfd_create("mapped", 0), 4096), 4096, PROT_READ | PROT_WRITE);
    sized(memfd_create("open", 0), 12345);
    char *anonymous = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    anonymous[0] = anonymous[4096] = 1;
    if (chdir(argv[2]) == -1)
        err(1, "%s", argv[2]);
    map(sized(open("written", O_CREAT | O_RDWR, 0600), 5000), 5000, PROT_READ | PROT_WRITE);
    map(sized(open("read", O_CREAT | O_RDWR, 0600), 5000), 5000, PROT_READ);
    map(sized(open("removed", O_CREAT | O_RDWR, 0600), 5000), 5000, PROT_READ | PROT_WRITE);
    unlink("removed");

    const pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        anonymous[0] = 2;
        pause();
        _exit(0);
    }
    while (*(volatile char *)anonymous != 2)
        sched_yield();
    printf("ready %d %d %d %d %d\n", getpid(), child, orphan, gone, both);
    fflush(stdout);
    until_told(child);
    shmctl(orphan, IPC_RMID, NULL);
    shmctl(both, IPC_RMID, NULL);
    const char *names[] = {"live", "open", "orphan", "away", "gone", "new\nline (deleted)"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        shm_unlink(named(names[i]));
    sem_unlink(named("lock"));
    return 0;
}

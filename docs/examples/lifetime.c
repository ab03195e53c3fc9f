/**
 * @file
 * @brief Takes an object, a segment and an anonymous mapping through their lives; looks at them after each stage.
 *
 *     lifetime FILE /NAME STAGE... -- COMMAND...
 *
 * A process goes through the stages in the order in which they are named. After each of them its parent runs the
 * commands by a shell, in which $P is the process and $C its child. A command with $C is left out as long as there is no
 * child. FILE is created if it does not exist.
 *
 * - `open`: creates the object and the segment
 * - `map`: maps the object, attaches the segment, maps anonymous memory
 * - `fork`: creates a child, which waits
 * - `close`: closes the object's descriptor
 * - `remove`: unlinks the object and removes the segment
 * - `exec`: the child executes another program
 * - `kill`: SIGKILL kills the process, and its child ends
 *
 * Man pages: shm_open(3), shm_unlink(3), shmget(2), shmop(2), shmctl(2), mmap(2), fork(2), execve(2), kill(2).
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 4096, READ = 0, WRITE = 1 };

static int object = -1, segment = -1; /* what the process has created */
static int child_input[2];            /* of its child */
static int executed[2];               /* the child's end is closed when it executes another program */

static void must(int result, const char *call)
{
    if (result == -1)
        err(EXIT_FAILURE, "%s", call);
}

/** Maps memory of each kind, and stores into it, so that it has a page. */
static void map_all(void)
{
    char *memory[] = {
        mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, object, 0),
        shmat(segment, NULL, 0),
        mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
    };
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++) {
        if (memory[i] == MAP_FAILED)
            err(EXIT_FAILURE, "mapping %zu", i);
        memory[i][0] = 1;
    }
}

/** Waits for a byte, and executes a program that waits for the end of its input. */
static _Noreturn void be_child(void)
{
    char byte = 0;
    must(close(child_input[WRITE]), "close"); /* the input ends when the parent does */
    if (read(child_input[READ], &byte, 1) != 1)
        _exit(EXIT_SUCCESS);
    must(dup2(child_input[READ], STDIN_FILENO), "dup2");
    execlp("cat", "cat", (char *)NULL);
    err(EXIT_FAILURE, "cat");
}

static pid_t fork_child(void)
{
    must(pipe2(child_input, O_CLOEXEC), "pipe2");
    must(pipe2(executed, O_CLOEXEC), "pipe2");
    const pid_t child = fork();
    must(child, "fork");
    if (child == 0)
        be_child();
    must(close(executed[WRITE]), "close");
    return child;
}

static void let_child_execute(void)
{
    char byte = 0;
    if (write(child_input[WRITE], "x", 1) != 1 || read(executed[READ], &byte, 1) != 0)
        err(EXIT_FAILURE, "exec");
}

/** Goes through one stage. Returns the child, or 0 if this stage has created none. */
static pid_t go_through(const char *stage, const char *file, const char *name)
{
    if (strcmp(stage, "open") == 0) {
        object = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
        must(object, "shm_open");
        must(ftruncate(object, BYTES), "ftruncate");
        must(open(file, O_CREAT | O_CLOEXEC | O_RDONLY, 0600), file);
        segment = shmget(ftok(file, 'L'), BYTES, IPC_CREAT | IPC_EXCL | 0600);
        must(segment, "shmget");
    } else if (strcmp(stage, "map") == 0) {
        map_all();
    } else if (strcmp(stage, "fork") == 0) {
        return fork_child();
    } else if (strcmp(stage, "close") == 0) {
        must(close(object), "close");
    } else if (strcmp(stage, "remove") == 0) {
        must(shm_unlink(name), "shm_unlink");
        must(shmctl(segment, IPC_RMID, NULL), "shmctl");
    } else if (strcmp(stage, "exec") == 0) {
        let_child_execute();
    } else if (strcmp(stage, "kill") == 0) {
        raise(SIGKILL);
    } else {
        errx(2, "unknown stage '%s'", stage);
    }
    return 0;
}

/** Goes through a stage for each byte that comes, and answers with the child's process id, or 0. */
static _Noreturn void be_process(int from, int to, char *stages[], const char *file, const char *name)
{
    char byte = 0;
    while (read(from, &byte, 1) == 1) {
        const pid_t child = go_through(*stages++, file, name);
        if (write(to, &child, sizeof child) != sizeof child)
            err(EXIT_FAILURE, "write");
    }
    _exit(EXIT_SUCCESS);
}

static void look(char *commands[])
{
    for (; *commands != NULL; commands++)
        if (strstr(*commands, "$C") == NULL || getenv("C") != NULL) {
            printf("$ %s\n", *commands);
            fflush(stdout);
            must(system(*commands), *commands);
        }
}

static void set_variable(const char *name, pid_t pid)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%ld", (long)pid);
    must(setenv(name, digits, 1), "setenv");
}

int main(int argc, char *argv[])
{
    int end = 3;
    while (end < argc && strcmp(argv[end], "--") != 0)
        end++;
    if (end >= argc) {
        fprintf(stderr, "usage: %s FILE /NAME STAGE... -- COMMAND...\n", argv[0]);
        return 2;
    }

    int to[2], from[2];
    must(pipe2(to, O_CLOEXEC), "pipe2");
    must(pipe2(from, O_CLOEXEC), "pipe2");
    must(prctl(PR_SET_CHILD_SUBREAPER, 1), "prctl"); /* to wait for the child of a process that was killed */
    const pid_t process = fork();
    must(process, "fork");
    if (process == 0) {
        must(close(to[WRITE]), "close");
        be_process(to[READ], from[WRITE], argv + 3, argv[1], argv[2]);
    }
    must(close(from[WRITE]), "close");
    set_variable("P", process);

    for (int i = 3; i < end; i++) {
        pid_t child = 0;
        if (write(to[WRITE], "x", 1) != 1)
            err(EXIT_FAILURE, "write");
        if (read(from[READ], &child, sizeof child) != sizeof child)
            while (wait(NULL) > 0) /* the process, and then its child, whose input has ended */
                ;
        if (child > 0)
            set_variable("C", child);
        printf("== %s\n", argv[i]);
        look(argv + end + 1);
    }
    return EXIT_SUCCESS;
}

"""The spy: what it records, where it stops a program, what it makes fail, and what it costs."""
import errno
import os
import re
import signal
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest


from shmlab.sandbox import tiers
from shmlab.sandbox import calls, native
from shmlab.sandbox.box import Box

TALK = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
extern char **environ;
static void use_the_rarer_calls(void)
{
    void *memory = mremap(mmap(NULL, 5000, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 5000, 9000, MREMAP_MAYMOVE);
    int fd = openat(AT_FDCWD, "rare", O_CREAT | O_RDWR, 0600), value = -1;
    printf("%d %d", memory != MAP_FAILED, fallocate(fd, 0, 0, 4096) == 0 && openat(AT_FDCWD, "rare", O_RDONLY) > fd);
    int set = semget(IPC_PRIVATE, 1, 0600);
    struct sembuf down = {0, -1, 0};
    semctl(set, 0, SETVAL, 3), semop(set, &down, 1);
    printf(" %d", semctl(set, 0, GETVAL));
    printf(" %d", semctl(set, 0, IPC_RMID));
    sem_t sem;
    sem_init(&sem, 0, 5), sem_getvalue(&sem, &value);
    pthread_rwlock_t lock;
    pthread_barrier_t barrier;
    printf(" %d %d", value, pthread_rwlock_init(&lock, NULL) | pthread_rwlock_rdlock(&lock) | pthread_rwlock_tryrdlock(&lock));
    pthread_rwlock_unlock(&lock), pthread_rwlock_unlock(&lock);
    printf(" %d %d", pthread_rwlock_wrlock(&lock) | pthread_rwlock_unlock(&lock) | pthread_rwlock_trywrlock(&lock) |
           pthread_rwlock_unlock(&lock) | pthread_rwlock_destroy(&lock), pthread_barrier_init(&barrier, NULL, 1));
    printf(" %d", pthread_barrier_wait(&barrier));
    printf(" %d", pthread_barrier_destroy(&barrier));
    umask(027), fchmod(fd, 0640), chmod("rare", 0600);
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    const struct timespec moment = {0, 1};
    printf(" %d %d %u", sigaction(SIGUSR1, &ignore, NULL), nanosleep(&moment, NULL), sleep(0));
    printf(" %d %d", usleep(1), clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL));
    pid_t child = -1;
    char *words[] = {"sh", "-c", "exit 7", NULL};
    int error = posix_spawn(&child, "/bin/sh", NULL, NULL, words, environ), status = -1;
    printf(" %d %d", error, waitpid(child, &status, 0) == child);
    printf(" %d", WEXITSTATUS(status));
    printf(" %d\n", posix_spawnp(NULL, "sh", NULL, NULL, words, environ));
    fflush(stdout);
    wait(NULL);
    execle("/bin/sh", "sh", "-c", "echo $X $1", "x", "last", (char *)NULL, (char *[]){"X=7", NULL});
}
static void *work(void *sem)
{
    for (int i = 0; i < 1000; i++)
        if (sem_post(sem) || sem_wait(sem))
            abort();
    return NULL;
}
/* Overwrites the stack below its caller's frame, as a vfork child does that calls functions. */
__attribute__((noinline)) static void overwrite_stack(void)
{
    volatile char bytes[20000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = 0x5a;
}
__attribute__((noinline)) static int ended(pid_t child)
{
    int status = -1;
    if (waitpid(child, &status, 0) != child)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}
/* What a vfork child stores is seen by its parent. */
static void use_vfork(char *argv[])
{
    static volatile int stored;
    pid_t child = vfork();
    if (child == 0) {
        overwrite_stack();
        stored = 1;
        _exit(3);
    }
    printf("_exit %d stored %d\n", child < 0 ? errno : ended(child), stored);
    child = vfork();
    if (child == 0) {
        overwrite_stack();
        execl("/bin/sh", "sh", "-c", "exit 4", (char *)NULL);
        _exit(127);
    }
    printf("exec %d\n", child < 0 ? errno : ended(child));
    child = vfork();
    if (child == 0) {
        execv("/not/there", argv);
        _exit(errno);
    }
    printf("no exec %d\n", child < 0 ? errno : ended(child));
}
static void nest_vfork(void)
{
    static volatile int stored;
    pid_t child = vfork();
    if (child == 0) {
        pid_t inner = vfork();
        if (inner == 0) {
            overwrite_stack();
            stored = 5;
            _exit(5);
        }
        if (ended(inner) != 5 || stored != 5)
            _exit(100);
        inner = fork();
        if (inner == 0) {
            stored = 7;
            _exit(7);
        }
        _exit(ended(inner) == 7 && stored == 5 ? 6 : 101);
    }
    printf("nested %d stored %d\n", child < 0 ? errno : ended(child), stored);
}
static void *vfork_often(void *argv)
{
    intptr_t wrong = 0;
    for (int i = 0; i < 50; i++) {
        pid_t child = vfork();
        if (child == 0) {
            if (i % 10 == 0)
                execl("/bin/sh", "sh", "-c", "exit 77", (char *)NULL);
            _exit(77);
        }
        wrong += ended(child) != 77;
    }
    (void)argv;
    return (void *)wrong;
}
/* Calls with an invalid pointer: each must fail with EFAULT. */
static void use_bad_pointers(void)
{
    int result;
    char *bad = (char *)-1, *arguments[] = {"x", NULL};
    char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#define TRY(call) (errno = 0, result = (int)(call), printf("%s: %d %s\n", #call, result, strerror(errno)))
    for (int i = 0; i < 2; i++, bad = page) {
        TRY(open(bad, O_RDONLY));
        TRY(unlink(bad));
        TRY(rename("x", bad));
        TRY(link("x", bad));
        TRY(linkat(AT_FDCWD, "x", AT_FDCWD, bad, 0));
        TRY(memfd_create(bad, 0));
        TRY(memfd_create(bad, 12345678)); /* EINVAL, before the kernel reads the name */
        TRY(execve(bad, arguments, arguments));
        TRY(execv(bad, arguments));
        TRY(execl(bad, "x", (char *)NULL));
        TRY(ftok(bad, 1));
    }
}
/* The last bytes before a page that cannot be read are a name all the same. */
static void use_a_name_at_the_end_of_a_page(void)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *name = page + 4096 - 7;
    mprotect(page + 4096, 4096, PROT_NONE);
    strcpy(name, "/a/b/c");
    printf("%d", open(name, O_RDONLY));
    printf("%d", open("/not/there", O_RDONLY));
}
#define TEN "a", "a", "a", "a", "a", "a", "a", "a", "a", "a",
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
int main(int argc, char *argv[])
{
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "fork")) {
        int id = shmget(IPC_PRIVATE, 100, IPC_CREAT | 0600);
        if (fork() == 0)
            _exit(shmdt(shmat(id, NULL, SHM_RDONLY)));
        int status = 0;
        wait(&status);
        shmctl(id, IPC_RMID, NULL);
        return WEXITSTATUS(status);
    } else if (!strcmp(what, "rules")) {
        static char bytes[1 << 16];
        for (char **entry = environ; *entry; entry++)
            puts(*entry);
        const size_t size = fread(bytes, 1, sizeof bytes, fopen("/proc/self/environ", "r"));
        for (size_t i = 0; i < size; i++)
            putchar(bytes[i] ? bytes[i] : '\n');
    } else if (!strcmp(what, "exec")) {
        execl(argv[0], argv[0], "map", (char *)NULL);
    } else if (!strcmp(what, "map")) {
        void *p = mmap(NULL, 5000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) {
            printf("mmap: %s\n", strerror(errno));
            return 1;
        }
        munmap(p, 5000);
    } else if (!strcmp(what, "add")) {
        int *p = mmap(NULL, 5000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), value;
        if (argc > 2)
            value = __atomic_fetch_add(p, 1, __ATOMIC_SEQ_CST);
        else
            value = *(volatile int *)p, *(volatile int *)p = value + 1;
        printf("%d %d\n", value, *p);
        p[1] = 2; /* no hold any more */
    } else if (!strcmp(what, "syscall")) {
        return syscall(SYS_getpid) != getpid();
    } else if (!strcmp(what, "threads")) {
        pthread_t t[4];
        sem_t *sem = mmap(NULL, 4 * sizeof *sem, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        for (int i = 0; i < 4; i++)
            sem_init(&sem[i], 0, 0), pthread_create(&t[i], NULL, work, &sem[i]);
        for (int i = 0; i < 4; i++)
            pthread_join(t[i], NULL);
    } else if (!strcmp(what, "segv")) {
        char *p = mmap(NULL, 5000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        p[0] = 1;
    } else if (!strcmp(what, "write")) {
        for (const char *rest = "0123456789"; *rest;) {
            ssize_t count = write(1, rest, strlen(rest));
            if (count == -1)
                return errno;
            rest += count;
        }
    } else if (!strcmp(what, "spin")) {
        for (;;)
            munmap(mmap(NULL, 5000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 5000);
    } else if (!strcmp(what, "vfork")) {
        use_vfork(argv);
        if (argc > 2)
            nest_vfork();
    } else if (!strcmp(what, "vfork-threads")) {
        pthread_t t[3];
        void *wrong;
        for (int i = 0; i < 3; i++)
            pthread_create(&t[i], NULL, vfork_often, argv);
        for (int i = 0; i < 3; i++)
            pthread_join(t[i], &wrong), printf("%d", (int)(intptr_t)wrong);
    } else if (!strcmp(what, "bad-pointers")) {
        use_bad_pointers();
    } else if (!strcmp(what, "end-of-page")) {
        use_a_name_at_the_end_of_a_page();
    } else if (!strcmp(what, "rarer")) {
        use_the_rarer_calls();
    } else if (!strcmp(what, "locks")) {
        sem_t private, *moved = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *at[5];
        const int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
        at[0] = &private;
        at[1] = mremap(moved, 4096, 8192, MREMAP_MAYMOVE);
        at[2] = shmat(id, NULL, 0);
        at[3] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        at[4] = sem_open("/locks", O_CREAT, 0600, 0);
        shmctl(id, IPC_RMID, NULL);
        for (int i = 0; i < 5; i++)
            for (int n = (i < 4 ? sem_init(at[i], 1, 0) : sem_unlink("/locks")); n < 100; n++)
                sem_post(at[i]);
    } else if (!strcmp(what, "closes")) {
        for (int fd = 3; fd < 1000; fd++)
            close(fd);
        close(dup(0));
    } else if (!strcmp(what, "many")) {
        execl("/bin/sh", "sh", "-c", "echo $#", "x", HUNDRED HUNDRED HUNDRED TEN (char *)NULL);
    } else if (!strcmp(what, "shm_open")) {
        int fd = shm_open("/shmlab-spy a long name that does not fit into a record", O_CREAT | O_EXCL | O_RDWR, 0640);
        if (ftruncate(fd, 10) || posix_fallocate(fd, 0, 10) || close(fd) || fcntl(12345, F_GETFD) != -1)
            return 1;
        shm_unlink("/shmlab-spy a long name that does not fit into a record");
    }
    return 0;
}
"""

BUILDS = {
    "gcc": ["gcc"], "clang": ["clang"], "musl": ["musl-gcc"],
    "static": ["gcc", "-static"], "static-musl": ["musl-gcc", "-static"],
    "asan": ["gcc", "-fsanitize=address,undefined"], "asan-clang": ["clang", "-fsanitize=address,undefined"],
    "no-pie": ["gcc", "-no-pie"], "large-files": ["gcc", "-D_FILE_OFFSET_BITS=64"],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Returns a function that builds the program in each way once."""
    directory = tmp_path_factory.mktemp("spy")
    (directory / "talk.c").write_text(TALK)
    done = {}

    def get(name, level="-O1", recorded=True):
        name, build = f"{name}{level}{'' if recorded else '-plain'}", name
        if name not in done:
            command = [*BUILDS[build], level]
            program = directory / name
            if not recorded:
                subprocess.run([*command, "-std=gnu17", "-g", "-pthread", directory / "talk.c", "-o", program, "-lrt"],
                               check=True)
                done[name] = program
                return program
            spied = native.spy_object(command[0])
            if "-static" in command:
                # The C library's own calls would be wrapped too: join the spy to the program first, see spy/spy.c.
                objects = [directory / f"{name}-alone.o", directory / f"{name}.o"]
                subprocess.run([*command, "-std=gnu17", "-g", "-c", directory / "talk.c", "-o", objects[0]], check=True)
                subprocess.run(["ld", "-r", *(f"--wrap={call}" for call in calls.WRAPPED), objects[0], spied, "-o",
                                objects[1]], check=True)
                subprocess.run([*command, objects[1], "-pthread", "-o", program, "-lrt"], check=True)
                done[name] = program
                return program
            wraps = "-Wl," + ",".join(f"--wrap={call}" for call in calls.WRAPPED)
            subprocess.run([*command, "-std=gnu17", "-g", "-pthread", directory / "talk.c", spied,
                            wraps, "-o", program, "-lrt"], check=True)
            done[name] = program
        return done[name]

    return get


class Watched:
    """A run of the program in a box, with the recorded calls."""

    def __init__(self, program, *words, rules="", capacity=calls.CAPACITY, preload=False, until=None,
                 prepare=lambda ring: None):
        with Box(tiers.choose_tier("auto"), memory_mb=2048) as box:
            ring = calls.Ring(box.run_fd, capacity=capacity)
            prepare(ring)
            box.put("talk", Path(program).read_bytes(), 0o755)
            environment = {"SHMLAB_RING": f"{box.run}/ring", "SHMLAB_STOPS": f"{box.run}/stops",
                           "ASAN_OPTIONS": "detect_leaks=0"}
            if preload:
                environment["LD_PRELOAD"] = box.put("spy.so", native.spy_preload().read_bytes(), 0o755)
            started = box.start(["./talk", *words], environment, rules=rules, address_mb=0)
            if until:
                until(box, started, ring)
            assert box.wait(started, 20)
            self.status, self.output = started.status, bytes(started.output[1]).decode()
            self.calls, self.lost = ring.read()
            self.injected = ring.injected
            self.started = started
            ring.close()

    def names(self, own_only=True):
        return [call.name for call in self.calls if not (own_only and call.foreign) and call.name not in ("start", "end")]


@pytest.mark.parametrize("build", BUILDS)
def test_records_in_every_build(built, build):
    run = Watched(built(build), "map")
    assert run.names()[:2] == ["mmap", "munmap"] and run.status == 0
    first = next(call for call in run.calls if call.name == "mmap")
    assert first.arguments[:4] == (5000, 3, 0x21, -1) and first.result > 0
    run = Watched(built(build), "shm_open")
    assert run.names()[:6] == ["shm_open", "ftruncate", "posix_fallocate", "close", "fcntl", "shm_unlink"]
    opened, failing = run.calls[1], next(call for call in run.calls if call.name == "fcntl")
    assert opened.text == "/shmlab-spy a long name that does not fit into a record"[:calls.RECORDED_TEXT] and opened.arguments[1] == 0o640
    assert failing.failed and failing.error == errno.EBADF


@pytest.mark.parametrize("cc", ["gcc", "clang", "musl-gcc"])
def test_only_the_wrappers_are_visible_to_the_program(cc):
    """A program may have functions of the names that the recorder uses inside."""
    done = subprocess.run(["nm", "-g", "--defined-only", native.spy_object(cc)], capture_output=True, text=True, check=True)
    names = [line.split()[2] for line in done.stdout.splitlines()]
    not_everywhere = {"sem_clockwait", "pthread_mutex_clocklock", "pthread_cond_clockwait", "pidfd_open", "pidfd_send_signal",
                      "pidfd_getfd"}
    wanted = {f"__wrap_{name}" for name in calls.WRAPPED}
    assert set(names) <= wanted and {name[len("__wrap_"):] for name in wanted - set(names)} <= not_everywhere


def test_preload_marks_calls_of_libraries(built):
    plain = built("gcc").parent / "plain"
    subprocess.run(["gcc", "-std=gnu17", "-pthread", built("gcc").parent / "talk.c", "-o", plain, "-lrt"], check=True)
    run = Watched(plain, "map", preload=True)
    assert run.names()[:2] == ["mmap", "munmap"]
    run = Watched(sys.executable, "-S", "-c", "import mmap; m = mmap.mmap(-1, 12345); m.close()", preload=True)
    assert run.status == 0 and any(call.name == "mmap" and 12345 in call.arguments for call in run.calls)


@pytest.mark.parametrize("build", ["gcc", "static", "asan", "musl"])
def test_follows_fork_and_exec(built, build):
    run = Watched(built(build), "fork")
    parent = run.calls[0].pid
    child = next(call.result for call in run.calls if call.name == "fork" and call.pid == parent)
    assert [call.name for call in run.calls if call.pid == child][:3] == ["fork", "shmat", "shmdt"]
    assert [call.name for call in run.calls if call.pid == parent][:3] == ["start", "shmget", "fork"]
    run = Watched(built(build), "exec")
    assert run.names()[:3] == ["execl", "mmap", "munmap"] and len({call.pid for call in run.calls}) == 1
    assert not run.started.asked_again, "the new image's recorder asks, too, and gets no rules"


@pytest.mark.parametrize("build", ["gcc", "static", "musl", "asan-clang"])
def test_pid_1_is_told_what_was_made_to_fail_and_how_much_was_recorded(built, build):
    run = Watched(built(build), "fork")
    parent = [call for call in run.calls if call.pid == run.calls[0].pid]
    assert (run.started.injected, run.started.records) == (False, len(parent)) and not run.started.asked_again
    run = Watched(built(build), "fork", rules=f"fail shmat 1 {errno.ENOMEM} c")
    assert run.started.injected, "in a child"
    run = Watched(built(build), "segv")
    assert run.started.records is None and not run.started.injected


def test_without_the_token_nothing_is_believed():
    script = ("import os, socket, sys\n"
              "there = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
              "for word in ('i' + 16 * '0', 'n' + 32 * '0', 'i', 'n', '', 'i' + 60 * 'f'):\n"
              "    there.sendto(word.encode(), sys.argv[1] + '/stops')\n"
              "for turn in range(3):\n"
              "    asks = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
              "    asks.connect(sys.argv[1] + '/rules')\n"
              "    print(len(asks.recv(1000)))")
    with Box(tiers.choose_tier("auto")) as box:
        started = box.start([sys.executable, "-S", "-c", script, box.run])  # not recorded: it has no rules to ask for
        assert box.wait(started, 20) and bytes(started.output[1]) == b"0\n0\n0\n", started.output
        assert (started.injected, started.records, started.asked_again) == (False, None, False)
        started = box.start([sys.executable, "-S", "-c", script, box.run], rules="stop mmap 1 p")
        assert box.wait(started, 20) and bytes(started.output[1]) == b"29\n0\n0\n", started.output
        assert (started.injected, started.records, started.asked_again) == (False, None, True)


VFORK = "_exit 3 stored 1\nexec 4\nno exec 2\n"
NESTED = "nested 6 stored 5\n"


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("build", ["gcc", "clang", "musl", "static", "static-musl", "asan", "asan-clang", "no-pie"])
def test_vfork_is_run_as_vfork(built, build, level):
    """The child stores in its parent's memory and overwrites the stack below the frame that called vfork()."""
    nested = "asan" not in build  # AddressSanitizer's own vfork() cannot be nested
    words, output = ["vfork"] + ["nested"] * nested, VFORK + NESTED * nested
    assert Watched(built(build, level, recorded=False), *words).output == output, "when it is not recorded"
    run = Watched(built(build, level), *words)
    assert (run.status, run.output) == (0, output)
    parent = run.calls[0].pid
    mine = [call for call in run.calls if call.name == "vfork" and call.pid == parent]
    assert len(mine) == 3 + nested and all(call.result > 0 for call in mine), \
        "the parent's calls carry its pid after its children ended"
    children = [[call.name for call in run.calls if call.pid == vfork.result] for vfork in mine]
    assert children == [["vfork", "_exit"], ["vfork", "execl"], ["vfork", "execv", "execv", "_exit"],
                        ["vfork", "vfork", "waitpid", "fork", "waitpid", "_exit"]][:len(mine)]
    of_parent = [call.name for call in run.calls if call.pid == parent and call.name != "end"]
    assert of_parent == ["start"] + len(mine) * ["vfork", "waitpid"]
    run = Watched(built(build, level), "vfork-threads")
    assert (run.status, run.output) == (0, "000") and run.names().count("vfork") == 300


def test_vfork_is_run_as_vfork_when_preloaded(built):
    run = Watched(built("gcc", recorded=False), "vfork", "nested", preload=True)
    assert (run.status, run.output) == (0, VFORK + NESTED) and "vfork" in run.names()
    assert Watched("/bin/sh", "-c", "/bin/true; /bin/true | cat; exit 5", preload=True).status == 5 << 8


@pytest.mark.parametrize("build", ["gcc", "musl", "static", "asan"])
def test_rules_match_vfork_and_its_child(built, build):
    run = Watched(built(build), "vfork", rules=f"fail vfork 2 {errno.EAGAIN} p")
    assert (run.status, run.output) == (0, VFORK.replace("exec 4", f"exec {errno.EAGAIN}", 1)) and run.injected == 1
    run = Watched(built(build), "vfork", rules="fail end 1 9 c;fail vfork 2 12 p")
    assert run.status == 0 and run.output.startswith("_exit 9 stored 1\nexec 12\n"), "a child's calls count apart"

    def resume(box, started, ring):
        seen = 0
        while box.pump(lambda: sum(event[0] == "stopped" for event in box.events) > seen or started.status is not None, 20):
            held = [int(event[1]) for event in box.events if event[0] == "stopped"]
            if started.status is not None:
                break
            for pid in held[seen:]:
                box.kill(pid, signal.SIGCONT)
            seen = len(held)
        stops.append(seen)

    for rule, count in ("stop vfork 1 p", 1), ("stop vfork 1 c", 3), ("stop end 1 c", 2), ("stop vfork 0 a", 6):
        stops = []
        run = Watched(built(build), "vfork", rules=rule, until=resume)
        assert (run.status, run.output) == (0, VFORK), (rule, run.output)
        assert stops == [count], rule


@pytest.mark.parametrize("build", ["gcc", "clang", "musl", "static", "asan"])
def test_an_invalid_pointer_fails_as_it_does_when_not_recorded(built, build):
    plain, run = Watched(built(build, recorded=False), "bad-pointers"), Watched(built(build), "bad-pointers")
    assert (run.status, run.output) == (plain.status, plain.output) and (build == "asan" or run.output.count("Bad address") == 16)
    if build != "asan":  # which itself reads the names
        assert {call.text for call in run.calls} == {""}
    run = Watched(built("gcc", recorded=False), "bad-pointers", preload=True)
    assert run.output == Watched(built("gcc", recorded=False), "bad-pointers").output
    run = Watched(built(build), "end-of-page", rules=f"fail open 2 {errno.EIO} p")
    assert run.output == "-1-1" and [call.text for call in run.calls if call.name == "open"] == ["/a/b/c", "/not/there"]


@pytest.mark.parametrize("build", ["gcc", "clang", "musl", "static", "asan"])
def test_execl_takes_any_number_of_arguments(built, build):
    assert Watched(built(build, recorded=False), "many").output == Watched(built(build), "many").output == "310\n"


@pytest.mark.parametrize("build", ["gcc", "clang", "musl", "static", "asan", "large-files"])
def test_the_rarer_calls_are_recorded_and_do_the_same(built, build):
    run = Watched(built(build), "rarer")
    assert run.output == Watched(built(build, recorded=False), "rarer").output == "1 1 2 0 5 0 0 0 -1 0 0 0 0 0 0 0 1 7 0\n7 last\n"
    texts = [str(call) for call in run.calls if call.pid == run.calls[0].pid]
    names = run.names()
    for name in ("mremap", "fallocate", "semget", "semop", "sem_getvalue", "pthread_rwlock_init", "pthread_rwlock_rdlock",
                 "pthread_rwlock_tryrdlock", "pthread_rwlock_wrlock", "pthread_rwlock_trywrlock", "pthread_rwlock_destroy",
                 "pthread_barrier_init", "pthread_barrier_wait", "pthread_barrier_destroy", "sigaction", "nanosleep", "sleep",
                 "usleep", "clock_nanosleep", "umask", "fchmod", "chmod", "posix_spawn", "posix_spawnp", "execle"):
        assert names.count(name) == 1, name
    assert 'openat(-100, "rare", O_RDWR|O_CREAT, 0600) = 3' in texts and 'openat(-100, "rare", O_RDONLY) = 4' in texts
    assert "semctl(0, 0, SETVAL, 0x3) = 0" in texts and "semctl(0, 0, GETVAL) = 2" in texts and "semctl(0, 0, IPC_RMID) = 0" in texts
    assert not any(call.failed for call in run.calls)


def test_what_a_call_stores_or_sends_is_in_its_record(tmp_path):
    source = tmp_path / "stores.c"
    source.write_text(r"""
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void)
{
    char bytes[100];
    int pair[2];
    struct shmid_ds data;
    const int id = shmget(IPC_PRIVATE, 100, IPC_CREAT | 0640);
    shmat(id, NULL, 0);
    shmctl(id, IPC_STAT, &data);
    shmctl(id, IPC_RMID, NULL);
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    send(pair[0], "a\0b", 3, 0), send(pair[0], "", 0, 0);
    recv(pair[1], bytes, 1, MSG_TRUNC), recv(pair[1], bytes, sizeof bytes, 0);
    struct iovec parts[2] = {{"x", 1}, {"y", 1}};
    sendmsg(pair[0], &(struct msghdr){.msg_iov = parts, .msg_iovlen = 2}, 0);
    parts[0] = (struct iovec){bytes, sizeof bytes};
    recvmsg(pair[1], &(struct msghdr){.msg_iov = parts, .msg_iovlen = 1}, 0);
    write(pair[0], (const char *)1, 5);
}
""", encoding="ascii")
    subprocess.run(["gcc", "-w", source, native.spy_object("gcc"), "-Wl," + ",".join(f"--wrap={name}" for name in calls.WRAPPED),
                    "-o", tmp_path / "stores", "-lrt"], check=True)
    run = Watched(tmp_path / "stores", rules="fail write 9 5 p")
    texts = [re.sub(r"0x\w+", "…", str(call)) for call in run.calls]
    assert texts[3] == "shmctl(0, IPC_STAT, {size 100, nattch 1, mode 0640}) = 0"
    assert texts[5:] == ['send(3, … = "a\\x00b", 3, 0) = 3', "send(3, …, 0, 0) = 0", "recv(4, …, 1, 32) = 3", "recv(4, …, 100, 0) = 0",
                         "sendmsg(3, …, 0) = 2", 'recvmsg(4, … = "xy", 0) = 2']


def test_calls_that_not_every_library_has_are_recorded_where_it_has_them(tmp_path):
    """A program that calls what its library lacks is not linked, with the recorder or without."""
    source = tmp_path / "newer.c"
    source.write_text(r"""
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
int pidfd_open(pid_t, unsigned), pidfd_send_signal(int, int, siginfo_t *, unsigned), pidfd_getfd(int, int, unsigned);
int main(void)
{
    static sem_t sem;
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    const struct timespec past = {0};
    const int waited = sem_clockwait(&sem, CLOCK_MONOTONIC, &past) + (errno == ETIMEDOUT);
    const int locked = pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &past);
    const int met = pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &past) == ETIMEDOUT;
    const int self = pidfd_open(getpid(), 0), other = pidfd_getfd(self, 1, 0);
    printf("%d %d %d %d %d\n", waited, locked, met, self > 2 && other > self, pidfd_send_signal(self, 0, NULL, 0));
}
""", encoding="ascii")
    names = [f"--wrap={name}" for name in calls.WRAPPED]
    plain = subprocess.run(["gcc", "-pthread", source, "-o", tmp_path / "plain"], capture_output=True, text=True)
    recorded = subprocess.run(["gcc", "-pthread", source, native.spy_object("gcc"), "-Wl," + ",".join(names), "-o",
                               tmp_path / "recorded", "-lrt"], capture_output=True, text=True)
    assert plain.returncode == recorded.returncode
    if not plain.returncode:
        run = Watched(tmp_path / "recorded")
        assert run.output == Watched(tmp_path / "plain").output == "0 0 1 1 0\n"
        assert run.names() == ["sem_clockwait", "pthread_mutex_clocklock", "pthread_cond_clockwait", "pidfd_open", "pidfd_getfd",
                               "pidfd_send_signal"]


def test_of_the_numbers_that_a_daemon_closes_some_are_recorded(built):
    run = Watched(built("gcc"), "closes")
    assert [call.failed for call in run.calls if call.name == "close"] == [True] * 64 + [False]


@pytest.mark.parametrize("build", ["gcc", "musl", "static", "asan"])
def test_threads_lose_nothing(built, build):
    run = Watched(built(build), "threads")
    assert run.status == 0 and run.names().count("sem_post") == run.names().count("sem_wait") == 4000 and run.lost == 0


def test_a_full_ring_loses_the_oldest_and_says_how_many(built):
    run = Watched(built("gcc"), "threads", capacity=100)
    assert run.status == 0 and run.lost == 8000 + 1 + 1 + 4 + 4 - 100
    # A thread that is interrupted while it writes a record keeps others from its place: one at most for each of four.
    numbers = [call.sequence for call in run.calls]
    assert 96 <= len(numbers) <= 100 and numbers == sorted(set(numbers))
    assert numbers[0] > run.lost and numbers[-1] <= run.lost + 100
    run = Watched(built("gcc"), "fork", rules=f"fail shmget 1 {errno.ENOSPC} p", capacity=2)
    assert not any(call.injected for call in run.calls) and run.injected == 1, "it counts, though its record is lost"


@pytest.mark.parametrize("there", [1 << 63 | 2, 1002])
def test_a_place_that_another_is_writing_or_a_later_record_has_is_left_alone(built, there):
    """A program that was killed while it wrote a record, and one that the ring overtook."""
    def occupy(ring):
        os.pwrite(ring._fd, struct.pack("<Q", there), 128 + 144)

    run = Watched(built("gcc"), "map", prepare=occupy)
    assert run.status == 0 and [call.sequence for call in run.calls] == [1, 3]


@pytest.mark.parametrize("build", ["gcc", "musl", "static"])
def test_of_private_locks_the_first_are_recorded_and_of_shared_ones_all(built, build):
    run = Watched(built(build), "locks")
    at = {call.arguments[0] for call in run.calls if call.name == "sem_init"}
    assert len(at) == 4 and run.status == 0
    counts = Counter(call.arguments[0] for call in run.calls if call.name == "sem_post")
    assert sorted(counts.values()) == [64, 100, 100, 100, 100], "private; moved, System V, anonymous, named"


@pytest.mark.parametrize("build", ["gcc", "musl", "static", "asan-clang"])
def test_a_call_can_be_made_to_fail(built, build):
    run = Watched(built(build), "map", rules=f"fail mmap 1 {errno.ENOMEM} p")
    assert os.WEXITSTATUS(run.status) == 1 and run.output == f"mmap: {os.strerror(errno.ENOMEM)}\n" or build == "musl"
    assert run.calls[1].injected and run.calls[1].error == errno.ENOMEM and run.injected == 1


@pytest.mark.parametrize("build", ["gcc", "musl", "static", "asan-clang"])
def test_a_write_can_be_cut_short(built, build):
    run = Watched(built(build), "write", rules="fail write 0 -4 p")
    assert run.status == 0 and run.output == "0123456789"
    made = [call for call in run.calls if call.name == "write"]
    assert [call.result for call in made] == [4, 4] and all(call.injected for call in made), "only shortened writes are injected"
    assert str(made[0]).endswith("= 4   ← cut short by this check")
    assert os.WEXITSTATUS(Watched(built(build), "write", rules=f"fail write 1 {errno.ENOSPC} p").status) == errno.ENOSPC


@pytest.mark.parametrize("build", BUILDS)
def test_a_store_can_be_held_before_it_is_made(built, build):
    """If load and store are separate instructions, a value that another process stores between them is lost."""

    def another_stores(box, started, ring):
        assert box.pump(lambda: any(event[0] == "stopped" for event in box.events), 20)
        store, = (call for call in ring.read()[0] if call.name == "store")
        fd = box.open(f"/proc/{started.pid}/mem", "w")
        assert os.pread(fd, 4, store.arguments[0]) == bytes(4)
        os.pwrite(fd, struct.pack("=i", 10), store.arguments[0])
        os.close(fd)
        box.kill(started.pid, signal.SIGCONT)

    for words, printed in ((), "0 1\n"), (("atomically",), "10 11\n"):
        run = Watched(built(build), "add", *words, rules="stop store 0 p", until=another_stores)
        assert (run.status, run.output) == (0, printed) and run.names() == ["mmap", "store"], run.output
    run = Watched(built(build), "segv", rules="stop store 0 p")
    assert run.status in (signal.SIGSEGV, 1 << 8), "the spy passes on faults that it did not cause"


@pytest.mark.parametrize("build", ["gcc", "musl", "static", "asan-clang"])
def test_an_exit_status_can_be_given(built, build):
    assert os.WEXITSTATUS(Watched(built(build), "map", rules="fail end 1 7 p").status) == 7
    child = Watched(built(build), "fork", rules="fail end 1 7 c")
    assert os.WEXITSTATUS(child.status) == 7 and "shmctl" in child.names()


@pytest.mark.parametrize("build", ["gcc", "musl", "static", "asan-clang"])
def test_the_program_does_not_see_its_rules(built, build):
    run = Watched(built(build), "rules", rules=f"fail sem_post 1 {errno.EINVAL} p;;;")
    assert run.status == 0 and "SHMLAB_RING=" in run.output, run.output
    assert "SHMLAB_RULES" not in run.output and "sem_post" not in run.output, run.output
    assert Watched(built(build), "rules", rules="stop mmap 1 p").output.count("=") == run.output.count("=")


def test_rules_without_sense_are_passed_over(built):
    for rules in "fail", "fail mmap", "stop nothing 1 p", ";;;", "fail mmap 1 12", "x" * 5000, "stop mmap 1 p" * 100:
        run = Watched(built("gcc"), "segv", rules=rules) if rules.startswith("stop mmap") else Watched(
            built("gcc"), "map", rules=rules)
        assert run.status in (0, signal.SIGSEGV)


@pytest.mark.parametrize("build", ["gcc", "static", "asan"])
@pytest.mark.parametrize("rule, words, name", [
    ("stop mmap 1 p", "map", "mmap"), ("stop munmap 1 p", "map", "munmap"), ("stop end 1 p", "map", "munmap"),
    ("stop syscall 1 p", "syscall", "syscall"),
    ("stop shmat 1 c", "fork", "shmat"), ("stop end 1 c", "fork", "_exit"), ("stop fork 1 c", "fork", "fork"),
])
def test_holds_right_after_the_call(built, build, rule, words, name):
    seen = []

    def look(box, started, ring):
        assert box.pump(lambda: any(event[0] == "stopped" for event in box.events), 5)
        pid = next(int(event[1]) for event in box.events if event[0] == "stopped")
        assert (pid == started.pid) == rule.endswith("p")
        state = box.read(f"/proc/{pid}/stat").rsplit(b")", 1)[1].split()[0]
        seen.append((state, [call.name for call in ring.read()[0] if call.pid == pid and call.name not in ("start", "end")][-1]))
        box.kill(pid, signal.SIGCONT)

    run = Watched(built(build), words, rules=rule, until=look)
    assert seen == [(b"T", name)] and run.status == 0


def test_a_crash_keeps_what_was_recorded(built):
    run = Watched(built("gcc"), "segv")
    assert os.WTERMSIG(run.status) == signal.SIGSEGV and run.names() == ["mmap"]

    def kill(box, started, ring):
        while not {call.name for call in ring.read()[0]} >= {"mmap", "munmap"}:
            assert started.status is None and box.pump(lambda: False, 0.005) is False
        box.kill(started.pid, signal.SIGKILL)

    run = Watched(built("gcc"), "spin", until=kill)
    assert set(run.names()) == {"mmap", "munmap"}


def test_without_a_ring_it_only_passes_on(built):
    done = subprocess.run([built("gcc"), "map"], env={"SHMLAB_RING": "/not/there", "SHMLAB_STOPS": "x" * 500})
    assert done.returncode == 0


def test_a_ring_that_was_tampered_with_is_read_all_the_same(tmp_path):
    directory = os.open(tmp_path, os.O_RDONLY)
    ring = calls.Ring(directory, capacity=16)
    for content in os.urandom(128 + 16 * 144), b"", b"\xff" * 100, b"\xff" * 5000:
        (tmp_path / "ring").write_bytes(content)
        found, lost = ring.read()
        assert len(found) <= 16 and lost >= 0
        assert all(str(call) for call in found)
    ring.close()
    os.close(directory)


def test_each_reading_gives_all_that_is_there_by_then(tmp_path):
    directory = os.open(tmp_path, os.O_RDONLY)
    ring = calls.Ring(directory, capacity=16)

    def sequences(total, *written):
        """Writes these records and the ring's count `total`. Returns the sequence numbers read, and how many were lost."""
        with open(tmp_path / "ring", "r+b") as file:
            for number in written:
                file.seek(128 + (number - 1) % 16 * 144)
                file.write(struct.pack("<QQQiiHHiqQ5q48s", number, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, b""))
            file.seek(8)
            file.write(struct.pack("<Q", total))
        found, lost = ring.read()
        return [call.sequence for call in found], lost

    assert sequences(3, 1, 2, 3) == ([1, 2, 3], 0)
    assert sequences(5, 5) == ([1, 2, 3, 5], 0)  # record 4 is reserved but not written yet
    assert sequences(6, 6) == ([1, 2, 3, 5, 6], 0)
    assert sequences(6, 4) == ([1, 2, 3, 4, 5, 6], 0)
    assert sequences(20, *range(7, 21)) == (list(range(5, 21)), 4)
    ring.close()
    os.close(directory)


def test_every_call_is_listed_once_and_prints():
    names = [name for name, _ in calls.DEFINITIONS]
    assert len(names) == len(set(names))
    for name in names:
        call = calls.Call(1, 0, 1, name, (1, 2, 3, 4, 5), "text", -1, errno.EINVAL, False, False, True, 0)
        assert str(call).startswith(name + "(")


def test_two_pid_namespaces_are_told_apart(built, tmp_path):
    directory = os.open(tmp_path, os.O_RDONLY)
    ring = calls.Ring(directory)
    os.close(directory)
    for before in [], ["unshare", "-Urpf"]:
        subprocess.run([*before, built("gcc"), "map"], env={**os.environ, "SHMLAB_RING": str(tmp_path / "ring")}, check=True)
    found = ring.read()[0]
    ring.close()
    inner = {call.namespace for call in found if call.pid == 1}
    outer = {call.namespace for call in found if call.pid != 1}
    assert len(inner) == len(outer) == 1 and inner != outer and 0 not in inner | outer

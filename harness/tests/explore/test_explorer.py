"""The explorer finds every end of small programs, and no end that they do not have."""
import re
import shutil
import time

import pytest

from shmlab import gallery, labs
from shmlab.explore.search import ScheduleProblem, Search, split_schedule
from shmlab.judging.fixture import LabFixture
from shmlab.judging.schedules import End

COMPILERS = [cc for cc in ("gcc", "clang", "musl-gcc") if shutil.which(cc)]
HEAD = """
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
struct shared { int count; _Atomic int x, y; int data; sem_t a, b; pthread_mutex_t mutex; };
int main(int argc, char *argv[])
{
    (void)argc;
    const int role = atoi(argv[2]);
    const int fd = shm_open(argv[1], O_CREAT | O_RDWR, 0600);
    if (ftruncate(fd, sizeof(struct shared)) == -1) return 1;
    struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (s == MAP_FAILED) return 1;
"""
COUNT = "s->count++;"
ATOMIC = "atomic_fetch_add(&s->x, 1);"
MESSAGE = """
    if (role == 0) { s->data = 7; atomic_store_explicit(&s->x, 1, memory_order_%s); }
    else if (atomic_load_explicit(&s->x, memory_order_%s)) printf("%%d", s->data);
"""
STORES = """
    _Atomic int *mine = role ? &s->x : &s->y, *other = role ? &s->y : &s->x;
    atomic_store_explicit(mine, 1, memory_order_relaxed);
    %s
    printf("%%d", atomic_load_explicit(other, memory_order_relaxed));
"""


class Explored:
    """All ends of a scenario, and the search."""

    def __init__(self, fixture, commands, **options):
        self.search = Search(fixture, "test.1", commands, **{"preemptions": 2, "deaths": 0, **options})
        self.ends = [End(raw, self.search) for raw in self.search.ends()]

    @property
    def outputs(self):
        return {tuple(run.stdout for run in end.runs) for end in self.ends}

    @property
    def all(self):
        """What can be told apart: how each process ended, what it printed, and the objects."""
        return {(end.raw.verdict, tuple((run.process.status, run.stdout) for run in end.runs),
                 tuple((name, item.content) for name, item in end.objects.items())) for end in self.ends}


@pytest.fixture(params=COMPILERS)
def explore(request, tmp_path):
    """Explores processes of a small program: explore(body, roles)."""
    lab = labs.find("08")
    fixtures = []

    def run(body, roles=(0, 1), **options):
        source = tmp_path / str(len(fixtures)) / lab.name
        source.mkdir(parents=True)
        (source / "posix_create.c").write_text(HEAD + body + "\n    return 0;\n}\n")
        fixture = LabFixture(lab, source.parent, "namespaces", request.param, False)
        fixtures.append(fixture)
        name = options.pop("name", "/shmlab-test")
        return Explored(fixture, [("posix_create", name, role) for role in roles], **options)

    yield run
    for fixture in fixtures:
        fixture.close()
    LabFixture.close_spare()


def counts(explored, at=0):
    return {int.from_bytes(end.object_bytes("/shmlab-test")[at:at + 4], "little") for end in explored.ends}


def test_a_lost_update_is_found_and_an_atomic_one_loses_nothing(explore):
    assert counts(explore(COUNT)) == {1, 2}
    assert counts(explore(ATOMIC), 4) == {2}
    # Three that count: only with two preemptions can two updates get lost.
    assert counts(explore(COUNT, (0, 1, 2), preemptions=0)) == {3}
    assert counts(explore(COUNT, (0, 1, 2), preemptions=2)) == {1, 2, 3}


@pytest.mark.parametrize("lab, commands", [
    ("12", [("first_comer", "/shmlab-test", 7), ("first_comer", "/shmlab-test", 9)]),
    ("13", [("producer", "/shmlab-test", 1, 1), ("consumer", "/shmlab-test", 1)]),
    ("08", [("posix_create", "/shmlab-test", 4096, "a"), ("posix_create", "/shmlab-test", 64, "b")]),
], ids=["12", "13", "08"])
def test_the_reductions_lose_no_end(lab, commands):
    fixture = LabFixture(labs.find(lab), labs.SOLUTIONS, "namespaces", "cc", False)
    reduced = Explored(fixture, commands)
    fixture.reset()
    plain = Search(fixture, "test.2", commands, 2, 0)
    plain.options += ["--reduce", "no"]
    everything = Explored.__new__(Explored)
    everything.search, everything.ends = plain, [End(raw, plain) for raw in plain.ends()]
    fixture.close()
    assert reduced.search.complete and plain.complete
    assert reduced.all == everything.all
    assert reduced.search.figures.schedules < plain.figures.schedules


@pytest.mark.parametrize("name", ["ticket_in_three_steps", "created_in_place", "renames", "replaces_the_first"])
def test_mistakes_of_lab_12_are_found(name, tmp_path):
    mistake = next(m for m in gallery.mistakes() if str(m) == f"12_first_comer/{name}")
    fixture = LabFixture(mistake.lab, mistake.apply(tmp_path), "namespaces", "cc", False)
    explored = Explored(fixture, [("first_comer", "/shmlab-test", 7), ("first_comer", "/shmlab-test", 9)])
    fixture.close()
    good = {(b"ticket %d number %d\n" % (a, n + a), b"ticket %d number %d\n" % (b, n + b)) for n in (7, 9) for a, b in ((0, 1), (1, 0))}
    assert not explored.outputs <= good


def test_a_deadlock_is_known_and_named(explore):
    crossed = explore("""
        if (role == 2) { sem_init(&s->a, 1, 1); sem_init(&s->b, 1, 1); return 0; }
        sem_t *first = role ? &s->a : &s->b, *second = role ? &s->b : &s->a;
        while (s->b.__align == 0) sched_yield();
        sem_wait(first); sem_wait(second); sem_post(second); sem_post(first);
    """.replace("s->b.__align", "((volatile char *)&s->b)[0]"), (2, 0, 1))
    still = [end for end in crossed.ends if end.raw.verdict == "deadlock"]
    assert still and all(len(end.standstill) == 2 and "sem_wait" in end.standstill[0] for end in still)
    assert any("waits for ever in sem_wait" in line for line in still[0].lines())


def test_what_is_private_wakes_nobody_else(explore):
    waits = """
        if (role == 0) { sem_init(&s->a, %d, 0); atomic_store(&s->x, 1); sem_wait(&s->a); }
        else { while (!atomic_load(&s->x)) sched_yield(); sem_post(&s->a); }
    """
    assert {end.raw.verdict for end in explore(waits % 1).ends} == {"all ended"}
    private = [end for end in explore(waits % 0).ends if end.raw.verdict == "deadlock"]
    assert private and "not set up for several processes" in private[0].standstill[0]


def test_time_passes_only_when_nothing_else_can_happen(explore):
    began = time.monotonic()
    # To sleep orders nothing: the second may look before the first has stored.
    slept = explore('if (role) { sleep(1000); printf("%d", s->count); } else s->count = 1;')
    assert slept.outputs == {(b"", b"0"), (b"", b"1")}
    late = explore("""
        struct timespec until; clock_gettime(CLOCK_REALTIME, &until); until.tv_sec += 1000;
        sem_init(&s->a, 1, 0);
        const int result = sem_timedwait(&s->a, &until);
        printf("%d %d", result, errno == ETIMEDOUT);
        struct timespec now; clock_gettime(CLOCK_REALTIME, &now);
        printf(" %d", now.tv_sec >= until.tv_sec);
    """, (0,))
    assert late.outputs == {(b"-1 1 1",)} and late.ends[0].raw.overslept == 1
    assert time.monotonic() - began < 100


def test_polls_in_vain_are_a_livelock(explore):
    explored = explore("while (!atomic_load(&s->x)) { struct timespec t = {0, 1000}; nanosleep(&t, NULL); }", (0,))
    assert [end.raw.verdict for end in explored.ends] == ["livelock"]


def test_a_loop_that_spins_lets_the_others_go_on(explore):
    explored = explore("if (role) { while (!atomic_load(&s->x)) ; printf(\"%d\", s->data); } else { s->data = 7; s->x = 1; }")
    assert explored.outputs == {(b"", b"7")}


def test_memory_orders(explore):
    assert explore(MESSAGE % ("release", "acquire"), weak=True).outputs == {(b"", b""), (b"", b"7")}
    assert explore(MESSAGE % ("relaxed", "acquire"), weak=True).outputs == {(b"", b""), (b"", b"7"), (b"", b"0")}
    assert explore(MESSAGE % ("release", "relaxed"), weak=True).outputs >= {(b"", b"0")}
    assert explore(MESSAGE % ("relaxed", "relaxed")).outputs == {(b"", b""), (b"", b"7")}  # in order, if memory is not weak
    fence = "atomic_thread_fence(memory_order_%s);"
    assert (b"0", b"0") in explore(STORES % "", weak=True).outputs
    assert (b"0", b"0") in explore(STORES % (fence % "acq_rel"), weak=True).outputs
    assert (b"0", b"0") not in explore(STORES % (fence % "seq_cst"), weak=True).outputs
    assert (b"0", b"0") not in explore(STORES % "").outputs


def test_death_at_every_point(explore):
    explored = explore("s->count = 1; s->data = 2; atomic_store(&s->x, 3);", (0,), preemptions=0, deaths=1)
    found = {end.object_bytes("/shmlab-test")[:16:4] if end.objects else None for end in explored.ends}
    assert found >= {None, b"", b"\0\0\0\0", b"\1\0\0\0", b"\1\0\0\2", b"\1\3\0\2"}
    assert any(end.runs[0].killed for end in explored.ends) and not all(end.runs[0].killed for end in explored.ends)


def test_the_kernel_drops_the_locks_of_who_dies(explore):
    explored = explore("""
        struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        fcntl(fd, F_SETLKW, &whole); s->count++; s->data++;
    """, preemptions=1, deaths=1)
    assert explored.search.complete and {end.raw.verdict for end in explored.ends} == {"all ended"}


def test_children_are_processes_too(explore):
    explored = explore("""
        const pid_t child = fork();
        s->count++;
        if (child == 0) _exit(3);
        int status = 0;
        if (waitpid(child, &status, 0) != child) return 1;
        printf("%d %d", WEXITSTATUS(status), s->count);
    """, (0,))
    assert explored.outputs == {(b"3 1",), (b"3 2",)}
    assert all(any("[B]" in line and "s->count++" in line for line in end.lines()) for end in explored.ends)


def test_a_program_may_use_the_names_of_the_run_time(explore):
    names = "control", "self", "point", "mix", "peek", "decide", "finish"
    globals_ = "".join(f"int {name} = 1;\n" for name in names)
    explored = explore(f"s->count++; return 0; }}\n{globals_} int touch(void); int touch(void) {{")
    assert not explored.search.unavailable and counts(explored) == {1, 2}


def test_pids_are_the_same_each_time(explore):
    assert explore('printf("%ld", (long)getpid());').outputs == {(b"10001", b"10002")}


def test_a_schedule_runs_again(explore):
    explored = explore(COUNT)
    lost = next(end for end in explored.ends if counts(explored) and end.object_bytes("/shmlab-test")[0] == 1)
    scenario, choices = split_schedule(lost.schedule)
    assert scenario == "test.1"
    again = explore(COUNT, replay=choices)
    assert [end.object_bytes("/shmlab-test")[0] for end in again.ends] == [1]
    assert [re.sub(r"\d+", "", line) for line in again.ends[0].lines()] == [re.sub(r"\d+", "", line) for line in lost.lines()]
    assert sum("s->count++" in line for line in lost.lines()) == 4  # two loads and two stores, with their line
    with pytest.raises(ScheduleProblem):
        explore(COUNT, replay="3:7")
    with pytest.raises(ValueError):
        split_schedule("12; rm -rf /")


def test_each_schedule_starts_from_the_objects_that_are_there(tmp_path):
    lab = labs.find("08")
    fixture = LabFixture(lab, labs.SOLUTIONS, "namespaces", "cc", False)
    made = fixture.make_object("/shmlab-old", b"old", mode=0o640)
    explored = Explored(fixture, [("posix_create", "/shmlab-old", 64, "a"), ("posix_create", "/shmlab-new", 64, "b")])
    assert explored.ends and all(end.object_bytes("/shmlab-old") == b"old" for end in explored.ends)
    assert all(run.exit_status == (1 if "old" in run.command else 0) for end in explored.ends for run in end.runs)
    left = fixture.objects()
    assert [(item.name, item.size, item.mode) for item in left] == [(made.name, made.size, made.mode)]
    fixture.close()


@pytest.mark.parametrize("body, why", [
    ("kill(-1, SIGKILL); pause();", "killed"),
    ("for (volatile long i = 0;; i++) ;", "hung"),
    ("pause();", "hung"),
    ("signal(SIGALRM, (void (*)(int))abs); alarm(1); sem_init(&s->a, 1, 0); sem_wait(&s->a);", "a timer"),
    ("if (vfork() == 0) _exit(0);", "vfork()"),
    ("pid_t _Fork(void); if (_Fork() == 0) _exit(0);", "_Fork()"),
    ("if (system(\"true\")) return 1;", "system()"),
    ("pthread_t t; pthread_create(&t, NULL, (void *(*)(void *))pause, NULL);", "a second thread"),
], ids=["kills", "runs for ever", "waits for ever", "ticks", "vfork", "_Fork", "system", "threads"])
def test_what_cannot_be_explored_is_told_and_does_no_harm(explore, body, why):
    explored = explore(body)
    assert not explored.ends and why in explored.search.unavailable and not explored.search.complete


def test_a_child_without_end_does_not_stop_the_search(explore):
    explored = explore("if (fork() == 0) for (;;) atomic_load(&s->x); printf(\"1\");", (0,), preemptions=0)
    assert {end.raw.verdict for end in explored.ends} <= {"livelock", "too long"}

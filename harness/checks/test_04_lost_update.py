"""Lab 04: many processes add to one counter; only an atomic one keeps every update."""
import errno
import os
import re
import signal
import struct
import time

from shmlab import LabFixture, points, require
from shmlab.judging.children import (AFTER_A_WAIT, come_to_their_ends, require_parent_waits, said_by_children, tells_cause,
                                     wait_for_children, waits_before_fork)
from shmlab.judging.limits import WaitLimits
from shmlab.judging.pauses import HELD, NO_TIME
from shmlab.sandbox.box import PROCESSORS

ONE_AT_A_TIME = True  # the children count as fast as they can: two checks at once would keep each other waiting

PROGRAM = "lost_update"
MOST = 10**12
ENDLESS = 1 << 39  # no child counts this far while a check looks; and it is 0 in an int
PAGE = os.sysconf("SC_PAGE_SIZE")
ENOUGH = 1000  # stores of a check: about a third of them should hit the moment, not none and not all
SEMAPHORE = 32  # bytes of a sem_t, in glibc and in musl, where a pointer has 64 bits

# A child that takes such a lock for every increment is stopped while it has it: a gate takes it once or twice.
LOCKS = [(name, 20, "c") for name in ("sem_wait", "pthread_mutex_lock", "flock", "fcntl")]

MANY = 1000000  # additions to one counter, by when a child has been at the other one, too
LONG = 0.5  # seconds of the processor, in which a child counts further than that
KEPT = ("kept_mappings",)  # a child may unmap the memory before it ends: this keeps it, to be read


def at_the_gate(lab: LabFixture, children: int, times: int, *stop_at, **options):
    """Starts the program. Its parent continues from its last fork when all children wait, so each of them is at the gate.

    What becomes of a child that comes when the gate has been opened is test_gate's matter alone.
    """
    program, box = lab.start(PROGRAM, children, times, stop_at=[*stop_at, ("fork", children)], **options), lab.box

    stopped, untold = ("stopped", str(program.pid)), 0

    def at_its_last_fork() -> bool:
        nonlocal untold
        untold = untold + 1 if program.state().phase == "stopped" and box.processes() and stopped not in box.events else 0
        if untold > 5:  # pid 1 would have told of a stop of the spy's: it sleeps, see held_sleep
            program.resume()
        call = program.blocked()
        waits = call is not None and call.waits_for_child and any(program.is_spinning(pid) for pid in mine())  # for a child that counts
        return stopped in box.events or program.started.status is not None or program.spins or waits

    def mine():
        return [process.pid for process in box.processes() if process.parent == program.pid]

    def wait() -> bool:
        return program.built.path in WaitLimits.spinning or all(
            program.state(pid).phase in ("stopped", "ended") or program.blocked(pid) or program.is_spinning(pid) for pid in mine())

    lab.poll(at_its_last_fork, 4)
    if stopped in box.events:
        lab.poll(wait, 4)
        box.events[:] = [event for event in box.events if event != stopped]
        program.resume()
    return program


def totals(run):
    """What the program prints: total and loss of the plain counter, then of the atomic one."""
    match = re.fullmatch(rb"plain (\d+) lost (\d+)\natomic (\d+) lost (\d+)\n", run.stdout)
    require(match, 'two lines on stdout, "plain TOTAL lost LOST" and "atomic TOTAL lost LOST"', "stdout:", run.stdout, run.ending)
    return [int(number) for number in match.groups()]


def children_of(program, count: int):
    """The pids of the program's children, as soon as there are that many."""
    box, found = program.fixture.box, []

    def look() -> bool:
        found[:] = [process.pid for process in box.processes() if process.parent == program.pid and process.state != "Z"]
        return len(found) >= count or program.started.status is not None or program.spins or bool(waits_before_fork(program, count))

    program.fixture.poll(look, 4)
    early = waits_before_fork(program, count) if len(found) < count else ""
    require(not early, "all children are forked before any is waited for", early)
    require(len(found) == count, f"{count} children exist at the same time",
            [f"there are {len(found)}, of `{program.command}`",
             *(program.describe_state() if program.started.status is None else program.wait().ending)])
    return found


class Counters:
    """The two counters at the beginning of the shared mapping, looked at and changed from outside."""

    def __init__(self, program, pids) -> None:
        common = program.common_mappings(*pids)
        require(len(common) == 1, "one shared anonymous mapping, and no more", common)
        self.mapping, self.program, self.last = common[0], program, (0, 0)
        self.memory = program.look(lambda: program.fixture.box.open(f"/proc/{pids[0]}/mem", "w"), pids[0])

    @property
    def both(self):
        """Plain and atomic."""
        content = self._at_memory(lambda: os.pread(self.memory, 16, self.mapping.start))
        self.last = struct.unpack("=QQ", content)
        return self.last

    @property
    def atomic(self) -> int:
        return self.both[1]

    def set(self, *values: int, at: int = 0) -> None:
        content = struct.pack(f"={len(values)}Q", *values)
        self._at_memory(lambda: content[:os.pwrite(self.memory, content, self.mapping.start + 8 * at)], len(content))

    def _at_memory(self, act, size: int = 16) -> bytes:
        """Reads or writes the counters. They are gone with the program, or when it unmaps them, which is told."""
        try:
            content = act()
        except OSError:
            content = b""
        if len(content) != size:
            self.program.memory(self.mapping)  # tells of a program that has ended or unmapped it; else it is our own fault
            content = act()
        require(len(content) == size, f"{self.program.name} keeps its memory while this check looks at the counters",
                "plain %d, atomic %d, a moment ago" % self.last, self.program.describe_state())
        return content

    def close(self) -> None:
        os.close(self.memory)


def counting(lab: LabFixture, children: int, stop_at=()):
    """The program with children in the midst of counting; they continue until the box is closed."""
    program = at_the_gate(lab, children, ENDLESS, *stop_at, ("end", 1, "c"))  # a child that ends too early is still there
    pids = children_of(program, children)
    counters = Counters(program, [program.pid, *pids])

    def told() -> bool:
        plain, atomic = counters.both
        return bool(plain and atomic) or max(plain, atomic) > MANY or program.started.status is not None or any(
            program.state(pid).phase == "stopped" or program.cpu_seconds(pid) > LONG for pid in pids)

    lab.poll(told, 4)
    plain, atomic = counters.both
    for one, value, other, others in ("plain", plain, "atomic", atomic), ("atomic", atomic, "plain", plain):
        require(value <= MANY or others, "in each round a child adds 1 to both counters in the shared memory",
                f"the {one} counter was beyond {MANY} while the {other} counter was still 0")
    require(0 < atomic < ENDLESS and program.started.status is None,
            f"while {children} children count to {ENDLESS}, the atomic counter in the shared memory is between 0 and that",
            f"the memory begins with: plain {plain}, atomic {atomic}",
            "a child has already come to its end: is M cut off on its way to the child?"
            if any(program.state(pid).phase == "stopped" for pid in pids) else [],
            program.describe_state() if program.started.status is None else program.wait().ending)
    return program, pids, counters


def freeze(program, *pids: int) -> None:
    """Stops processes wherever they are."""
    for pid in pids:
        program.kill(pid, signal.SIGSTOP)
    stopped = program.fixture.poll(lambda: all(program.state(pid).phase in ("stopped", "ended") for pid in pids), 4)
    require(stopped, "a process that was sent SIGSTOP stops", program.describe_state())


@tells_cause
@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    at_the_gate(lab, 2, 10, interpose=NO_TIME).wait().require_success()
    for words in ([], [2], [2, 10, 1], [0, 10], [17, 10], [2, 0], [2, MOST + 1], ["x", 10], [2, "10x"], ["2x", 10],
                  [2, "1e3"], [-2, 10], [2, -10], ["+2", 10], ["", 10], [2, ""], [2, 1 << 64], [(1 << 64) + 2, 10]):
        lab.run(PROGRAM, *words).require_usage()


@tells_cause
@points(1, read="handout, Steps")
def test_totals(lab):
    """The program prints both totals and what is missing from N·M in each, and with one child nothing is missing."""
    for pairs in [(1, 1)], [(1, 100000), (2, 1), (16, 100), (3, 20000), ("01", "010")]:  # those of a list side by side
        programs = [at_the_gate(lab, children, times, ("end", 1, "c"), interpose=HELD) for children, times in pairs]
        for (children, times), run in zip(pairs, come_to_their_ends(*zip(programs, (int(children) for children, _ in pairs)))):
            run.require_success()
            plain, plain_lost, atomic, atomic_lost = totals(run)
            if times == "010":
                require(atomic == 10, "010 is ten as M: its digits are decimal", "stdout:", run.stdout)
                continue
            require(plain + plain_lost == atomic + atomic_lost == children * times and min(plain, atomic) > 0,
                    f"TOTAL and LOST add up to {children * times} in both lines of {run.command}", "stdout:", run.stdout)
            require(children > 1 or plain_lost == atomic_lost == 0, "a child that counts alone loses nothing",
                    "stdout:", run.stdout)


def explore_counts(lab: LabFixture):
    """Every order of the steps of two children that count to 2."""
    for children, weak in lab.scenarios([(2, True)], [(3, False)]):
        for end in lab.every_schedule((PROGRAM, children, 2), preemptions=1, weak=weak):
            end.require_all_ended()
            run = end.runs[0].require_success()
            kept = [step.after for step in end.raw.steps if step.process and step.kind in ("store", "update")
                    and (step.offset, step.size) == (8, 8)][-1:]
            # A program that prints the totals too early has lost nothing: test_counters_are_shared judges that.
            require(kept == [2 * children] or re.search(rb"^atomic %d lost 0$" % (2 * children), run.stdout, re.M),
                    f"the atomic counter loses nothing, whatever the order of the steps: atomic {2 * children} lost 0", run.stdout)


def explore_one_child(lab: LabFixture):
    """What a child that counts to 3 does to the plain counter, and to the atomic one: "load", "store" and "update", as its
    compiler made them. Both are empty if the explorer cannot run, or if no child uses these places."""
    found = [], []
    ends = list(lab.every_schedule((PROGRAM, 1, 3), preemptions=0))  # all: a search that stops at an end is told with that end
    for step in ends[0].raw.steps if ends else ():
        if step.is_access and step.process and step.size == 8 and step.offset in (0, 8):
            found[step.offset // 8].append(step.kind)
    lab.reset()
    return found


@tells_cause
@points(2, read="C17 7.17.7.5, atomic_fetch_add; handout, Background")
def test_atomic_loses_nothing(lab):
    """The atomic counter loses nothing: not in large runs, and not what this check stores in between."""
    programs = [at_the_gate(lab, 4, 50000, ("end", 1, "c"), interpose=HELD) for _ in range(4)]
    for run in come_to_their_ends(*((program, 4) for program in programs)):
        run.require_success()
        require(totals(run)[2:] == [200000, 0], "the atomic counter comes to 200000 with lost_update 4 50000", "stdout:", run.stdout)
    plain, atomic = explore_one_child(lab)
    require("store" not in atomic or "store" in plain or not plain,
            "the second counter in the mapping is the atomic one, and the first is the plain one",
            f"the first is added to in one operation, the second with {' '.join(atomic[:2])}: they are in the wrong order")
    require("store" not in atomic, "the child adds to the atomic counter, the second in the mapping, in one operation",
            f"a child that counts to 3 makes these accesses to it, in this order: {' '.join(atomic)}",
            "another process can store between a load and a store")
    explore_counts(lab)
    # From time to time this check stores a large number in the atomic counter while the children count. A child that
    # loads, adds and stores puts an older number back; that happens at once where they truly run at the same time.
    program, _, counters = counting(lab, 3)
    stores, at_once, stored, end = 0, 0, 0, time.monotonic() + 2
    while at_once < 300 and time.monotonic() < end:
        stores += 1
        stored = stores << 32
        counters.set(stored, at=1)
        found, looks = counters.atomic, 0
        while found == stored and time.monotonic() < end:
            os.sched_yield()
            found, looks = counters.atomic, looks + 1
        require(found >> 32 == stores, "the atomic counter goes up from the number that this check has stored in it",
                f"stored: {stored}, found a moment later: {found}", "a child stored an older number over it: an update is lost")
        at_once += looks == 0
    counters.close()


@tells_cause
@points(1, read="mmap(2), MAP_SHARED and MAP_ANONYMOUS; handout, Steps")
def test_counters_are_shared(lab):
    """Parent and children have the counters in one shared anonymous mapping, and the program prints what is there in the end."""
    program = at_the_gate(lab, 3, 1000, ("end", 1, "c"), interpose=KEPT)
    children = wait_for_children(program, 3)
    counters = Counters(program, [program.pid, *children])
    plain, atomic = counters.both
    require(0 < plain <= 3000 and 0 < atomic <= 3000,
            "the mapping begins with the plain and the atomic counter, which are at most 3000 now",
            f"plain {plain}, atomic {atomic}", counters.mapping)
    calls, start = program.recorded(), counters.mapping.start
    ends = [start + 16, *(call.arguments[0] + SEMAPHORE for call in calls if call.name == "sem_init"
                          and start <= call.arguments[0] < counters.mapping.end)]
    for call in calls:
        require(call.name != "mmap" or call.result != start or call.arguments[0] >= max(ends) - start,
                f"the mapping has room for what is in it: at least {max(ends) - start} bytes", call,
                "what follows the requested bytes is mapped only because the kernel rounds up to whole pages")
    counters.close()
    for nth in range(3):
        require_prints_what_is_there_at_the_end(lab, nth)


def require_prints_what_is_there_at_the_end(lab: LabFixture, nth: int) -> None:
    """Stores other numbers in the counters when one child is at its end and all others have ended: these must be printed."""
    lab.reset()
    program = at_the_gate(lab, 3, 1000, ("end", 1, "c"), interpose=KEPT)
    children = sorted(wait_for_children(program, 3))
    others = children[:nth] + children[nth + 1:]
    counters = Counters(program, [program.pid, *children])
    program.resume(*others)
    lab.poll(lambda: not any(process.pid in others and process.state != "Z" for process in lab.box.processes()), 4)
    slept = require_parent_waits(program, "one of its children is")
    counters.set(1234, 2999)
    counters.close()
    program.resume(children[nth])
    run = program.wait()
    require(run.stdout == b"plain 1234 lost 1766\natomic 2999 lost 1\n" or run.exit_status != 0,
            "the program prints what is in the mapping once all children have ended (this check set them to 1234 and 2999 "
            "when all but one had ended)", "stdout:", run.stdout, slept,
            "the two counters are in the wrong order in the mapping" if run.stdout.startswith(b"plain 2999 ") else [])


@tells_cause
@points(1, read="sem_init(3), sem_wait(3); handout, Background and Steps")
def test_gate(lab):
    """No child counts before all N exist; those that wait do so in the kernel, neither spinning nor sleeping for a time."""
    program = lab.start(PROGRAM, 4, 1000, stop_at=("fork", 3))
    program.wait_stopped()
    early = children_of(program, 3)

    def waiting():
        return [call for call in map(program.blocked, early) if call and call.number >= 0]

    lab.poll(lambda: len(waiting()) == 3 or any(program.state(pid).phase == "ended" or program.is_spinning(pid) for pid in early), 4)
    calls = waiting()
    require(len(calls) == 3, "before the fourth child is forked, the other three wait in the kernel", program.describe_state())
    require(not any(call.pauses for call in calls), "the children wait until they are woken, and do not sleep for a time",
            "/proc/PID/syscall of a child: a system call that only time ends, such as nanosleep()")
    before = [program.state(pid).sleeps for pid in early]
    again = lab.poll(lambda: any(program.state(pid).sleeps > slept + 1 for pid, slept in zip(early, before)), 0.05)
    require(not again, "the children wait until they are woken, and do not wake from time to time to look at the gate",
            "a child went to sleep again although no process woke it: voluntary_ctxt_switches in its /proc/PID/status went up")
    counters = Counters(program, [program.pid, *early])
    require(counters.both == (0, 0), "both counters are 0 before the fourth child is forked",
            "plain %d, atomic %d" % counters.both)
    counters.close()
    program.resume()
    require(totals(program.wait().require_success())[2] > 0, "the children count once the fourth exists")
    # A child may come to the gate after it was opened.
    program = lab.start(PROGRAM, 1, 1000, stop_at=("fork", 1, "c"))
    late = program.wait_stopped()
    lab.settle(program)
    program.resume(*late)
    program.wait().require_success()


@tells_cause
@points(1, read="handout, Background and Steps")
def test_side_by_side(lab):
    """All children count at the same time, and none waits for another: each continues while the others are stopped."""
    program, children, counters = counting(lab, 3, stop_at=LOCKS)
    freeze(program, *children)
    for child in children * 8:  # each is stopped again every time: with luck while it holds a lock
        before = counters.atomic
        program.resume(child)
        goes_on = lab.poll(lambda: counters.atomic > before + 1000, 2)
        late, where = lab.in_time(2), program.describe_state()
        freeze(program, child)
        require(goes_on, f"while the other children are stopped, child {child} continues to count",
                f"{late} the atomic counter went from {before} to {counters.atomic}", where)
        call = program.blocked(child)
        require(not call or not call.pauses, "a child that counts does not sleep",
                f"/proc/{child}/syscall: a system call that only time ends, such as nanosleep()")
        require(not call or call.number < 0, "a child that counts makes no system call",
                f"/proc/{child}/syscall: process {child} was stopped in system call {call and call.number}")
    counters.close()


@tells_cause
@points(1, read="handout, Background and Steps")
def test_one_by_one(lab):
    """A child adds to both counters in turn, in the shared memory, and one at a time."""
    plain, _ = explore_one_child(lab)
    if plain:
        saw = f"a child that counts to 3 makes these accesses to the plain counter, in this order: {' '.join(plain)}"
        require("update" not in plain, "the child adds to the plain counter with a load, an addition and a store, and another "
                "process can store between them", saw, "an update is one atomic operation")
        require(plain.count("load") >= 3, "each round begins with a load of the plain counter from the shared memory", saw)
        require(plain.count("store") >= 3, "each round stores the plain counter in the shared memory", saw)
    program, (child,), counters = counting(lab, 1)
    before = 0
    for _ in range(3):
        lab.poll(lambda: counters.atomic > before + 100, 4)
        freeze(program, child)
        plain, atomic = counters.both
        require(abs(plain - atomic) <= 1, "plain and atomic go up together, because each is increased once in every round",
                f"plain {plain}, atomic {atomic}")
        require(atomic > before, "the counters go up", f"the atomic counter was {before} and is {atomic}")
        before = atomic
        program.resume(child)
    if not plain:
        require_load_and_store(counters)
    counters.close()


def require_load_and_store(counters) -> None:
    """The same where the explorer cannot run."""
    # What this check stores in the plain counter is lost if it comes between a load and a store, and is kept if it does
    # not: both happen within some stores where this check and the child truly run at the same time. So it stays awake.
    stores, kept, lost, end = 0, 0, 0, time.monotonic() + (4 if len(PROCESSORS) > 1 else 0)
    while not (kept and lost) and kept + lost < ENOUGH and time.monotonic() < end:
        stores += 1
        stored, began = stores << 32, time.perf_counter()
        counters.set(stored)
        # Where this check and the child share a processor, what the child does meanwhile takes it a turn of some milliseconds.
        found, at_once = counters.both[0], time.perf_counter() - began < 1e-4
        while found == stored and time.monotonic() < end:
            found, at_once = counters.both[0], False
        kept += at_once and found >> 32 == stores
        lost += at_once and found >> 32 != stores
    require(lost or kept < ENOUGH, "the child adds to the plain counter with a load, an addition and a store, and another "
            "process can store between them",
            f"none of {kept} numbers that this check stored meanwhile was lost: the addition is atomic")
    require(kept or lost < ENOUGH, "each round begins with a load of the plain counter from the shared memory",
            f"all {lost} numbers that this check stored in it were overwritten at once")


def require_no_child(program):
    """When the program is stopped at its end, no other process is left."""
    left = [process for process in program.fixture.box.processes() if process.pid != program.pid]
    require(not left, "no child is left, not even as a zombie, when the parent ends", left)


@tells_cause
@points(1, read="waitpid(2), WIFSIGNALED; handout, Steps")
def test_children_are_waited_for(lab):
    """The parent waits for its children without spinning; a killed child makes it fail; when it ends, no child is left
    and no mapping."""
    program = at_the_gate(lab, 3, 1000, ("end", 1, "c"))
    children = wait_for_children(program, 3)
    require(not program.wait_blocked().pauses, "the parent waits until it is woken, and does not sleep for a time",
            "/proc/PID/syscall of the parent: a system call that only time ends, such as nanosleep()")
    first, middle, last = sorted(children)
    program.kill(first)
    program.kill(last)
    # Whichever of them the parent waits for first, it reaps one that was killed.
    lab.poll(lambda: not {first, last} <= {process.pid for process in lab.box.processes()}, 1)
    require(lab.settle(program) == "waits", "the parent also waits for the other children when one was killed",
            program.describe_state() if program.started.status is None else program.wait().ending)
    program.resume(middle)
    run = program.wait()
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message when a child was killed", run.ending)
    require(run.stdout == b"", "nothing on stdout when a child was killed", run.stdout)
    run.left_behind.require_nothing()
    program = at_the_gate(lab, 3, 1000, "end")
    program.wait_stopped()
    require_no_child(program)
    mapped = [mapping for mapping in program.maps() if mapping.anonymous]
    require(not mapped, "the shared memory is no longer mapped just before the parent ends", mapped)
    calls = [call for call in program.recorded() if call.pid == program.pid and not call.failed]
    for gate in [call.arguments[0] for call in calls if call.name == "sem_init"]:
        ends = [call for call in calls if (call.name == "sem_destroy" and call.arguments[0] == gate) or (
            call.name == "munmap" and 0 <= gate - call.arguments[0] < max(PAGE, call.arguments[1]))]
        require([call.name for call in ends[:1]] == ["sem_destroy"], "the gate is destroyed, and then its memory is unmapped",
                ends or "there is no sem_destroy()")


@tells_cause
@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1 and cleans up."""
    lab.each_call_fails(lambda **fault: at_the_gate(lab, 2, 100, interpose=NO_TIME, **fault).wait(), "child", "process", "wait")
    for fault in ("fork", 3, errno.EAGAIN), ("sem_wait", 1, errno.EINVAL, "c"):
        lab.reset()
        program = at_the_gate(lab, 3, 100, "end", fail=fault, interpose=NO_TIME)
        program.wait_stopped()
        require_no_child(program)
        program.resume()
        run = program.wait()
        if any(call.injected for call in lab.read_calls()):
            require(run.exit_status == 1 and run.stderr, f"exit status 1 and a message when {fault[0]}() fails", run.ending)
            run.left_behind.require_nothing()
    lab.reset()
    program = at_the_gate(lab, 3, 100, *AFTER_A_WAIT, fail=("sem_wait", 1, errno.EINVAL, "c"), interpose=NO_TIME)
    said = said_by_children(program)
    require(said or not any(call.injected for call in lab.read_calls()), "a child whose call fails reports it on stderr",
            "sem_wait() failed with EINVAL in each child (this check made it fail); all have ended, and nothing is on stderr")
    lab.reset()
    run = at_the_gate(lab, 2, 10, stdout="/dev/full", interpose=NO_TIME).wait()
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message when stdout is full", run.ending)

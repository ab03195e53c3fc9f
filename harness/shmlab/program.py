"""What a check holds in its hand: a bench on which it runs the student's programs, stops them, and looks.

    run = lab.run("sysv_create", lab.file("meeting place"), "hello")
    held = lab.start("sysv_attach", file, hold="shmat")     # stopped right after its first shmat()
    run = lab.run("posix_create", name, 4096, "x", fail=("mmap", 1, errno.ENOMEM))
    peer = lab.reference("reader", name)                     # the finished program, as a stranger

Whatever a check finds wrong it says with require(): what was expected, and what the kernel showed.
"""
from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import signal
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple, Union

from . import build as building
from . import kernel, native
from .box import Box, BoxRefused, Contents, Started
from .build import Built
from .calls import Call, Ring, with_places
from .kernel import Mapping, Object, Process, Segment, show
from .labs import SOLUTIONS, Lab

Hold = Union[str, Tuple[str, int], Tuple[str, int, str]]
Fail = Union[Tuple[str, int, int], Tuple[str, int, int, str]]

WALL_SECONDS = 4.0  # for a program that should end by itself; the labs' programs need some milliseconds
HOLD_SECONDS = 4.0
FEED_SECONDS = 10.0
SHORT_SECONDS = 1.0
GRANT_SECONDS = 60.0  # for all the checks of a lab together, which have four minutes
RULES_LENGTH = 600  # always, as the spy wipes them out but the gap remains: its length shall tell nothing
SPIN_SECONDS = 0.3  # of the processor; a program that has used so much since its start is not about to wait


class Patience:
    """How long this run waits for a program to end, or to come to where it shall be held.

    A program that hangs hangs in every check. One that was waited for in vain twice in a row has used up its credit:
    from then on it gets a second, still much more than the labs' programs need, until it comes in time again.
    Each check judges by itself all the same, and a lab of programs that hang ends within half a minute.
    """

    misses: Dict[Path, int] = {}
    granted: Dict[str, float] = {}  # seconds, by lab

    @classmethod
    def limit(cls, seconds: float, *programs: "Program") -> float:
        tried = any(cls.misses.get(program.built.path, 0) >= 2 for program in programs)
        return min(seconds, SHORT_SECONDS) if tried else seconds

    @classmethod
    def grant(cls, lab: Lab, seconds: float) -> bool:
        """Whether there is more time for programs of a lab that do not come to their turn: see Box.expect()."""
        cls.granted[lab.name] = cls.granted.get(lab.name, 0.0) + seconds
        return cls.granted[lab.name] < GRANT_SECONDS

    @classmethod
    def note(cls, came: bool, *programs: "Program") -> None:
        for path in {program.built.path for program in programs}:  # however many of one kind: it is one wait
            cls.misses[path] = 0 if came else cls.misses.get(path, 0) + 1


class CheckFailed(AssertionError):
    """A requirement that does not hold: what was expected, and what was seen instead, line by line."""

    def __init__(self, expected: str, saw: Sequence[str]) -> None:
        super().__init__(expected)
        self.expected = expected
        self.saw = list(saw)


def _lines(item: object) -> List[str]:
    """What a check saw, as lines: things of the kernel know their own line."""
    if isinstance(item, (list, tuple)):
        return [line for part in item for line in _lines(part)]
    if isinstance(item, bytes):
        return [show(item)]
    return str(getattr(item, "line", item)).splitlines()


def require(condition: object, expected: str, *saw: object) -> None:
    """Fails the check unless the condition holds. `saw` may be text, bytes, or anything from kernel.py."""
    if not condition:
        raise CheckFailed(expected, [line for item in saw for line in _lines(item)] or ["there is nothing"])


def require_bytes(got: bytes, wanted: bytes, what: str) -> None:
    """Fails the check unless the bytes are the same; shows where they first differ."""
    if got == wanted:
        return
    at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
    start = max(0, at - 20)
    dots = "… " if start else ""
    raise CheckFailed(f"{what}: {dots}{show(wanted[start:])} ({len(wanted)} bytes)",
                      [f"{dots}{show(got[start:])} ({len(got)} bytes)", f"the first difference is at byte {at}"])


def _require_object(item: Object) -> Object:
    """What has an object's name may be a link to a file, say, which shm_open() does not follow, or a named pipe."""
    require(not item.kind, f"{item.name} is an object of shared memory, as shm_open() makes one", item)
    return item


class LeftBehind(Contents):
    """What there was when the program had ended and had not been there when it began."""

    @property
    def lines(self) -> List[str]:
        return ([s.line for s in self.segments] + [o.line for o in self.objects] +
                [p.line for p in self.processes] + [f"semaphore set {i}" for i in self.semaphores] +
                [f"message queue {i}" for i in self.queues])

    def one_segment(self) -> Segment:
        """The only segment; anything else fails the check."""
        require(len(self.segments) == 1, "one segment is there after the program has ended",
                self.lines or "/proc/sysvipc/shm: no segment")
        return self.segments[0]

    def one_object(self, name: str) -> Object:
        """The object of that name; the check fails when it is missing or not alone."""
        require([o.name for o in self.objects] == [name],
                f"the object {name}, and no other, is there after the program has ended",
                self.lines or "/dev/shm: no object")
        return _require_object(self.objects[0])

    def require_nothing(self) -> None:
        require(not self.lines, "nothing is left when the program has ended", self.lines)


@dataclass
class Run:
    """A program that has ended."""

    name: str
    command: str
    status: int
    stdout: bytes
    stderr: str
    cpu: float
    wall: float
    left_behind: LeftBehind
    program: "Program" = field(repr=False)
    notes: List[str] = field(default_factory=list)

    @property
    def exit_status(self) -> Optional[int]:
        """None when a signal ended it."""
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else None

    @property
    def signal(self) -> Optional[str]:
        """Such as "SIGSEGV"; None when it ended by itself."""
        if not os.WIFSIGNALED(self.status):
            return None
        number = os.WTERMSIG(self.status)
        return signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"

    def says(self, words: Sequence[str]) -> bool:
        """Whether one of the words is in the message on stderr, in any case, the program's own name in front left out."""
        text = self.stderr.replace(f"{self.name}:", "").replace(f"./{self.name}", "").lower()
        return any(word.lower() in text for word in words)

    @property
    def says_success(self) -> bool:
        """Whether the message gives as its reason that nothing has failed: what errno 0 stands for."""
        return any(reason in self.stderr for reason in SUCCESS)

    def other_reason(self, number: int) -> str:
        """The reason that the message gives, if it is another error's than this one's."""
        if os.strerror(number) in self.stderr:
            return ""
        others = {os.strerror(other) for other in errno.errorcode} | MUSL_REASONS
        return next((reason for reason in sorted(others) if reason in self.stderr), "")

    @property
    def ending(self) -> List[str]:
        """How it ended and what it said, for people."""
        self.program.looked_at()
        how = f"{self.name} was killed by {self.signal}" if self.signal else f"{self.name}: exit status {self.exit_status}"
        said = [f"stderr: {line}" for line in self.stderr.strip().splitlines()[-6:]]
        return [how, *self.notes, *(said or (["stderr: (nothing)"] if self.status else []))]

    def require_success(self) -> "Run":
        require(self.exit_status == 0, "the program ends with exit status 0", self.ending,
                "the reason in its message is that of no failure: it has taken a right result for a failure"
                if self.says_success else [])
        return self

    def require_failure(self, *words: str, because: str = "") -> "Run":
        """Exit status 1, and a message on stderr that holds one of the words; `because` tells what was wrong."""
        story = [because] if because else []
        require(self.exit_status == 1, "the program notices the failure and ends with exit status 1", story, self.ending)
        require("TODO" not in self.stderr, "the program is finished", self.ending)
        require(self.says(words),
                "the message on stderr names the call or the object: " + " or ".join(words), story, self.ending)
        return self

    def require_each_failure_told(self) -> "Run":
        """Of the calls that a check has made fail, and of which there may be two, each is named, or its reason is given."""
        failed = [call for call in self.program.calls if call.injected and call.failed]
        story = [f"{call.name}() failed with {errno.errorcode[call.error]} (this check made it fail)" for call in failed]
        require(self.exit_status == 1 or not failed, "the program notices the failure and ends with exit status 1", story,
                self.ending)
        untold = [call.name for call in failed if not self.says((call.name, os.strerror(call.error)))]
        require(not untold, "each failure is told, also that of a call that cleans up: " + ", ".join(untold), story, self.ending)
        reasons = [os.strerror(call.error) for call in failed]
        require(all(self.stderr.count(reason) <= reasons.count(reason) for reason in reasons),
                "each failure is told with its own reason", story, self.ending)
        return self

    def require_usage(self) -> "Run":
        require(self.exit_status == 2 and "usage:" in self.stderr.lower(),
                'a line "usage: …" on stderr and exit status 2', f"{self.command}", self.ending)
        return self


class Program:
    """A program of a check that has been started."""

    def __init__(self, bench: "Bench", started: Started, name: str, command: str, by_hand: str,
                 built: Built, rules: List[str], before: Contents) -> None:
        self.bench, self.started, self.name, self.command = bench, started, name, command
        self.by_hand = by_hand
        self.built, self.rules, self._before = built, rules, before
        self.finished: Optional[Run] = None
        self.calls: List[Call] = []
        self._seen = len(bench.box.events)

    @property
    def pid(self) -> int:
        return self.started.pid

    def looked_at(self) -> None:
        """What is told of a failure is told of the program of the student's that a check has looked at last."""
        if self in self.bench.history:
            self.bench.subject = self

    # ---- holding

    def held(self, count: int = 1, timeout: float = HOLD_SECONDS) -> List[int]:
        """Waits until so many processes are held. Gives their pids, in the order in which they stopped."""
        self.looked_at()
        box = self.bench.box

        def stopped() -> List[int]:
            return [int(event[1]) for event in box.events[self._seen:] if event[0] == "held"]

        timeout = Patience.limit(timeout, self, *self.bench.history)
        came = self.bench.pump(lambda: len(stopped()) >= count or self.started.status is not None, timeout)
        Patience.note(came, self)
        found = stopped()
        if len(found) < count:
            names = [rule.split(" ")[1] for rule in self.rules if rule.startswith("hold")]
            places = {"start": "its beginning", "end": "its end", "store": "a store in shared memory"}
            who, ended = self.name, "it ended first"
            if all(rule.endswith(" c") for rule in self.rules if rule.startswith("hold")):
                who, ended = f"a child of {self.name}", "the program ended first: without such a child, or without waiting for it"
                places["fork"] = "its beginning"
            point = " or ".join(places.get(name, f"a call of {name}()") for name in names)
            if self.started.status is not None:
                ending = self.wait().ending
                raise CheckFailed(f"{who} comes to {point}" + (f" in {count} processes" if count > 1 else ""),
                                  [f"it ended first, with {len(found)} of {count} there" if count > 1 else
                                   ended, *ending])
            raise CheckFailed(f"{count} processes of {self.name} come to {point}" if count > 1 else
                              f"{who} comes to {point}",
                              [f"{self.bench.in_time(timeout)} " + (f"only {len(found)} did" if count > 1 else "it did not"),
                               *self.standing()])
        del box.events[: self._seen]
        self._seen = 0
        box.events[:] = [event for event in box.events if event[0] != "held"]
        return found

    def resume(self, *pids: int) -> None:
        """Lets held processes go on: these, or the program itself."""
        for pid in pids or (self.pid,):
            self.bench.box.kill(pid, signal.SIGCONT)

    def kill(self, pid: Optional[int] = None, number: int = signal.SIGKILL) -> None:
        self.bench.box.kill(pid or self.pid, number)

    # ---- looking

    def recorded(self) -> List[Call]:
        """What the spy has recorded of the program and its children: all but the check's other programs."""
        others = set(self.bench.box.programs) - {self.pid}
        return [call for call in self.bench.read_calls() if call.pid not in others]

    def maps(self, pid: Optional[int] = None) -> List[Mapping]:
        """The mappings of the program or of another process of it, the spy's ring left out."""
        self.looked_at()
        raw = self.bench.box.read(f"/proc/{pid or self.pid}/maps")
        return [m for m in kernel.parse_maps(raw) if not m.name.startswith(self.bench.box.run)]

    def shared_maps(self, pid: Optional[int] = None) -> List[Mapping]:
        """Only what is mapped shared."""
        return [mapping for mapping in self.maps(pid) if mapping.shared]

    def common_mappings(self, *pids: int) -> List[Mapping]:
        """The shared anonymous mappings that all these processes have; there must be one, to read and to write."""
        maps = [{mapping.inode: mapping for mapping in self.maps(pid) if mapping.anonymous} for pid in pids]
        common = [maps[0][inode] for inode in sorted(set(maps[0]).intersection(*maps[1:]))]
        require(common, "a line `rw-s … /dev/zero (deleted)` with one inode in /proc/PID/maps of all these processes",
                [f"process {pid}: " + (" ".join(m.line for m in found.values()) or "no shared anonymous mapping")
                 for pid, found in zip(pids, maps)])
        require(common[0].flags == "rw-s", "the shared mapping can be read and written", common[0])
        return common

    def open_files(self, pid: Optional[int] = None) -> List[str]:
        """What the descriptors of a held process refer to."""
        return list(self.descriptors(pid).values())

    def descriptors(self, pid: Optional[int] = None) -> Dict[int, str]:
        """The descriptors of a held process, and what each refers to."""
        folder = self.bench.box.open(f"/proc/{pid or self.pid}/fd")
        try:
            return {int(entry): os.readlink(entry, dir_fd=folder) for entry in os.listdir(folder)}
        finally:
            os.close(folder)

    def memory(self, mapping: Mapping, pid: Optional[int] = None) -> bytes:
        """The bytes of a mapping, read from outside."""
        fd = self.bench.box.open(f"/proc/{pid or self.pid}/mem")
        try:
            return os.pread(fd, mapping.size, mapping.start)
        finally:
            os.close(fd)

    def set_memory(self, mapping: Mapping, content: bytes, pid: Optional[int] = None) -> None:
        """Overwrites the beginning of a mapping from outside."""
        fd = self.bench.box.open(f"/proc/{pid or self.pid}/mem", "w")
        try:
            os.pwrite(fd, content, mapping.start)
        finally:
            os.close(fd)

    def blocked(self, pid: Optional[int] = None) -> Optional[kernel.Blocked]:
        """The system call that the program waits in; None while it runs."""
        self.looked_at()
        try:
            return kernel.parse_blocked(self.bench.box.read(f"/proc/{pid or self.pid}/syscall"))
        except OSError:
            return None

    def stands(self, pid: Optional[int] = None) -> kernel.Standing:
        """Whether a process of the program has ended, is held, waits or runs; and how often it has slept."""
        gone = kernel.Standing("X", 0)
        if pid in (None, self.pid) and self.started.status is not None:
            return gone
        try:
            return kernel.parse_status(self.bench.box.read(f"/proc/{pid or self.pid}/status")) or gone
        except OSError:
            return gone

    def cpu_seconds(self, pid: Optional[int] = None) -> float:
        """Processor time that a process has used so far, or the program in all when it has ended."""
        try:
            return int(self.bench.box.read(f"/proc/{pid or self.pid}/schedstat").split()[0]) / 1e9
        except OSError:
            return self.started.cpu

    @property
    def spins(self) -> bool:
        """Whether it runs, and has used so much of the processor since its start that it is not about to wait."""
        return self.stands().place == "runs" and self.cpu_seconds() > SPIN_SECONDS

    def wait_blocked(self, ready: Callable[[kernel.Blocked], bool] = lambda call: True,
                     timeout: float = HOLD_SECONDS, expected: str = "waits, without using the processor") -> kernel.Blocked:
        """Waits until the program waits in a system call that is `ready`, and gives that call."""
        found: List[kernel.Blocked] = []

        def look() -> bool:
            call = self.blocked()
            if call and ready(call):
                found.append(call)
            spins = call is None and self.cpu_seconds() > before + 1
            return bool(found) or self.started.status is not None or spins

        before = self.cpu_seconds()
        # There is no event for this state; each look is a question to the kernel, not a sleep.
        if self.bench.poll(look, timeout):
            Patience.note(bool(found) or self.started.status is not None, self)
        if not found:
            ending = self.wait().ending if self.started.status is not None else self.standing()
            raise CheckFailed(f"{self.name} {expected}", ending)
        return found[0]

    def require_waits_on(self, slept: int, why: str) -> None:
        """Waits until it has gone to sleep twice more than `slept` times: it has looked around in between, and not ended."""
        self.bench.poll(lambda: self.started.status is not None or self.stands().sleeps >= slept + 2 or self.spins, 2)
        if self.started.status is not None:
            raise CheckFailed(f"{self.name} waits on {why}", self.wait().ending)

    def wait_for_others(self, expected: str) -> None:
        """Waits until the program waits in a futex, which must be one that another process can wake."""
        call = self.wait_blocked(lambda call: call.in_futex, expected="waits until another process wakes it, and does not "
                                 "look again and again")
        require(not call.private_futex, expected,
                f"/proc/{self.pid}/syscall: futex(…, {call.arguments[1]:#x}, …) has FUTEX_PRIVATE_FLAG (0x80): "
                "only threads of the same process can wake it")

    def standing(self) -> List[str]:
        """Where the program's processes stand, for people."""
        lines = []
        for process in self.bench.box.processes():
            if process.pid in self.bench.box.programs and process.pid != self.pid:
                continue
            call = self.blocked(process.pid)
            doing = {"R": "runs", "T": "is stopped", "Z": "has ended and is not waited for"}.get(process.state, "waits")
            if call and call.private_futex:
                doing = ("waits in futex() for what only its own process can do: was a semaphore, a mutex or a "
                         "condition variable not set up for several processes?")
            elif call and call.in_futex and self._has_alone(process.pid, call.arguments[0]):
                doing = ("waits in futex() for what lies in memory that it shares with nobody: is the semaphore, mutex or "
                         "condition variable not in the shared memory?")
            elif call and call.in_futex:
                doing = "waits in futex(): for a semaphore, a mutex or a condition variable"
            elif call and call.waits_for_child:
                doing = "waits for a child to end"
            elif call and call.reads_input:
                doing = "waits for input from stdin"
            lines.append(f"process {process.pid} ({process.command}) {doing}")
        return lines

    def _has_alone(self, pid: int, address: int) -> bool:
        """Whether an address of a process is in a private mapping."""
        try:
            found = kernel.parse_maps(self.bench.box.read(f"/proc/{pid}/maps"))
        except OSError:
            return False
        return any(not mapping.shared and mapping.start <= address < mapping.end for mapping in found)

    # ---- input and end

    def send(self, content: bytes) -> None:
        """Writes to the program's standard input."""
        timeout = Patience.limit(FEED_SECONDS, self, *self.bench.history)
        if not self.bench.box.feed(self.started, content, timeout):
            raise CheckFailed(f"{self.name} reads its input",
                              [f"{self.bench.in_time(timeout)} it did not take all of {len(content)} bytes", *self.standing()])

    def close_input(self) -> None:
        self.bench.box.close_stdin(self.started)

    @property
    def unfinished(self) -> bool:
        """Whether it has come to a TODO of the skeleton, and said so."""
        if self.started.status is not None:
            self.bench.box.wait(self.started, 0)  # what it wrote last
        return b"TODO " in self.started.output[2]

    @property
    def output(self) -> bytes:
        """What has come on stdout so far."""
        return bytes(self.started.output[1])

    def printed(self) -> bytes:
        """What a program that is held has written to stdout by now, also what nobody has taken out of the pipe yet."""
        looks = iter([False, True])
        self.bench.box.pump(lambda: next(looks), 1, tick=0)
        return self.output

    def wait_output(self, length: int, timeout: float = HOLD_SECONDS) -> bytes:
        """Waits until so many bytes have come on stdout."""
        self.looked_at()
        arrived = self.bench.pump(lambda: len(self.output) >= length or self.started.status is not None,
                                  Patience.limit(timeout, self, *self.bench.history))
        Patience.note(arrived, self)
        if len(self.output) < length:
            where = self.wait().ending if arrived else self.standing()
            raise CheckFailed(f"{self.name} writes {length} bytes to stdout", [show(self.output), *where])
        return self.output

    def wait(self, timeout: float = WALL_SECONDS) -> Run:
        """Waits for the end. A program that does not end is killed, and the check fails."""
        self.looked_at()
        if self.finished:
            return self.finished
        box, started = self.bench.box, self.started
        timeout = Patience.limit(timeout, self, *self.bench.history)
        ended = self.bench.pump(lambda: started.status is not None, timeout) and box.wait(started, 0)
        Patience.note(ended, self)
        if not ended:
            late, standing = self.bench.in_time(timeout), self.standing()
            self.kill()
            if not box.wait(started, 5):
                # Its end is told to a tracer first, which has to end itself.
                box.stop()
                started.status = signal.SIGKILL
            self.finished = self._finish()
            raise CheckFailed(f"{self.name} ends", [f"{late} it had not ended", *standing])
        self.finished = self._finish()
        text = self.finished.stderr
        if self.bench.san:
            report = [line for line in text.splitlines() if "ERROR: " in line or "runtime error:" in line]
            require(not report, "the sanitizers have nothing to report", report[:3])
        return self.finished

    def _finish(self) -> Run:
        started = self.started
        notes = []
        if started.timed_out:
            notes.append("it used up its time")
        if started.over_memory:
            notes.append("it used up the memory that a program may have here")
        if started.flooded:
            notes.append("it wrote more than 4 MiB")
        self.calls = self.recorded()
        assert started.status is not None
        return Run(self.name, self.command, started.status, bytes(started.output[1]),
                   started.output[2].decode("utf-8", "replace"), started.cpu, started.wall,
                   self.bench.left_since(self._before), self, notes)


class Bench:
    """What the `lab` fixture gives to a check. For each check a new box, or one as good as new; nothing carries over."""

    _spare: Dict[Tuple[str, int], Box] = {}  # by tier and memory: emptied after a check that has passed

    def __init__(self, lab: Lab, submission: Path, tier: str, cc: str, san: bool) -> None:
        self.lab, self.submission, self.tier, self.cc, self.san = lab, submission, tier, cc, san
        self.history: List[Program] = []  # the student's, as they were started
        self.subject: Optional[Program] = None  # the one that a failure is about
        self.files: Set[str] = set()
        self.made_by_check: List[str] = []
        self._memory_mb = 2048 if san else 768
        self._as_it_should = True
        self.at_students_desk = False  # then the way to see it by hand is told as for the labs' own folder
        self._box: Optional[Box] = None
        self._ring: Optional[Ring] = None

    # ---- the box

    @property
    def box(self) -> Box:
        if self._box is None:
            self._box = self._spare.pop((self.tier, self._memory_mb), None) or Box(self.tier, memory_mb=self._memory_mb)
            self._box.claimed = self._claimed_names
            self._box.grant = lambda seconds: Patience.grant(self.lab, seconds)
            self._box.claimed_pids = lambda: {call.pid for call in self.read_calls()}
        if self._ring is None:
            self._ring = Ring(self._box.run_fd)
        return self._box

    @property
    def own_kernel(self) -> bool:
        """Whether limits of the kernel can be set for the box alone: shmmni, and the size of /dev/shm."""
        return self.tier == "namespaces"

    def stop(self) -> None:
        """Ends every program: the check has seen enough, and whoever tells of it shall not have to compete with them."""
        self._as_it_should = False
        try:
            if self._box:
                self._box.stop()
                for program in self.history:
                    self._box.wait(program.started, 0)  # what it wrote last
        except (BoxRefused, OSError):
            pass

    def close(self) -> None:
        """Keeps the box for the next check if it can be made as good as new, and if all went as it should in it."""
        if self._box and self._as_it_should and self._box.empty():
            self._spare[self.tier, self._memory_mb] = self._box
        elif self._box:
            self._box.close()  # in the host tier it asks the ring what is ours to remove
        if self._ring:
            self._ring.close()
        self._box = self._ring = None

    @classmethod
    def close_spare(cls) -> None:
        """For whoever has run checks and will run no more."""
        while cls._spare:
            cls._spare.popitem()[1].close()

    def fresh(self) -> None:
        """The next run starts in an empty world, as if nothing had been."""
        if self._box and self._ring and self._box.empty():
            self._ring.close()
            self._ring = None
        else:
            self.close()
        self.files.clear()
        self.made_by_check.clear()

    def poll(self, look: Callable[[], bool], timeout: float) -> bool:
        """Asks again and again until the answer is yes; for states that no event tells."""
        running = [program for program in self.history if program.started.status is None]
        found = self.pump(look, Patience.limit(timeout, *running), tick=0.0005)
        if not found and timeout >= SHORT_SECONDS and not self.unfinished:
            Patience.note(False, *running)
        return found

    def pump(self, until: Callable[[], bool], timeout: float, tick: float = 60.0) -> bool:
        """Waits for what events and output tell. Gives False when the time is over first.

        Nobody waits for what a program would have done that has stopped at a TODO.
        """
        came = False

        def enough() -> bool:
            nonlocal came
            came = came or until()
            return came or self.unfinished

        self.box.expect(enough, timeout, tick)
        return came

    @property
    def unfinished(self) -> bool:
        """Whether one of the student's programs has come to a TODO."""
        return any(program.unfinished for program in self.history)

    def in_time(self, seconds: float) -> str:
        """For people: how long a wait has been that was in vain."""
        return "when all slept and nobody was left to wake them," if self.box.stuck else f"within {seconds:.0f} s"

    def settle(self, *programs: Program) -> str:
        """Waits until at one moment each of the programs has ended, is held or waits. Says where the last one stands.

        "waits": it has not gone to sleep anew since the look before; or it was asleep in eight looks on end, as one
        is that asks again and again for what it waits for. "runs": it has used the processor for SPIN_SECONDS.
        """
        last: List[kernel.Standing] = [kernel.Standing("X", 0)] * len(programs)
        asleep, looks = [0] * len(programs), 0

        def still(i: int, program: Program) -> bool:
            before, now = last[i], program.stands()
            last[i], asleep[i] = now, asleep[i] + 1 if now.place == "waits" else 0
            if now.place == "runs":
                return looks % 50 == 0 and program.cpu_seconds() > SPIN_SECONDS
            if now.place == "ended":
                return program.started.status is not None  # pid 1 tells it in a moment
            return now.place == "held" or now == before or asleep[i] >= 8

        def all_still() -> bool:
            nonlocal looks
            looks += 1
            return all([still(i, program) for i, program in enumerate(programs)])

        self.poll(all_still, HOLD_SECONDS)
        return last[-1].place

    def run_with_peer(self, program: Program, name: str, start_peer: Callable[[], Program]) -> Run:
        """Starts a peer as soon as a program sleeps and its object is there, unless it ends before; waits for its end.

        If it has failed and unlinked the name just when the peer came, the peer has made a new object, as the inode tells:
        that is not what the program has left behind.
        """
        made: Optional[kernel.Object] = None

        def meets() -> bool:
            nonlocal made
            if program.stands().place == "waits":
                made = self.object(name)
            return made is not None or program.started.status is not None or program.spins

        self.poll(meets, HOLD_SECONDS)
        if program.started.status is None:
            peer = start_peer()
            peer.close_input()
            self.settle(program, peer)  # the name is gone when both have ended
        run = program.wait()
        run.left_behind.objects = [item for item in run.left_behind.objects if made is None or item.inode == made.inode]
        return run

    def require_idle(self, waiting: Sequence[Tuple[str, Program]], window: float = 0.05) -> None:
        """Watches programs for a while: none may use the processor while, as the text beside it says, it waits.

        Where one has used it they are watched again: for the time in which a virtual machine was stopped the kernel takes
        a program that was just running to have run.
        """
        for _ in range(5):
            before, began = [program.cpu_seconds() for _, program in waiting], time.monotonic()
            self.box.pump(lambda: False, window)
            seconds = time.monotonic() - began
            used = [program.cpu_seconds() - then for (_, program), then in zip(waiting, before)]
            if max(used) < 0.02 * seconds:
                return
        for (why, program), spent in zip(waiting, used):
            program.looked_at()
            require(spent < 0.02 * seconds, f"next to no processor time while {why}",
                    f"in {seconds * 1000:.0f} ms {program.name} used {spent * 1000:.1f} ms of the processor")

    def read_calls(self) -> List[Call]:
        """All that the spy has recorded in this box, oldest first."""
        return self._ring.read()[0] if self._ring else []

    def _claimed_names(self) -> Set[str]:
        """Names in /dev/shm that this run's programs have used."""
        names: Set[str] = set()
        for call in self.read_calls():
            text = "/" + call.text.lstrip("/")
            if call.name in ("shm_open", "link", "linkat", "rename", "open"):
                names.add(text.replace("/dev/shm/", "/", 1))
            if call.name == "sem_open":
                names.add("/sem." + text[1:])
        return names | set(self._made)

    _made: Tuple[str, ...] = ()

    # ---- names

    def file(self, name: str = "meeting_place", content: bytes = b"") -> str:
        """Makes a file in the programs' folder. Gives the name to pass on the command line."""
        self.box.put(name, content)
        if not self.own_kernel:
            self._avoid_taken_key(name, content)
        self.files.add(name)
        return name

    def _avoid_taken_key(self, name: str, content: bytes) -> None:
        """On the machine's own IPC somebody may have the key of our file: take another file (the key is its inode's)."""
        taken = {segment.key & 0xFFFFFF for segment in kernel.parse_segments(self.box.read("/proc/sysvipc/shm"))}
        taken -= {segment.key & 0xFFFFFF for segment in self.segments()}
        for number in range(100):
            if self.ftok(name, 0) not in taken:
                return
            os.rename(name, f".taken-{number}-{secrets.token_hex(4)}", src_dir_fd=self.box.work_fd, dst_dir_fd=self.box.work_fd)
            self.box.put(name, content)

    def ftok(self, name: str, project: int) -> int:
        """The key of a file in the programs' folder, unsigned."""
        return kernel.ftok(os.stat(name, dir_fd=self.box.work_fd), project)

    def name(self) -> str:
        """A name for an object that nobody uses yet."""
        name = f"/shmlab-{secrets.token_hex(4)}"
        self._made += (name,)
        return name

    # ---- running

    def _built(self, program: str, reference: bool) -> Built:
        if reference and not SOLUTIONS.is_dir():
            return building.ready_made(self.lab, program, self.cc)
        source = SOLUTIONS if reference else self.submission
        return building.build(self.lab, program, source, self.tier, self.cc, self.san)

    def _start(self, built: Built, words: List[str], name: str, stdin: Union[bytes, int, None], umask: int, rules: List[str],
               spied: bool, stdout: Optional[str] = None) -> Program:
        box = self.box
        if spied and not _exists(built.program, box.work_fd):
            box.put(built.program, built.path.read_bytes(), 0o755)
        environment = {"ASAN_OPTIONS": "detect_leaks=0:hard_rss_limit_mb=1500:exitcode=99",
                       "UBSAN_OPTIONS": "print_stacktrace=0:exitcode=99"}
        if spied:
            environment.update(SHMLAB_RING=f"{box.run}/ring", SHMLAB_HOLDS=f"{box.run}/holds",
                               SHMLAB_RULES=";".join(rules).ljust(RULES_LENGTH, ";"))
        before = box.contents()
        started = box.start([f"./{built.program}", *words], environment, stdout=stdout,
                            stdin=-1 if isinstance(stdin, bytes) else stdin,
                            image=None if spied else built.path, umask=f"{umask:o}", address_mb=0 if self.san else 2048)
        by_hand = ""
        if spied:
            short = [word if len(word) <= 60 else word[:60] + "…" for word in words]
            command = " ".join(shlex.quote(word) for word in [f"./{built.program}", *short])
            command += f" > {stdout}" if stdout else ""
            by_hand = f"(umask {umask:03o}; {command})" if umask != 0o022 else command
        program = Program(self, started, name, " ".join([name, *words]), by_hand, built, rules, before)
        if spied:
            self.history.append(program)
            self.subject = program
        if stdin and isinstance(stdin, bytes):
            program.send(stdin)
        return program

    def start(self, program: str, *words: object, stdin: Union[bytes, int, None] = None, umask: int = 0o022,
              hold: Optional[Union[Hold, Sequence[Hold]]] = None, fail: Optional[Union[Fail, Sequence[Fail]]] = None,
              stdout: Optional[str] = None) -> Program:
        """Starts one of the student's programs.

        @param stdin  bytes for a pipe that stays open until Program.close_input(); None: an empty input; a descriptor
        @param hold   where to stop: "shmat", ("shmat", 2), ("fork", 1, "c") for the children, "start", "end"; ("store", 0),
                      right before the first store in each shared mapping, which it has read-only until then; or a list
        @param fail   what to fail: ("mmap", 1, errno.ENOMEM), with "c" or "a" as fourth for children or all; or a list;
                      ("end", 1, 3) ends with exit status 3, and with ("write", 0, -400) no write() takes more bytes
        @param stdout a file to write to, such as /dev/full, instead of what Run.stdout gives
        """
        rules = [_hold_rule(item) for item in _as_list(hold)] + [_fail_rule(item) for item in _as_list(fail)]
        built = self._built(program, reference=False)
        return self._start(built, [str(word) for word in words], program, stdin, umask, rules, True, stdout)

    def run(self, program: str, *words: object, stdin: Union[bytes, int, None] = None, timeout: float = WALL_SECONDS,
            **options: object) -> Run:
        """Starts one of the student's programs and waits for its end. Options as for start()."""
        started = self.start(program, *words, stdin=stdin, **options)  # type: ignore[arg-type]
        started.close_input()
        return started.wait(timeout)

    def reference(self, program: str, *words: object, stdin: Optional[bytes] = None) -> Program:
        """Starts the finished program as an unrelated peer."""
        built = self._built(program, reference=True)
        self.made_by_check.append(f"started ./{program} {' '.join(str(word)[:60] for word in words)} beside it")
        return self._start(built, [str(word) for word in words], f"the reference {program}", stdin, 0o022, [], False)

    def tool(self, *words: object, stdin: bytes = b"") -> bytes:
        """Runs native/peer.c as an unrelated process; gives what it prints."""
        peer = self.tool_start(*words, stdin=stdin)
        self.box.close_stdin(peer)
        self.box.wait(peer, 10)
        if peer.status != 0:
            raise CheckFailed("an unrelated process of the same user can use the segment",
                              [peer.output[2].decode("utf-8", "replace").strip()])
        return bytes(peer.output[1])

    def tool_start(self, *words: object, stdin: bytes = b"") -> Started:
        peer = self.box.start(["peer", *(str(word) for word in words)], image=native.peer_program(), stdin=-1)
        self.box.claimed_pids = (lambda before, pid: lambda: before() | {pid})(self.box.claimed_pids, peer.pid)
        if stdin:
            self.box.feed(peer, stdin, FEED_SECONDS)
        return peer

    # ---- the kernel's side

    def segments(self) -> List[Segment]:
        return self.box.segments()

    def segment(self, key: int) -> Optional[Segment]:
        return next((s for s in self.segments() if s.key == key), None)

    def make_segment(self, key: int, content: bytes, size: int = 0, mode: int = 0o600) -> Segment:
        """A segment made by an unrelated process, which is gone again."""
        self.made_by_check.append(f"made a segment with key 0x{key:08x}, {size or len(content)} bytes, mode {mode:04o}")
        shmid = int(self.tool("make", key, size or len(content), mode, stdin=content))
        made = [segment for segment in self.segments() if segment.shmid == shmid]
        require(made, f"the segment {shmid}, which this check has made, is there", self.segments())
        return made[0]

    def segment_bytes(self, segment: Segment) -> bytes:
        """What an unrelated process reads in a segment, `segment.size` bytes."""
        return self.tool("read", segment.shmid)

    def objects(self) -> List[Object]:
        return self.box.objects()

    def object(self, name: str) -> Optional[Object]:
        """The object of that name; None where there is none. Something else of that name fails the check."""
        return next((_require_object(o) for o in self.objects() if o.name == name), None)

    def make_object(self, name: str, content: bytes, mode: int = 0o600) -> Object:
        """An object that no program of this check has made."""
        fd = os.open(name[1:], os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self.box.shm_fd)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            if os.getuid() == 0:
                os.fchown(file.fileno(), self.box.uid, self.box.uid)
            os.fchmod(file.fileno(), mode)
        self.made_by_check.append(f"made an object {name}, {len(content)} bytes, mode {mode:04o}")
        self._made += (name,)
        made = self.object(name)
        require(made, f"the object {name}, which this check has made, is there", self.objects())
        assert made is not None
        return made

    def link_object(self, name: str, second: str) -> None:
        """Gives an object a second name."""
        os.link(name[1:], second[1:], src_dir_fd=self.box.shm_fd, dst_dir_fd=self.box.shm_fd)
        self.made_by_check.append(f"given the object {name} a second name, {second}")
        self._made += (second,)

    def unlink_object(self, name: str) -> None:
        """Takes a name away, if it is still there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name[1:], dir_fd=self.box.shm_fd)

    def object_bytes(self, name: str, limit: int = 64 << 20) -> bytes:
        """The bytes of an object, read from outside."""
        content = self.bytes_if_there(name, limit)
        if content is None:
            raise CheckFailed(f"there is an object {name}", self.objects())
        return content

    def bytes_if_there(self, name: str, limit: int = 64 << 20) -> Optional[bytes]:
        """The same where a program may unlink the object at any moment; None where there is none."""
        try:
            fd = os.open(name[1:], os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.box.shm_fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckFailed(f"an unrelated process of the same user can open {name}", [str(error.strerror)]) from None
        with os.fdopen(fd, "rb") as file:
            require(stat.S_ISREG(os.fstat(fd).st_mode), f"{name} is an object of shared memory", self.objects())
            return file.read(limit)

    def set_object(self, name: str, content: bytes, at: int = 0, size: Optional[int] = None) -> None:
        """Overwrites bytes of an object from outside, after it has been given a size if one is named."""
        fd = os.open(name[1:], os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.box.shm_fd)
        try:
            if size is not None:
                os.ftruncate(fd, size)
            os.pwrite(fd, content, at)
        finally:
            os.close(fd)

    def fill_shared_memory(self, leave: int = 0) -> None:
        """Uses up /dev/shm, but for so many bytes. Only where own_kernel is true."""
        free = os.fstatvfs(self.box.shm_fd)
        fd = os.open("filler", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self.box.shm_fd)
        os.posix_fallocate(fd, 0, free.f_bavail * free.f_bsize - leave)
        os.close(fd)

    def left_since(self, before: Contents) -> LeftBehind:
        """What is there now and was not there before; programs of the check that still run do not count."""
        now = self.box.contents()
        shmids, inodes = {s.shmid for s in before.segments}, {(o.name, o.inode) for o in before.objects}
        living = {pid for pid, program in self.box.programs.items() if program.status is None}
        parents = {process.pid: process.parent for process in now.processes}

        def belongs_to_living(pid: int) -> bool:
            while pid in parents:
                if pid in living:
                    return True
                pid = parents[pid]
            return False

        return LeftBehind([s for s in now.segments if s.shmid not in shmids],
                          [o for o in now.objects if (o.name, o.inode) not in inodes],
                          [p for p in now.processes if p.state != "Z" and not belongs_to_living(p.pid)],
                          [i for i in now.semaphores if i not in before.semaphores],
                          [i for i in now.queues if i not in before.queues])

    # ---- every call fails once

    def each_call_fails(self, scenario: Callable[..., Run], *names: str, skip: Sequence[str] = (),
                        only: Sequence[str] = ()) -> None:
        """Makes each call of the program fail, one after the other, each time in a new box.

        @param scenario  runs the program; must pass its keyword arguments on to run() or start()
        @param names     words besides the call's name that a message may contain, such as the object's name
        @param skip      calls that may fail without harm
        @param only      if given, the calls to look at
        """
        first = scenario().require_success()
        program = self.history[-1]
        made: List[Tuple[str, int]] = []
        for call in program.calls:
            if call.pid == program.pid and call.name in FAILURES and call.name not in skip and (
                    not only or call.name in only):
                nth = 1 + sum(name == call.name for name, _ in made)
                # A program that calls in a loop calls for ever: its first calls tell what it does about a failure.
                if nth <= MOST_FAILURES:
                    made.append((call.name, nth))
        require(made or only, "the program makes calls that can fail", "the spy has recorded none")
        for name, nth in made:
            self.fresh()
            self.history.clear()
            number = FAILURES[name]
            run = scenario(fail=(name, nth, number))
            program = self.history[-1]
            calls = program.calls
            began = [call.result for call in calls if call.name == "start" and call.pid == program.pid]
            require(began[:1] in ([], [len(program.rules)]),
                    "the program leaves alone what tells the spy which call to make fail", run.ending)
            if not self._ring or not self._ring.injected:
                # It did not come to that call, so that nothing has failed, and it has to end as it did before.
                require(run.exit_status == 0 and len(run.left_behind.lines) == len(first.left_behind.lines),
                        "the program does the same as before when no call fails", run.ending, run.left_behind.lines)
                continue
            times = "" if nth == 1 else f" the {nth}{'nd' if nth == 2 else 'rd' if nth == 3 else 'th'} time"
            story = f"{name}() failed{times} with {errno.errorcode[number]} (this check made it fail)"
            require(run.exit_status == 1, "the program notices the failure and ends with exit status 1", story, run.ending)
            require(run.says((name, name.split("attr_")[-1], *names)),
                    f"a message on stderr that names the call ({name}) or what it was about", story, run.ending)
            require(not run.other_reason(number), "the reason in the message, if it gives one, is the true one: "
                    f"{os.strerror(number)}", story, run.ending)
            # What takes things back may itself have been the call that failed.
            if name not in REMOVERS:
                require(not run.left_behind.lines, "the program takes back what it had made before it gives up", story,
                        run.left_behind.lines)

    # ---- for the feedback

    def places(self, program: Program, calls: List[Call]) -> List[Call]:
        """The calls with "file.c:31" where the debug information tells."""
        if not calls:
            return calls
        wheres = sorted({call.where for call in calls})
        base = 0
        with open(program.built.path, "rb") as file:
            if file.read(18)[16:18] == b"\x02\x00":  # ET_EXEC: not position-independent, usually at this address
                base = 0x400000
        try:
            with Box(self.tier) as box:
                box.put(program.built.program, program.built.path.read_bytes())
                words = ["addr2line", "-s", "-e", program.built.program, *(hex(where + base - 1) for where in wheres)]
                run = box.start(words, wall_ms=3000)
                box.wait(run, 4)
                lines = run.output[1].decode("utf-8", "replace").splitlines()
        except Exception:  # the record is worth showing without places, too
            return calls
        known = {w: line.split(" ")[0] for w, line in zip(wheres, lines) if not line.startswith("?")}
        return with_places(calls, known)


# A plausible reason for each call that a check may make fail.
FAILURES: Dict[str, int] = {
    "ftok": errno.ENOENT, "shmget": errno.ENOSPC, "shmat": errno.ENOMEM, "shmdt": errno.EINVAL,
    "shmctl": errno.EPERM, "shm_open": errno.EMFILE, "shm_unlink": errno.EACCES, "memfd_create": errno.EMFILE,
    "ftruncate": errno.EFBIG, "posix_fallocate": errno.ENOSPC, "mmap": errno.ENOMEM, "munmap": errno.EINVAL,
    "mprotect": errno.ENOMEM, "msync": errno.EIO, "sem_open": errno.EMFILE, "sem_close": errno.EINVAL,
    "sem_unlink": errno.EACCES, "sem_init": errno.ENOSYS, "sem_destroy": errno.EINVAL, "sem_wait": errno.EINVAL,
    "sem_timedwait": errno.EINVAL, "sem_post": errno.EOVERFLOW, "pthread_mutexattr_init": errno.ENOMEM,
    "pthread_mutexattr_setpshared": errno.EINVAL, "pthread_mutexattr_setrobust": errno.EINVAL,
    "pthread_mutex_init": errno.EAGAIN, "pthread_mutex_lock": errno.EINVAL, "pthread_mutex_unlock": errno.EPERM,
    "pthread_mutex_consistent": errno.EINVAL, "pthread_mutex_destroy": errno.EBUSY,
    "pthread_condattr_init": errno.ENOMEM, "pthread_condattr_setpshared": errno.EINVAL,
    "pthread_condattr_setclock": errno.EINVAL, "pthread_cond_init": errno.EAGAIN, "pthread_cond_wait": errno.EPERM,
    "pthread_cond_timedwait": errno.EPERM, "pthread_cond_signal": errno.EINVAL,
    "pthread_cond_broadcast": errno.EINVAL, "pthread_cond_destroy": errno.EBUSY, "pthread_create": errno.EAGAIN,
    "open": errno.EMFILE, "close": errno.EIO, "fstat": errno.EIO, "fcntl": errno.ENOLCK, "flock": errno.ENOLCK,
    "link": errno.EMLINK, "linkat": errno.EMLINK, "rename": errno.EACCES, "unlink": errno.EACCES,
    "socket": errno.EMFILE, "bind": errno.EACCES, "listen": errno.EOPNOTSUPP, "accept": errno.EMFILE,
    "connect": errno.ECONNREFUSED, "sendmsg": errno.ECONNRESET, "recvmsg": errno.ECONNRESET,
    "fork": errno.EAGAIN, "wait": errno.EINVAL, "waitpid": errno.EINVAL, "waitid": errno.EINVAL,
    "execve": errno.EACCES, "execv": errno.EACCES, "execvp": errno.EACCES, "execl": errno.EACCES,
    "execlp": errno.EACCES,
}

MOST_FAILURES = 6  # of one call

# What the GNU C library and musl say for errno 0. Else musl has other words, of what students mix up, for ECHILD alone.
SUCCESS = os.strerror(0), "No error information"
MUSL_REASONS = {*SUCCESS, "No child process"}

REMOVERS = ("shmctl", "shm_unlink", "sem_unlink", "unlink", "wait", "waitpid", "waitid")


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        return True
    except FileNotFoundError:
        return False


def _as_list(item: object) -> List:
    if item is None:
        return []
    return list(item) if isinstance(item, list) else [item]


def _hold_rule(item: Hold) -> str:
    name, nth, who = (item, 1, "p") if isinstance(item, str) else (*item, "p")[:3]
    return f"hold {name} {nth} {who}"


def _fail_rule(item: Fail) -> str:
    name, nth, number, who = (*item, "p")[:4]
    return f"fail {name} {nth} {number} {who}"

"""A program that a check has started: stop it, inspect it, write to its input, resume it, kill it."""
from __future__ import annotations

import errno
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Callable, Dict, List, Optional, TypeVar

from ..sandbox import kernel
from ..sandbox.box import Contents
from ..sandbox.build import Built
from ..sandbox.calls import Call
from ..sandbox.channel import BoxedProcess, BoxRefused
from ..sandbox.kernel import Mapping, show
from .hangs import Hang
from .limits import FEED_SECONDS, LAB_SECONDS, SILENT_SECONDS, STOP_SECONDS, WALL_SECONDS, WaitLimits, slowness
from .pauses import Pauses
from .require import CheckFailed, require
from .run import Run

if TYPE_CHECKING:
    from .fixture import LabFixture


T = TypeVar("T")
LOOKS = 50  # at a process, before it is a failure


class LookFailed(Exception):
    """The kernel did not show what it should: a fault of the harness or of the machine, not of the program."""


class Program:
    """A program that a check has started, running or ended.

    `name` is what messages call it; `by_hand` is the command that starts it by hand; `rules` are those of the spy;
    `finished` is set once it has ended and was waited for.
    """

    def __init__(self, fixture: "LabFixture", started: BoxedProcess, name: str, command: str, by_hand: str,
                 built: Built, rules: List[str], before: Contents, began: float) -> None:
        self.fixture, self.started, self.name, self.command = fixture, started, name, command
        self.by_hand = by_hand
        self.built, self.rules, self.before = built, rules, before
        self.began = began  # when it was started, by time.monotonic()
        self.since = fixture.since  # see Environment.forget()
        self.finished: Optional[Run] = None
        self.calls: List[Call] = []
        self.pauses = Pauses(self)
        self.sent = b""  # to its standard input
        self.prepared = len(fixture.shell)  # how much the check had done when it started
        self.beside = set(os.listdir(fixture.box.work_fd))  # the names in its directory when it started
        self.resumed = 0  # how often the check has resumed it or a child
        self.repeatable = True  # False after the check did something to it that has no shell command
        self._begun = False  # whether its recorder has the rules, so that its own code may run
        self._cpu_at_call: Optional[float] = None  # its processor time when its first recorded call was seen
        self._first_event = len(fixture.box.events)  # of those in the box, the first that may be about this program

    @property
    def pid(self) -> int:
        return self.started.pid

    @property
    def words(self) -> List[str]:
        """Its arguments."""
        return self.started.argv[1:]

    def overlaps(self, other: "Program") -> bool:
        """Whether the two ran at the same time."""
        first, second = sorted((self, other), key=lambda program: program.began)
        return first.started.status is None or first.began + first.started.wall > second.began

    def make_subject(self) -> None:
        """Makes this the program that a failure is about, if it is the student's. Each method that inspects it does this."""
        if self in self.fixture.history:
            self.fixture.subject = self

    # ---- stopping

    def wait_stopped(self, count: int = 1, timeout: float = STOP_SECONDS) -> List[int]:
        """Waits until `count` processes are stopped. Returns their pids, in the order in which they stopped.

        Fails the check if they are not within `timeout` seconds.
        """
        self.make_subject()
        box = self.fixture.box

        def stopped() -> List[int]:
            return [int(event[1]) for event in box.events[self._first_event:] if event[0] == "stopped"]

        timeout = WaitLimits.limit(timeout, self, *self.fixture.history)
        in_time = self.fixture.pump(lambda: len(stopped()) >= count or self.started.status is not None, timeout,
                                    programs=[self, *self.fixture.history])
        WaitLimits.note(in_time, self)
        self._require_no_other_asked()
        found = stopped()
        if len(found) < count:
            names = [rule.split(" ")[1] for rule in self.rules if rule.startswith("stop")]
            places = {"start": "its beginning", "end": "its end", "store": "a store in shared memory"}
            who, ended = self.name, "it ended first"
            if all(rule.endswith(" c") for rule in self.rules if rule.startswith("stop")):
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
                              [f"{self.fixture.in_time(timeout)} " + (f"only {len(found)} did" if count > 1 else "it did not"),
                               *self.describe_state()])
        del box.events[: self._first_event]
        self._first_event = 0
        box.events[:] = [event for event in box.events if event[0] != "stopped"]
        return found

    def resume(self, *pids: int) -> None:
        """Resumes stopped processes: these, or without arguments the program itself."""
        pids = pids or (self.pid,)
        for pid in pids:
            self.fixture.box.kill(pid, signal.SIGCONT)
        self.resumed += len(pids)

    def leave_stop(self, timeout: float = STOP_SECONDS) -> None:
        """Resumes the program, and waits until the kernel says that it has left this stop. It may be in the next one then."""
        before = self.state()
        self.resume()
        self.fixture.poll(lambda: self.state() != before, timeout)  # to stop again is to sleep once more

    def kill(self, pid: Optional[int] = None, number: int = signal.SIGKILL) -> None:
        self.repeatable = False
        self.fixture.box.kill(pid or self.pid, number)

    # ---- inspecting

    def recorded(self) -> List[Call]:
        """Returns the calls that the spy has recorded, except those of the check's other programs."""
        others = set(self.fixture.box.programs) - {self.pid}
        return [call for call in self.fixture.read_calls() if call.pid not in others]

    def maps(self, pid: Optional[int] = None) -> List[Mapping]:
        """Returns the mappings of the program or of one of its children, without the spy's ring."""
        self.make_subject()

        def read() -> bytes:
            content = self.fixture.box.read(f"/proc/{pid or self.pid}/maps")
            if not content:  # it has ended, and has not been waited for yet; or it is just about to execute another program
                raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
            return content

        raw = self.look(read, pid)
        return [m for m in kernel.parse_maps(raw) if not m.name.startswith(self.fixture.box.run)]

    def shared_maps(self, pid: Optional[int] = None) -> List[Mapping]:
        """Returns the shared mappings only."""
        return [mapping for mapping in self.maps(pid) if mapping.shared]

    def common_mappings(self, *pids: int) -> List[Mapping]:
        """Returns the shared anonymous mappings that all these processes have. There must be one, readable and writable."""
        maps = [{mapping.inode: mapping for mapping in self.maps(pid) if mapping.anonymous} for pid in pids]
        common = [maps[0][inode] for inode in sorted(set(maps[0]).intersection(*maps[1:]))]
        require(common, "a line `rw-s … /dev/zero (deleted)` with one inode in /proc/PID/maps of all these processes",
                [f"process {pid}: " + (" ".join(m.line for m in found.values()) or "no shared anonymous mapping")
                 for pid, found in zip(pids, maps)])
        require(common[0].flags == "rw-s", "the shared mapping can be read and written", common[0])
        return common

    def open_files(self, pid: Optional[int] = None) -> List[str]:
        """Returns what the descriptors of a stopped process refer to."""
        return list(self.descriptors(pid).values())

    def descriptors(self, pid: Optional[int] = None) -> Dict[int, str]:
        """The descriptors of a stopped process, and what each refers to."""

        def read() -> Dict[int, str]:
            directory = self.fixture.box.open(f"/proc/{pid or self.pid}/fd")
            try:
                with self.fixture.box.as_program():
                    return {int(entry): os.readlink(entry, dir_fd=directory) for entry in os.listdir(directory)}
            finally:
                os.close(directory)

        return self.look(read, pid)

    def memory(self, mapping: Mapping, pid: Optional[int] = None) -> bytes:
        """The bytes of a mapping, read from outside."""

        def read() -> bytes:
            fd = self.fixture.box.open(f"/proc/{pid or self.pid}/mem")
            try:
                content = bytearray()
                while len(content) < mapping.size:
                    part = os.pread(fd, mapping.size - len(content), mapping.start + len(content))
                    if not part:
                        raise OSError(errno.EIO, os.strerror(errno.EIO))
                    content += part
                return bytes(content)
            finally:
                os.close(fd)

        return self.look(read, pid, mapping)

    def peek(self, address: int, size: int) -> Optional[bytes]:
        """Some bytes of the program's memory; None where they cannot be read, or not any more."""
        try:
            fd = self.fixture.box.open(f"/proc/{self.pid}/mem")
        except OSError:
            return None
        try:
            raw = os.pread(fd, size, address)
        except (OSError, OverflowError):
            return None
        finally:
            os.close(fd)
        return raw if len(raw) == size else None

    def set_memory(self, mapping: Mapping, content: bytes, pid: Optional[int] = None) -> None:
        """Overwrites the beginning of a mapping through /proc/PID/mem."""
        self.repeatable = False

        def write() -> None:
            fd = self.fixture.box.open(f"/proc/{pid or self.pid}/mem", "w")
            try:
                written = 0
                while written < len(content):
                    count = os.pwrite(fd, content[written:], mapping.start + written)
                    if not count:
                        raise OSError(errno.EIO, os.strerror(errno.EIO))
                    written += count
            finally:
                os.close(fd)

        self.look(write, pid, mapping)

    def look(self, look: Callable[[], T], pid: Optional[int] = None, mapping: Optional[Mapping] = None) -> T:
        """What a look at a process gives, which is repeated where it fails.

        If it goes on failing, the process has ended or has unmapped what was looked at, which is told. Else it is our fault.
        """
        process, problem = pid or self.pid, OSError()
        for _ in range(LOOKS):
            try:
                return look()
            except OSError as error:
                problem = error
            if self.state(pid).phase == "ended":
                self.fixture.pump(lambda: pid is not None or self.started.status is not None, STOP_SECONDS)
                raise CheckFailed(f"process {process} of {self.name} is there while this check looks at it",
                                  [f"process {process} has ended", *(self.wait().ending if self.started.status is not None else [])])
            self.fixture.box.pump(lambda: False, 0.002)
        if mapping:
            now = self.maps(pid)
            if not any(other.start <= mapping.start and mapping.end <= other.end for other in now):
                raise CheckFailed(f"process {process} of {self.name} still has the mapping {mapping.line}", [other.line for other in now])
            if mapping.shared and not mapping.anonymous:
                raise CheckFailed(f"all bytes of the mapping {mapping.line} can be read and written",
                                  [f"/proc/{process}/mem: {problem.strerror}", "perhaps it is longer than the object"])
        raise LookFailed(f"/proc/{process}: {problem}")

    def blocked(self, pid: Optional[int] = None) -> Optional[kernel.Blocked]:
        """Returns the system call in which the program waits; None while it runs."""
        self.make_subject()
        try:
            return kernel.parse_blocked(self.fixture.box.read(f"/proc/{pid or self.pid}/syscall"))
        except OSError:
            return None

    def state(self, pid: Optional[int] = None) -> kernel.ProcessState:
        """Returns whether the program or one of its children has ended, is stopped, waits or runs, and how often it slept."""
        gone = kernel.ProcessState("X", 0)
        if pid in (None, self.pid) and self.started.status is not None:
            return gone
        try:
            found = kernel.parse_status(self.fixture.box.read(f"/proc/{pid or self.pid}/status")) or gone
        except (FileNotFoundError, ProcessLookupError):
            return gone
        # While its recorder asks the box for the rules, it is the recorder that waits.
        return replace(found, state="R") if found.phase == "waits" and pid in (None, self.pid) and not self._has_begun() else found

    def _has_begun(self) -> bool:
        self._begun = self._begun or self not in self.fixture.history or any(call.pid == self.pid for call in self.fixture.read_calls())
        return self._begun

    def cpu_seconds(self, pid: Optional[int] = None) -> float:
        """Returns the processor time that a process has used so far; if it has ended, that of the whole program."""
        try:
            return int(self.fixture.box.read(f"/proc/{pid or self.pid}/schedstat").split()[0]) / 1e9
        except OSError:
            return self.started.cpu

    def resident_bytes(self) -> int:
        """Returns how much memory the program has, shared memory included; 0 if it has ended."""
        try:
            return kernel.parse_resident(self.fixture.box.read(f"/proc/{self.pid}/statm"))
        except OSError:
            return 0

    def busy_seconds(self) -> float:
        """Returns the processor time that it has used since its first recorded call. Its start may take long: it is not counted.

        Before the first call, what is beyond SILENT_SECONDS counts.
        """
        used = self.cpu_seconds()
        if self._cpu_at_call is None and any(call.pid == self.pid and call.name != "start" for call in self.fixture.read_calls()):
            self._cpu_at_call = used
        return used - (SILENT_SECONDS * slowness() if self._cpu_at_call is None else self._cpu_at_call)

    @property
    def spins(self) -> bool:
        """Whether it runs, and has used so much of the processor since its first call that it is not about to wait."""
        return self.is_spinning()

    def is_spinning(self, pid: Optional[int] = None) -> bool:
        """The same for one of its children, whose processor time counts from its start."""
        used = self.busy_seconds() if pid in (None, self.pid) else self.cpu_seconds(pid)
        if used <= WaitLimits.spin_seconds(self) or self.state(pid).phase != "runs":
            return False
        WaitLimits.spinning.add(self.built.path)
        return True

    def wait_blocked(self, ready: Callable[[kernel.Blocked], bool] = lambda call: True,
                     timeout: float = STOP_SECONDS, expected: str = "waits, without using the processor") -> kernel.Blocked:
        """Waits until the program waits in a system call that is `ready`, and returns that call. Fails the check if it does not.

        One that pauses has not come to it yet; one that polls never will.
        """
        found: List[kernel.Blocked] = []

        def look() -> bool:
            call = self.blocked()
            if call and ready(call):
                found.append(call)
            spins = call is None and self.busy_seconds() > before + WaitLimits.spin_seconds(self) and self.spins
            polls = not found and call is not None and call.pauses and self.pauses.note(call)
            return bool(found) or self.started.status is not None or spins or polls

        before = max(self.busy_seconds(), 0.0)
        self.pauses.begin()
        # No event reports this state, so it is polled. The verdict is from the kernel's state and not from the time.
        if self.fixture.poll(look, timeout):
            WaitLimits.note(bool(found) or self.started.status is not None, self)
        if not found:
            ending = self.wait().ending if self.started.status is not None else self.describe_state()
            if self.pauses.polls:
                expected = "waits until another process wakes it, and does not poll"
            raise CheckFailed(f"{self.name} {expected}", ending)
        return found[0]

    def require_waits_on(self, slept: int, why: str) -> None:
        """Fails the check if the program ends although it should continue to wait.

        Waits until it has gone to sleep twice more than `slept` times: in between it woke up and tested its condition.

        @param slept  how often it had gone to sleep before, see state()
        @param why    what it should wait for or after, for the message
        """
        self.fixture.poll(lambda: self.started.status is not None or self.state().sleeps >= slept + 2 or self.spins, 2)
        if self.started.status is not None:
            raise CheckFailed(f"{self.name} waits on {why}", self.wait().ending)

    def wait_for_others(self, expected: str) -> None:
        """Waits until the program waits in futex(2). Fails the check if another process cannot wake it there."""
        call = self.wait_blocked(lambda call: call.in_futex, expected="waits until another process wakes it, and does not poll")
        require(not call.private_futex, expected, self.private_futex_lines(call))

    def private_futex_lines(self, call: kernel.Blocked) -> List[str]:
        """That only threads of its own process can wake the program from this wait, and why, for people."""
        return [f"/proc/{self.pid}/syscall: futex(…, {call.arguments[1]:#x}, …) has FUTEX_PRIVATE_FLAG (0x80): "
                "only threads of the same process can wake it", self._private_reason()]

    def _private_reason(self) -> str:
        """Why a futex is private.

        What is all zero bytes looks to the C library as if it were set up for one process alone: only the recorded calls
        tell what was not set up yet from what was set up so.
        """
        calls = [call for call in self.fixture.read_calls() if not call.failed]
        alone = [call for call in calls if call.name == "sem_init" and call.arguments[1] == 0]
        bare = [call for call in calls if call.name in ("pthread_mutex_init", "pthread_cond_init") and call.arguments[1] == 0]
        names = {call.name for call in calls}
        for kind, what in ("mutex", "mutex"), ("cond", "condition variable"):
            shared = [call for call in calls if call.name == f"pthread_{kind}attr_setpshared" and call.arguments[1] == 1]
            if f"pthread_{kind}_init" in names and not shared:
                return f"no {what} was set up with PTHREAD_PROCESS_SHARED: pthread_{kind}attr_setpshared() was not called for it"
        if alone or bare:
            return f"it works within one process only: {(alone or bare)[-1]}"
        if names & {"sem_init", "pthread_mutex_init", "pthread_cond_init"}:
            return "what it waits for was all zero bytes when the wait began: not set up yet, or overwritten"
        return "what it waits for was not set up for several processes, or not set up yet, or overwritten"

    def describe_state(self) -> List[str]:
        """Returns lines for a message: what each process of the program does now."""
        lines = []
        for process in self.fixture.box.processes():
            if process.pid in self.fixture.box.programs and process.pid != self.pid:
                continue
            # A process that polls may be awake just now, and asleep in the next look.
            looks = (self.blocked(process.pid) for _ in range(50 if process.state in "SD" else 0))
            call = next((call for call in looks if call), None)
            doing = {"R": "runs", "T": "is stopped", "t": "is stopped", "Z": "has ended and was not waited for"}.get(
                process.state, "waits")
            if call and call.private_futex:
                doing = f"waits in futex(), and only its own threads can wake it: {self._private_reason()}"
            elif call and call.in_futex and self._is_private(process.pid, call.arguments[0]):
                doing = ("waits in futex() in memory that it does not share with another process: is the semaphore, mutex or "
                         "condition variable not in the shared memory?")
            elif call and call.in_futex:
                doing = "waits in futex(): for a semaphore, a mutex or a condition variable"
            elif call and call.waits_for_child:
                doing = "waits for a child to end"
            elif call and call.suspended_by_vfork:
                doing = "is suspended in vfork() until its child has ended or executed another program"
            elif call and call.reads_input:
                doing = "waits for input from stdin"
            elif call and call.pauses:
                doing = f"sleeps in {call.name}()"
                if process.pid == self.pid:
                    self.pauses.note(call)
                    doing += self.pauses.text
            elif call and call.number >= 0:
                doing = f"waits in {call.name}()"
            lines.append(f"process {process.pid} ({process.command}) {doing}")
        return lines

    def _is_private(self, pid: int, address: int) -> bool:
        """Returns whether an address of a process is in a private mapping."""
        try:
            found = kernel.parse_maps(self.fixture.box.read(f"/proc/{pid}/maps"))
        except OSError:
            return False
        return any(not mapping.shared and mapping.start <= address < mapping.end for mapping in found)

    # ---- input and end

    def send(self, content: bytes) -> None:
        """Writes to the program's standard input. Fails the check if the program does not read all of it."""
        self.sent += content
        timeout = WaitLimits.limit(FEED_SECONDS, self, *self.fixture.history)
        if not self.fixture.box.feed(self.started, content, timeout, Hang(self.fixture, self, *self.fixture.history).seen):
            late = f"{self.fixture.in_time(timeout)} it did not read all of {len(content)} bytes"
            raise CheckFailed(f"{self.name} reads its input", [late, *self.describe_state()])

    def close_input(self) -> None:
        self.fixture.box.close_stdin(self.started)

    @property
    def stopped_at_todo(self) -> bool:
        """Whether it has reported on stderr that it stopped at a TODO of the skeleton."""
        if self.started.status is not None:
            self.fixture.box.wait(self.started, 0)  # reads the rest of its output
        return b"TODO " in self.started.output[2]

    @property
    def output(self) -> bytes:
        """What the harness has read from its stdout so far."""
        return bytes(self.started.output[1])

    def printed(self) -> bytes:
        """Returns all that a stopped program has written to stdout, including what is still in the pipe."""
        looks = iter([False, True])
        self.fixture.box.pump(lambda: next(looks), 1, tick=0)
        return self.output

    def wait_output(self, length: int, timeout: float = STOP_SECONDS) -> bytes:
        """Waits until the program has written `length` bytes to stdout, and returns its output so far."""
        self.make_subject()
        in_time = self.fixture.pump(lambda: len(self.output) >= length or self.started.status is not None,
                                    WaitLimits.limit(timeout, self, *self.fixture.history), programs=[self, *self.fixture.history])
        WaitLimits.note(in_time, self)
        if len(self.output) < length:
            state = self.wait().ending if in_time else self.describe_state()
            raise CheckFailed(f"{self.name} writes {length} bytes to stdout", [show(self.output), *state])
        return self.output

    def wait(self, timeout: float = WALL_SECONDS) -> Run:
        """Waits until the program has ended. If it does not within `timeout` seconds, kills it and fails the check."""
        self.make_subject()
        if self.finished:
            return self.finished
        box, started = self.fixture.box, self.started
        timeout = WaitLimits.limit(timeout, self, *self.fixture.history)
        ended = self.fixture.pump(lambda: started.status is not None, timeout, programs=[self, *self.fixture.history]) \
            and box.wait(started, 0)
        WaitLimits.note(ended, self)
        if not ended:
            late, states = self.fixture.in_time(timeout), self.describe_state()
            box.kill(self.pid, signal.SIGKILL)
            if not box.wait(started, 5):
                # If a process traces it, the kernel reports its end to the tracer first, so the tracer must end, too.
                box.stop()
                started.status = signal.SIGKILL
            self.finished = self._finish()
            spent = [f"(the programs of this lab have used up their {LAB_SECONDS * slowness():.0f} s, which they share)"] \
                if WaitLimits.is_spent(self.fixture.lab) else []
            raise CheckFailed(f"{self.name} ends", [f"{late} it had not ended", *states, *spent])
        self.finished = self._finish()
        text = self.finished.stderr
        if self.fixture.san:
            report = [line for line in text.splitlines() if "ERROR: " in line or "runtime error:" in line]
            require(not report, "the sanitizers have nothing to report", report[:3])
        return self.finished

    def _require_no_other_asked(self) -> None:
        require(not self.started.asked_again, "only the recorder asks the box which call must fail",
                f"something else in {self.name} asked as well")

    def _require_honest_record(self) -> None:
        """Fails the check if something of the program has asked for what only the recorder may know, or has changed the record."""
        self._require_no_other_asked()
        written = self.started.records
        if written is not None and not self.fixture.lost_calls():
            found = sum(call.pid == self.pid for call in self.calls)
            require(found >= written, "the program does not change the record of its calls",
                    f"the recorder wrote {written} calls of {self.name}, but {found} are left")

    def _finish(self) -> Run:
        started = self.started
        if started.machine_full:
            raise BoxRefused("this machine ran out of memory and killed all programs: end other programs, or run fewer labs at "
                             "a time: JOBS=1")
        notes = []
        if started.timed_out:
            notes.append("it exceeded its time limit")
        if started.over_memory:
            notes.append("it used more memory than a program may use here")
        if started.flooded:
            notes.append("it wrote more than 4 MiB")
        self.calls = self.recorded()
        assert started.status is not None
        if self in self.fixture.history:
            WaitLimits.spend(self.fixture.lab, started.wall)
        self._require_honest_record()
        return Run(self.name, self.command, started.status, bytes(started.output[1]),
                   started.output[2].decode("utf-8", "replace"), started.cpu, started.wall,
                   self.fixture.left_since(self.before), self, notes)

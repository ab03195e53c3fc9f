"""The `lab` fixture, with which a check runs the student's programs, stops them, and inspects them.

    run = lab.run("sysv_create", lab.file("meeting place"), "hello")
    program = lab.start("sysv_attach", file, stop_at="shmat")  # stopped right after its first shmat()
    run = lab.run("posix_create", name, 4096, "x", fail=("mmap", 1, errno.ENOMEM))
    peer = lab.reference("reader", name)                     # the finished program, as an unrelated process

A check reports what it finds wrong with require(): what was expected, and what the kernel showed.
"""
from __future__ import annotations

import os
import shlex
import time
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, TypeVar, Union

from ..explore.search import Search
from ..labs import SOLUTIONS, Lab
from ..sandbox import build as building
from ..sandbox import kernel, native
from ..sandbox.box import Contents
from ..sandbox.build import Built
from ..sandbox.channel import BoxRefused
from . import faults
from .environment import Environment
from .faults import Fail, StopAt
from .hangs import Hang
from .limits import SHORT_SECONDS, STOP_SECONDS, WALL_SECONDS, WaitLimits
from .program import Program
from .require import CheckFailed, require
from .run import LeftBehind, Run
from .schedules import End

T = TypeVar("T")

# The shell's way to set a limit, as far as it is lower than usual.
ULIMITS = {("files", None): "ulimit -n {}", ("file_mb", 0): "ulimit -f 0"}


class LabFixture(Environment):
    """The `lab` fixture of a check: runs the student's programs of one lab in the check's own environment."""

    def __init__(self, lab: Lab, submission: Path, tier: str, cc: str, san: bool) -> None:
        super().__init__(lab, tier, memory_mb=2048 if san else 768, show=native.shown_for(cc))
        self.submission, self.cc, self.san = submission, cc, san
        self.history: List[Program] = []  # the student's programs, in the order in which they were started
        self.subject: Optional[Program] = None  # the program that a failure is about
        self.in_student_layout = False  # whether commands to reproduce a failure may assume that the programs are in labs/
        self._pipes: List[int] = []
        self.check = ""  # the name of the check
        self.explorer: Callable[..., Search] = Search  # what every_schedule() makes; see explore/by_hand.py
        self.searches: List[Search] = []  # of every_schedule(), in their order
        self.end: Optional[End] = None  # that the check looks at now

    def stop(self) -> None:
        """Ends every program after a failure, so that they take no processor time from what collects the feedback."""
        self._reusable = False
        try:
            if self._box:
                self._box.stop()
        except (BoxRefused, OSError):
            pass

    def reset(self) -> None:
        """Empties the box, so that the next run starts as if it were the first."""
        if self._box and self._ring and self._box.reset():
            self._ring.close()
            self._ring = None
        else:
            self.close()
        self.forget()

    def untouched(self, program: Program) -> bool:
        """Returns whether the box had nothing, when a program started, but what the programs before it left and shell made."""
        ours = set(self._made)
        left = [run.left_behind for run in (other.finished for other in self.history if other is not program) if run]
        shmids = {segment.shmid for item in left for segment in item.segments}
        names = {item.name for contents in left for item in contents.objects}
        before = program.before
        return self.box._resettable and {segment.shmid for segment in before.segments} <= shmids and \
            {item.name for item in before.objects} <= ours | names and not before.processes and \
            program.beside <= self.files | {other.built.program for other in self.history} and \
            program.prepared == len(self.shell)

    # ---- waiting

    def poll(self, look: Callable[[], bool], timeout: float) -> bool:
        """Tests a condition twice a millisecond until it holds; for states that no event reports.

        Returns False if it does not hold within `timeout` seconds.
        """
        running = [program for program in self.history if program.started.status is None]
        found = self.pump(look, WaitLimits.limit(timeout, *running), tick=0.0005)
        if not found and timeout >= SHORT_SECONDS and not self.stopped_at_todo:
            WaitLimits.note(False, *running)
        return found

    def pump(self, until: Callable[[], bool], timeout: float, tick: float = 60.0,
             programs: Sequence[Program] = ()) -> bool:
        """Waits until a condition holds, see Box.expect(). Returns False if it does not within `timeout` seconds.

        With programs, for whose next step it waits, it ends as soon as they are seen to hang. Also returns False as soon
        as a program has stopped at a TODO, because it does nothing more.
        """
        holds = False

        def holds_or_unfinished() -> bool:
            nonlocal holds
            holds = holds or until()
            return holds or self.stopped_at_todo

        hang = Hang(self, *programs).seen if programs else lambda processes: ""
        self.box.expect(holds_or_unfinished, timeout, tick, hang=hang)
        return holds

    @property
    def stopped_at_todo(self) -> bool:
        """Whether one of the student's programs has stopped at a TODO."""
        return any(program.stopped_at_todo for program in self.history)

    def progress(self) -> Tuple[object, ...]:
        """What the programs have left so far, in the objects that this check has named and on stdout."""
        content: List[object] = [len(program.output) for program in self.history]
        for name in self._created_names:
            try:
                content.append(self.bytes_if_there(name, 1 << 16))
            except CheckFailed:
                content.append(None)
        return tuple(content)

    def in_time(self, seconds: float) -> str:
        """Returns a phrase for a message: how long the last wait, of at most that many seconds, was."""
        if self.box.hang:
            return self.box.hang
        return "when all slept and none could wake another," if self.box.stuck else f"within {seconds:g} s"

    def settle(self, *programs: Program) -> str:
        """Waits until each of the programs has ended, is stopped or waits, all at once. Returns the last one's phase.

        A program counts as waiting if it has not gone to sleep again between two looks, or if it was asleep in eight looks
        in a row, or if it polls. One that pauses for a moment, in nanosleep() for example, does not wait: it goes on by
        itself. A program that spins counts as settled, too; its phase is "runs".
        """
        last: List[kernel.ProcessState] = [kernel.ProcessState("X", 0)] * len(programs)
        asleep, looks = [0] * len(programs), 0
        for program in programs:
            program.pauses.begin()

        def is_settled(i: int, program: Program) -> bool:
            before, now = last[i], program.state()
            last[i], asleep[i] = now, asleep[i] + 1 if now.phase == "waits" else 0
            if now.phase == "runs":
                return looks % 50 == 0 and program.spins
            if now.phase == "ended":
                return program.started.status is not None  # pid 1 tells it in a moment
            if now.phase == "stopped":
                return True
            if now != before and asleep[i] < 8:
                return False
            call = program.blocked()
            if call and call.pauses:
                return program.pauses.note(call)
            return call is not None and program.state() == now  # it was in this very call all the time

        def all_settled() -> bool:
            nonlocal looks
            looks += 1
            return all([is_settled(i, program) for i, program in enumerate(programs)])

        self.poll(all_settled, STOP_SECONDS)
        return last[-1].phase

    def run_with_peer(self, program: Program, name: str, start_peer: Callable[[], Program]) -> Run:
        """Waits for a program's end, and starts a peer for it once it sleeps and the object `name` exists.

        If the program fails and unlinks the name just before the peer opens it, the peer creates a new object. It has
        another inode number, and does not count as left behind by the program.
        """
        created: Optional[kernel.Object] = None

        def needs_peer() -> bool:
            nonlocal created
            if program.state().phase == "waits":
                created = self.object(name)
            return created is not None or program.started.status is not None or program.spins

        self.poll(needs_peer, STOP_SECONDS)
        if program.started.status is None:
            peer = start_peer()
            peer.close_input()
            self.settle(program, peer)  # the name is gone when both have ended
        run = program.wait()
        run.left_behind.objects = [item for item in run.left_behind.objects if created is None or item.inode == created.inode]
        return run

    def require_idle(self, waiting: Sequence[Tuple[str, Program]], window: float = 0.05) -> None:
        """Fails the check if a program uses the processor while it should wait.

        They are watched up to five times before that: if a virtual machine is paused, the kernel counts the pause as
        processor time of the program that was running.

        @param waiting  each program, and what it waits for, as the end of the phrase "while ..."
        @param window   seconds to watch them
        """
        for _ in range(5):
            before, began = [program.cpu_seconds() for _, program in waiting], time.monotonic()
            self.box.pump(lambda: False, window)
            seconds = time.monotonic() - began
            used = [program.cpu_seconds() - then for (_, program), then in zip(waiting, before)]
            if max(used) < 0.02 * seconds:
                return
        for (why, program), spent in zip(waiting, used):
            program.make_subject()
            require(spent < 0.02 * seconds, f"next to no processor time while {why}",
                    f"in {seconds * 1000:.0f} ms {program.name} used {spent * 1000:.1f} ms of the processor")

    # ---- running

    def full_pipe(self) -> int:
        """The end of a pipe in which there is no room, and that nobody reads: whoever writes to it waits."""
        ends = os.pipe()
        self._pipes += ends
        os.set_blocking(ends[1], False)
        try:
            while True:
                os.write(ends[1], bytes(4096))
        except BlockingIOError:
            os.set_blocking(ends[1], True)
        return ends[1]

    def close(self) -> None:
        super().close()
        while self._pipes:
            os.close(self._pipes.pop())

    def _built(self, program: str, reference: bool) -> Built:
        if reference and not SOLUTIONS.is_dir():
            return building.ready_made(self.lab, program, self.cc)
        source = SOLUTIONS if reference else self.submission
        return building.build(self.lab, program, source, self.tier, self.cc, self.san)

    def _start(self, built: Built, words: List[str], name: str, stdin: Union[bytes, int, None], umask: int, rules: List[str],
               spied: bool, stdout: Union[str, int, None] = None, interpose: Sequence[str] = (),
               environment: Optional[Dict[str, str]] = None, limits: Optional[Dict[str, int]] = None) -> Program:
        box = self.box
        if spied and not _exists(built.program, box.work_fd):
            box.put(built.program, built.path.read_bytes(), 0o755)
        more = dict(environment or {})
        environment = {"ASAN_OPTIONS": "detect_leaks=0:hard_rss_limit_mb=1500:exitcode=99",
                       "UBSAN_OPTIONS": "print_stacktrace=0:exitcode=99", **more}
        libraries = [native.interposer(name, self.cc) for name in interpose
                     if name != "kept_blocks" or not self.san]  # the sanitizers have a free() of their own
        if libraries:
            for library in libraries:
                if not _exists(library.name, box.work_fd):  # a program that runs has it mapped
                    box.put(library.name, library.read_bytes(), 0o755)
            environment["LD_PRELOAD"] = ":".join(f"{box.work}/{library.name}" for library in libraries)
            environment["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
            by_hand_too = [str(library) for library in libraries if library.stem != "held_sleep"]  # nobody would resume it
            more.update({"LD_PRELOAD": ":".join(by_hand_too)} if by_hand_too else {})
        if spied:
            environment.update(SHMLAB_RING=f"{box.run}/ring", SHMLAB_STOPS=f"{box.run}/stops")
        before, began = box.contents(), time.monotonic()
        started = box.start([f"./{built.program}", *words], environment, stdout=stdout,
                            stdin=-1 if isinstance(stdin, bytes) else stdin,
                            image=None if spied else built.path, rules=";".join(rules) if spied else None, umask=f"{umask:o}",
                            **{"address_mb": 2048, **(limits or {}), **({"address_mb": 0} if self.san else {})})
        by_hand = ""
        if spied:
            short = [word if len(word) <= 60 else word[:60] + "…" for word in words]
            command = " ".join(shlex.quote(word) for word in [f"./{built.program}", *short])
            command += f" > {stdout}" if isinstance(stdout, str) else " | sleep 60" if stdout is not None else ""
            command = " ".join([*(f"{key}={shlex.quote(value)}" for key, value in more.items()), command])
            settings = [f"umask {umask:03o}"] if umask != 0o022 else []
            settings += [text.format(limits[name]) for (name, only), text in ULIMITS.items()
                         if limits and name in limits and only in (None, limits[name])]
            by_hand = f"({'; '.join([*settings, command])})" if settings else command
        self.repeatable = self.repeatable and not isinstance(stdin, int) and (stdout is None or isinstance(stdout, str))
        program = Program(self, started, name, " ".join([name, *words]), by_hand, built, rules, before, began)
        if spied:
            self.history.append(program)
            self.subject = program
        if stdin and isinstance(stdin, bytes):
            program.send(stdin)
        return program

    def start(self, program: str, *words: object, stdin: Union[bytes, int, None] = None, umask: int = 0o022,
              stop_at: Optional[Union[StopAt, Sequence[StopAt]]] = None, fail: Optional[Union[Fail, Sequence[Fail]]] = None,
              stdout: Union[str, int, None] = None, interpose: Sequence[str] = (),
              environment: Optional[Dict[str, str]] = None, limits: Optional[Dict[str, int]] = None) -> Program:
        """Starts one of the student's programs.

        @param stdin    bytes for a pipe that stays open until Program.close_input(); None: an empty input; a descriptor
        @param stop_at  where to stop, or a list of that. "shmat": after its first shmat(); ("shmat", 2): after the second;
                        ("fork", 1, "c"): the children, after the fork; "start", "end": at its beginning, at its end;
                        ("store", 0): right before the first store in each shared mapping, which is read-only until then
        @param fail     which call to make fail, or a list of that. ("mmap", 1, errno.ENOMEM): its first mmap(); a fourth
                        element "c" or "a" means in the children, or in all processes; ("end", 1, 3): it ends with exit
                        status 3; ("write", 0, -400): no write() takes more than 400 bytes
        @param stdout   a file to write to, such as /dev/full, or a descriptor; Run.stdout is then empty
        @param interpose libraries of native/interpose/ to preload: they stand between the program and the C library
        @param environment further variables, for these libraries
        @param limits   resource limits other than the usual ones, by their names in struct limits of native/box/box.h
        """
        rules = faults.rules_of(stop_at, fail)
        built = self._built(program, reference=False)
        return self._start(built, [str(word) for word in words], program, stdin, umask, rules, True, stdout, interpose,
                           environment, limits)

    def run(self, program: str, *words: object, stdin: Union[bytes, int, None] = None, timeout: float = WALL_SECONDS,
            **options: object) -> Run:
        """Starts one of the student's programs and waits for its end. Options as for start()."""
        started = self.start(program, *words, stdin=stdin, **options)  # type: ignore[arg-type]
        started.close_input()
        return started.wait(timeout)

    def reference(self, program: str, *words: object, stdin: Optional[bytes] = None, interpose: Sequence[str] = ()) -> Program:
        """Starts the finished program as an unrelated peer. Options as for start()."""
        built = self._built(program, reference=True)
        self.repeatable = False
        self.preparations.append(f"started ./{program} {' '.join(str(word)[:60] for word in words)} beside it")
        return self._start(built, [str(word) for word in words], f"the reference {program}", stdin, 0o022, [], False,
                           interpose=interpose)

    def every_schedule(self, *commands: Sequence[object], preemptions: int = 2, deaths: int = 0,
                       stdin: Sequence[bytes] = (), weak: bool = False) -> Iterator[End]:
        """Runs the student's programs under every order of their steps; gives each end that differs from those before.

        Each schedule starts from the objects that are there now. What a check requires of an end that does not hold is told
        with the schedule. Where the explorer cannot run, there is no end.

        @param commands    a program and its arguments for each process
        @param preemptions how often the turn is taken from a process that could go on
        @param deaths      how many processes are killed, at any point
        @param stdin       what each process reads
        @param weak        memory is as weak as C11 allows
        """
        name = f"{self.check}.{len(self.searches) + 1}"
        search = self.explorer(self, name, commands, preemptions, deaths, weak=weak)
        search.inputs = dict(enumerate(stdin))
        self.searches.append(search)
        for raw in search.ends():
            self.end = End(raw, search)
            yield self.end
        self.end = None

    def scenarios(self, usual: Sequence[T], more: Sequence[T]) -> List[T]:
        """What a check runs under every order of its steps; for `make explore`, and to replay what it finds, more processes, too.

        They come last in their check, so that the names of the others are the same.
        """
        return [*usual, *(() if self.explorer is Search else more)]

    def once_more(self, ends: Iterable[End]) -> Iterator[End]:
        """Gives ends of schedules again: what a check requires of one that does not hold is told with its schedule."""
        for end in ends:
            if end.search not in self.searches:
                self.searches.append(end.search)
            end.scenario = f"{self.check}.{self.searches.index(end.search) + 1}"  # alone, this check runs the schedules itself
            self.end = end
            yield end
        self.end = None

    @property
    def explored(self) -> bool:
        """Whether the last every_schedule() has run all that it was to run."""
        return bool(self.searches) and self.searches[-1].complete

    @property
    def schedules_run(self) -> Dict[str, int]:
        """How many schedules the check has run, by the bound of the search."""
        run: Dict[str, int] = {}
        for search in self.searches:
            for bound, count in search.explored(self.end.raw if self.end and search is self.searches[-1] else None).items():
                run[bound] = run.get(bound, 0) + count
        return run

    def left_since(self, before: Contents) -> LeftBehind:
        """Returns what the box contains now and did not contain before, except processes of programs that still run."""
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

    def each_call_fails(self, scenario: Callable[..., Run], *names: str, skip: Sequence[str] = (),
                        only: Sequence[str] = ()) -> None:
        """Makes each call of the program fail, one after the other, each time in a new box.

        @param scenario  runs the program; must pass its keyword arguments on to run() or start()
        @param names     words besides the call's name that a message may contain, such as the object's name
        @param skip      calls that may fail without harm
        @param only      if not empty, the calls to make fail, instead of all
        """
        faults.each_call_fails(self, scenario, names, skip, only)


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
        return True
    except FileNotFoundError:
        return False

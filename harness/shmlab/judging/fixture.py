"""What a check works with: the `lab` fixture, which runs the student's programs, stops them, and looks.

    run = lab.run("sysv_create", lab.file("meeting place"), "hello")
    program = lab.start("sysv_attach", file, stop_at="shmat")  # stopped right after its first shmat()
    run = lab.run("posix_create", name, 4096, "x", fail=("mmap", 1, errno.ENOMEM))
    peer = lab.reference("reader", name)                     # the finished program, as an unrelated process

What a check finds wrong it reports with require(): what was expected, and what the kernel showed.
"""
from __future__ import annotations

import os
import shlex
import time
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Sequence, Tuple, Union

from ..explore.search import End, Search
from ..labs import SOLUTIONS, Lab
from ..sandbox import build as building
from ..sandbox import kernel
from ..sandbox.box import BoxRefused, Contents
from ..sandbox.build import Built
from . import faults
from .environment import Environment
from .faults import Fail, StopAt
from .limits import SHORT_SECONDS, SPIN_SECONDS, STOP_SECONDS, WALL_SECONDS, WaitLimits
from .program import Program
from .require import require
from .run import LeftBehind, Run

RULES_LENGTH = 600  # always, as the spy wipes them out but the gap remains: its length shall tell nothing


class LabFixture(Environment):
    """The `lab` fixture of a check: the student's programs of one lab, in an environment of their own."""

    def __init__(self, lab: Lab, submission: Path, tier: str, cc: str, san: bool) -> None:
        super().__init__(lab, tier, memory_mb=2048 if san else 768)
        self.submission, self.cc, self.san = submission, cc, san
        self.history: List[Program] = []  # the student's, as they were started
        self.subject: Optional[Program] = None  # the one that a failure is about
        self.check = ""  # the name of the check
        self.explorer = Search  # what every_schedule() makes; see explore/by_hand.py
        self.searches: List[Search] = []  # of every_schedule(), in their order
        self.end: Optional[End] = None  # that the check looks at now
        self.in_student_layout = False  # then the way to see it by hand is told as for the labs' own directory

    def stop(self) -> None:
        """Ends every program: the check has seen enough, and whoever tells of it shall not have to compete with them."""
        self._reusable = False
        try:
            if self._box:
                self._box.stop()
                for program in self.history:
                    self._box.wait(program.started, 0)  # what it wrote last
        except (BoxRefused, OSError):
            pass

    def reset(self) -> None:
        """The next run starts in an empty world, as if nothing had been."""
        if self._box and self._ring and self._box.reset():
            self._ring.close()
            self._ring = None
        else:
            self.close()
        self.files.clear()
        self.preparations.clear()

    # ---- waiting

    def poll(self, look: Callable[[], bool], timeout: float) -> bool:
        """Asks again and again until the answer is yes; for states that no event tells."""
        running = [program for program in self.history if program.started.status is None]
        found = self.pump(look, WaitLimits.limit(timeout, *running), tick=0.0005)
        if not found and timeout >= SHORT_SECONDS and not self.unfinished:
            WaitLimits.note(False, *running)
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
        """Waits until at one moment each of the programs has ended, is stopped or waits. Says where the last one stands.

        "waits": it has not gone to sleep anew since the look before; or it was asleep in eight looks on end, as one
        is that asks again and again for what it waits for. "runs": it has used the processor for SPIN_SECONDS.
        """
        last: List[kernel.ProcessState] = [kernel.ProcessState("X", 0)] * len(programs)
        asleep, looks = [0] * len(programs), 0

        def still(i: int, program: Program) -> bool:
            before, now = last[i], program.state()
            last[i], asleep[i] = now, asleep[i] + 1 if now.phase == "waits" else 0
            if now.phase == "runs":
                return looks % 50 == 0 and program.cpu_seconds() > SPIN_SECONDS
            if now.phase == "ended":
                return program.started.status is not None  # pid 1 tells it in a moment
            return now.phase == "stopped" or now == before or asleep[i] >= 8

        def all_still() -> bool:
            nonlocal looks
            looks += 1
            return all([still(i, program) for i, program in enumerate(programs)])

        self.poll(all_still, STOP_SECONDS)
        return last[-1].phase

    def run_with_peer(self, program: Program, name: str, start_peer: Callable[[], Program]) -> Run:
        """Starts a peer as soon as a program sleeps and its object is there, unless it ends before; waits for its end.

        If it has failed and unlinked the name just when the peer came, the peer has made a new object, as the inode tells:
        that is not what the program has left behind.
        """
        made: Optional[kernel.Object] = None

        def meets() -> bool:
            nonlocal made
            if program.state().phase == "waits":
                made = self.object(name)
            return made is not None or program.started.status is not None or program.spins

        self.poll(meets, STOP_SECONDS)
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
            program.make_subject()
            require(spent < 0.02 * seconds, f"next to no processor time while {why}",
                    f"in {seconds * 1000:.0f} ms {program.name} used {spent * 1000:.1f} ms of the processor")

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
              stop_at: Optional[Union[StopAt, Sequence[StopAt]]] = None, fail: Optional[Union[Fail, Sequence[Fail]]] = None,
              stdout: Optional[str] = None) -> Program:
        """Starts one of the student's programs.

        @param stdin  bytes for a pipe that stays open until Program.close_input(); None: an empty input; a descriptor
        @param stop_at where to stop: "shmat", ("shmat", 2), ("fork", 1, "c") for the children, "start", "end"; ("store", 0),
                      right before the first store in each shared mapping, which it has read-only until then; or a list
        @param fail   what to fail: ("mmap", 1, errno.ENOMEM), with "c" or "a" as fourth for children or all; or a list;
                      ("end", 1, 3) ends with exit status 3, and with ("write", 0, -400) no write() takes more bytes
        @param stdout a file to write to, such as /dev/full, instead of what Run.stdout gives
        """
        rules = faults.rules_of(stop_at, fail)
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
        self.preparations.append(f"started ./{program} {' '.join(str(word)[:60] for word in words)} beside it")
        return self._start(built, [str(word) for word in words], f"the reference {program}", stdin, 0o022, [], False)

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
        for end in search.ends():
            self.end = end
            yield end
        self.end = None

    @property
    def explored(self) -> bool:
        """Whether the last every_schedule() has run all that it was to run."""
        return bool(self.searches) and self.searches[-1].complete

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

    def each_call_fails(self, scenario: Callable[..., Run], *names: str, skip: Sequence[str] = (),
                        only: Sequence[str] = ()) -> None:
        """Makes each call of the program fail, one after the other, each time in a new box.

        @param scenario  runs the program; must pass its keyword arguments on to run() or start()
        @param names     words besides the call's name that a message may contain, such as the object's name
        @param skip      calls that may fail without harm
        @param only      if given, the calls to look at
        """
        faults.each_call_fails(self, scenario, names, skip, only)


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
        return True
    except FileNotFoundError:
        return False

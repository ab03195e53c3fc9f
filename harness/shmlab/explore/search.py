"""Runs the explorer in the box, and hands its ends to a check: `for end in lab.every_schedule(…): require(…)`."""
from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from ..judging.require import require
from ..sandbox import build as building
from ..sandbox.build import BuildProblem, Built
from . import build, ends
from .ends import TIMEOUT, Figures, ObjectEnd, ProcessEnd, Progress, RawEnd, SegmentEnd
from .listing import MOST_LINES, Listing, waits

if TYPE_CHECKING:
    from ..judging.fixture import LabFixture

PREFIX = ".explored-"  # of the programs in the work directory; native/explore/search.c has the same
MOST_SCHEDULES = 4000  # of one scenario in a check: a number and not a time, so that the verdict is the same on a busy machine
MOST_SECONDS = 20.0


class ScheduleProblem(Exception):
    """The explorer has gone wrong, and not the program."""


@dataclass
class EndRun:
    """One process of a schedule at its end."""

    process: ProcessEnd
    command: str
    end: "End" = field(repr=False)

    @property
    def exit_status(self) -> Optional[int]:
        return self.process.exit_status

    @property
    def signal(self) -> Optional[str]:
        return self.process.signal

    @property
    def killed(self) -> bool:
        """By the schedule."""
        return self.process.killed

    @property
    def stdout(self) -> bytes:
        return self.process.stdout

    @property
    def stderr(self) -> str:
        return self.process.stderr

    @property
    def ending(self) -> List[str]:
        """How it ended and what it said, for people."""
        letter = self.process.letter
        how = f"{letter} was killed by {self.signal}" if self.signal else f"{letter}: exit status {self.exit_status}"
        return [how, *(f"stderr: {line}" for line in self.stderr.strip().splitlines()[-3:])]

    def require_success(self) -> "EndRun":
        require(self.exit_status == 0, f"{self.command} ends with exit status 0, whatever the order of the steps", self.ending)
        return self


class End:
    """How one schedule, and all others that come to the same, ended."""

    def __init__(self, raw: RawEnd, search: "Search") -> None:
        self.raw, self._search = raw, search
        self.runs = [EndRun(process, " ".join(words), self) for process, words in zip(raw.processes, search.commands)]

    @property
    def objects(self) -> Dict[str, ObjectEnd]:
        """What is in /dev/shm, by name."""
        return self.raw.objects

    @property
    def segments(self) -> List[SegmentEnd]:
        """The System V segments that are there."""
        return self.raw.segments

    def object_bytes(self, name: str) -> Optional[bytes]:
        """The bytes of an object, read from outside; None where there is none."""
        item = self.raw.objects.get(name)
        return item.content if item else None

    @property
    def standstill(self) -> List[str]:
        """Who waits for what for ever; empty if all processes have ended."""
        if self.raw.verdict not in ("deadlock", "livelock"):
            return []
        ended = {step.process for step in self.raw.steps if step.kind == "end"}
        return [f"{run.command}: " + waits(run.process.letter, run.process.last, "", self.raw.privacy(run.process), "")
                for i, run in enumerate(self.runs) if i not in ended]

    def require_all_ended(self, expected: str = "every process ends, whatever the order of the steps") -> "End":
        """Fails the check if processes wait for each other, or for nobody."""
        require(self.raw.verdict == "all ended", expected, self.standstill or f"after {len(self.raw.steps)} steps they still run")
        return self

    def require_no_overslept(self) -> "End":
        """Fails the check if a process has slept until its time was over, and nobody was left who could have woken it."""
        require(self.raw.overslept == 0, "whoever waits is woken by the other, whatever the order of their steps",
                f"{self.raw.overslept} times a process slept until its time was over, while the other had done or was waiting for its "
                "part: a wake-up was lost")
        return self

    @property
    def timed_out(self) -> bool:
        """Whether the schedule has let a wait's time be over although somebody else could go on."""
        return any(int(choice.partition(":")[2]) & TIMEOUT for choice in filter(None, self.raw.schedule.split(",")))

    @property
    def schedule(self) -> str:
        """What `make replay LAB=… SCHEDULE=…` wants."""
        return f"{self._search.name}/{self.raw.schedule or '-'}"

    def lines(self, most: int = 0) -> List[str]:
        """The schedule as columns of processes."""
        return self._search.listing(self.raw).lines(most)

    def shortened(self) -> List[str]:
        return self.lines(MOST_LINES)


class Search:
    """All schedules of some processes of a lab, from what there is in the box now."""

    def __init__(self, fixture: "LabFixture", name: str, commands: Sequence[Sequence[object]], preemptions: int, deaths: int,
                 schedules: int = MOST_SCHEDULES, seconds: float = MOST_SECONDS, replay: Optional[str] = None, weak: bool = False) -> None:
        self.fixture, self.name = fixture, name
        self.commands = [[str(word) for word in command] for command in commands]
        self.preemptions, self.deaths, self.weak = preemptions, deaths, weak
        self.options = ["--preemptions", str(preemptions), "--deaths", str(deaths), "--schedules", str(schedules),
                        "--seconds", f"{seconds:g}"]
        if weak:
            self.options += ["--weak", "1"]
        if replay is not None:
            self.options += ["--schedule", replay or "-"]
        self.seconds = seconds
        self.inputs: Dict[int, bytes] = {}  # what processes read from stdin, by their index
        self.figures: Optional[Figures] = None
        self.on_progress: Callable[[Progress], None] = lambda progress: None
        self.unavailable = ""  # why nothing could be explored

    def listing(self, raw: RawEnd) -> Listing:
        programs = {built.program: built for built in self._built()}
        sources = building.read_sources(self.fixture.lab, self.fixture.submission)
        return Listing(raw, self.fixture.tier, [programs[words[0]] for words in self.commands],
                       [" ".join(words) for words in self.commands], sources)

    def _built(self) -> List[Built]:
        return build.build(self.fixture.lab, self.fixture.submission, self.fixture.tier, self.fixture.cc)

    def ends(self) -> Iterator[End]:
        """Each end that is different from those before, as soon as it is found."""
        if self.fixture.tier != "namespaces":
            self.unavailable = "this needs the namespaces tier"
            return
        try:
            built = self._built()
        except BuildProblem as problem:
            self.unavailable = str(problem)
            return
        box = self.fixture.box
        for one in built:
            box.put(PREFIX + one.program, one.path.read_bytes(), 0o755)
        for i in range(len(self.commands)):
            box.put(f".input-{i}", self.inputs.get(i, b""))
        words = ["explore", *self.options]
        for command in self.commands:
            words += ["--", *command]
        running = box.start(words, image=build.explorer_program(), wall_ms=int(1000 * self.seconds) + 20000,
                            cpu_s=int(self.seconds) + 10)
        output, at = running.output[1], 0
        limit = time.monotonic() + self.seconds + 15
        try:
            while self.figures is None:
                block, after = ends.parse(bytes(output), at)
                if isinstance(block, Figures):
                    self.figures = block
                elif isinstance(block, Progress):
                    at = after
                    self.on_progress(block)
                elif block is not None:
                    at = after
                    if block.verdict in ("unsupported", "hung"):
                        self.unavailable = block.trouble or block.verdict
                        return
                    if block.verdict == "diverged":
                        raise ScheduleProblem(f"the schedule {block.schedule} cannot be followed: the program does not do the "
                                              "same each time")
                    yield End(block, self)
                elif running.status is not None:
                    # The program may have ended the explorer: then its plain build alone is judged.
                    self.unavailable = "the explorer was ended"
                    return
                else:
                    size = len(output)
                    if not box.pump(lambda: len(output) > size or running.status is not None, limit - time.monotonic()):
                        self.unavailable = "the explorer did not end in time"
                        return
                    if running.status is not None:
                        box.wait(running, 1)
        finally:
            box.kill(running.pid, 9) if running.status is None else None

    @property
    def complete(self) -> bool:
        return self.figures is not None and self.figures.outcome == "complete" and "--schedule" not in self.options

    @property
    def bound(self) -> str:
        """Up to where schedules are run, for people."""
        most = f"at most {self.preemptions} preemption{'' if self.preemptions == 1 else 's'}" if self.preemptions else "no preemption"
        death = {0: "", 1: " and one SIGKILL"}.get(self.deaths, f" and {self.deaths} SIGKILLs")
        return most + death + (", weak memory" if self.weak else "")

    def explored(self, failed: Optional[End] = None) -> Dict[str, int]:
        """The number of schedules that were run, by the bound; empty if there was none.

        @param failed  the end at which the check stopped to look
        """
        if failed and not self.figures:
            return {f"{self.bound} (the last one fails)": failed.raw.number}
        if not self.figures or not self.figures.schedules:
            return {}
        left = "" if self.figures.outcome == "complete" else f" ({self.figures.outcome})"
        return {self.bound + left: sum(self.figures.by_preemptions)}

    @property
    def summary(self) -> str:
        """How much was explored, for people."""
        if not self.figures:
            return self.unavailable and f"not explored: {self.unavailable}"
        counts = ", ".join(f"{count} with {number}" for number, count in enumerate(self.figures.by_preemptions))
        end = "" if self.figures.outcome == "complete" else f" ({self.figures.outcome})"
        return f"{self.figures.schedules} schedules, by preemptions: {counts}{end}"


def split_schedule(text: str) -> Tuple[str, str]:
    """Scenario and choices of what a verdict has printed."""
    match = re.fullmatch(r"(\w+\.\d+)/(-|\d+:\d+(?:,\d+:\d+)*)", text.strip())
    if not match:
        raise ValueError(f"'{text}' is not a schedule: copy it from the verdict")
    return match.group(1), "" if match.group(2) == "-" else match.group(2)


__all__ = ["End", "EndRun", "Search", "ScheduleProblem", "split_schedule"]

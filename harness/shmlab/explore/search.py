"""Runs the explorer in the box, and gives the ends of the schedules that it finds."""
from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Protocol, Sequence, Tuple

from ..labs import Lab
from ..sandbox import build as building
from ..sandbox.box import Box
from ..sandbox.build import BuildProblem, Built
from . import build, ends
from .ends import Figures, Progress, RawEnd
from .listing import Listing

PREFIX = ".explored-"  # of the programs in the work directory; native/explore/search.c has the same
MOST_SCHEDULES = 4000  # of one scenario in a check: a number and not a time, so that the verdict is the same on a busy machine
MOST_SECONDS = 8.0  # of processor time, for the same reason
MOST_WAITING = 10  # times as long, on a busy machine


class ScheduleProblem(Exception):
    """The explorer has gone wrong, and not the program."""


class SearchContext(Protocol):
    """Where a search runs: what it needs of the fixture that a check holds."""

    lab: Lab
    submission: Path
    tier: str
    cc: str

    @property
    def box(self) -> Box: ...


class Search:
    """All schedules of some processes of a lab, from what there is in the box now."""

    def __init__(self, fixture: SearchContext, name: str, commands: Sequence[Sequence[object]], preemptions: int, deaths: int,
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
        self.existing: List[str] = []  # the names of the objects that are there when each schedule begins
        self.inputs: Dict[int, bytes] = {}  # what processes read from stdin, by their index
        self.figures: Optional[Figures] = None
        self.on_progress: Callable[[Progress], None] = lambda progress: None
        self.on_start: Callable[[List[Built]], None] = lambda built: None
        self.unavailable = ""  # why nothing could be explored

    def listing(self, raw: RawEnd) -> Listing:
        """The schedule of one end, to be printed."""
        programs = {built.program: built for built in self._built()}
        sources = building.read_sources(self.fixture.lab, self.fixture.submission)
        return Listing(raw, self.fixture.tier, [programs[words[0]] for words in self.commands],
                       [" ".join(words) for words in self.commands], sources, self.existing)

    def _built(self) -> List[Built]:
        return build.build(self.fixture.lab, self.fixture.submission, self.fixture.tier, self.fixture.cc)

    def ends(self) -> Iterator[RawEnd]:
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
        self.existing = ["/" + name for name in os.listdir(box.shm_fd)]
        for one in built:
            box.put(PREFIX + one.program, one.path.read_bytes(), 0o755)
        for i in range(len(self.commands)):
            box.put(f".input-{i}", self.inputs.get(i, b""))
        words = ["explore", *self.options]
        for command in self.commands:
            words += ["--", *command]
        running = box.start(words, {"SHMLAB_START": box.start_secret}, image=build.explorer_program(),
                            wall_ms=int(1000 * MOST_WAITING * self.seconds) + 20000, cpu_s=int(self.seconds) + 10)
        self.on_start(built)
        if running.status is not None:
            box.wait(running, 1)
        output, at = running.output[1], 0
        limit = time.monotonic() + MOST_WAITING * self.seconds + 15
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
                        raise ScheduleProblem(f"the schedule {block.schedule} cannot be followed: the program does not behave "
                                              "the same each time")
                    yield block
                elif running.status is not None:
                    # The program may have ended the explorer: then its plain build alone is judged.
                    self.unavailable = "the explorer was killed"
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

    def explored(self, failed: Optional[RawEnd] = None) -> Dict[str, int]:
        """The number of schedules that were run, by the bound; empty if there was none.

        @param failed  the end at which the check stopped to look
        """
        if failed and not self.figures:
            return {f"{self.bound} (the last one fails)": failed.number}
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

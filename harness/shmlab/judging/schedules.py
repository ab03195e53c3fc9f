"""The end of a schedule, as a check holds it: `for end in lab.every_schedule(…): require(…)`."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Optional

from ..explore.ends import TIMEOUT, ObjectEnd, ProcessEnd, RawEnd, SegmentEnd
from ..explore.listing import MOST_LINES, waits
from ..explore.search import Search
from .require import require


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

    def __init__(self, raw: RawEnd, search: Search) -> None:
        self.raw, self.search = raw, search
        self.scenario = search.name
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
        require(self.raw.overslept == 0, "a process that waits is woken by the other, whatever the order of their steps",
                f"{self.raw.overslept} times a process slept until its time-out although the other had done its part or was "
                "waiting: a wake-up was lost")
        return self

    @property
    def timed_out(self) -> bool:
        """Whether the schedule has let a wait's time be over although somebody else could go on."""
        return any(int(choice.partition(":")[2]) & TIMEOUT for choice in filter(None, self.raw.schedule.split(",")))

    @property
    def schedule(self) -> str:
        """What `make replay LAB=… SCHEDULE=…` wants."""
        return f"{self.scenario}/{self.raw.schedule or '-'}"

    def lines(self, most: int = 0) -> List[str]:
        """The schedule as columns of processes."""
        return self.search.listing(self.raw).lines(most)

    def shortened(self) -> List[str]:
        return self.lines(MOST_LINES)

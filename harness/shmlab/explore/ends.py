"""What the explorer (native/explore/search.c) writes: a block for each end that is new, and one with the figures."""
from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Tuple, Union

from ..sandbox import kernel
from . import steps
from .steps import Step

VERDICTS = ("running", "again", "all ended", "deadlock", "livelock", "cut", "too long", "diverged", "hung", "unsupported")
OUTCOMES = ("complete", "out of time", "too many schedules", "too many ends", "gave up")
_FILE = struct.Struct(f"=QQQ{steps.TEXT}s")
TIMEOUT, KILL, PROCESS = 0x20, 0x40, 0x1F


@dataclass(frozen=True)
class ProcessEnd:
    """What became of one process."""

    letter: str
    pid: int
    status: int
    killed: bool  # by the schedule
    waits_privately: int  # where no other process can wake it; 2: as it is all zero bytes
    last: Step  # the step that it stands before, if it has not ended
    stdout: bytes
    stderr: str
    root: int  # index of the process that the schedule was to run and that has forked this one, or of itself

    @property
    def exit_status(self) -> Optional[int]:
        return kernel.exit_status_of(self.status)

    @property
    def signal(self) -> Optional[str]:
        return kernel.signal_of(self.status)


@dataclass(frozen=True)
class ObjectEnd:
    """An object of /dev/shm at the end. The pids that processes see are 10001, 10002…"""

    name: str
    mode: int
    size: int
    content: bytes


@dataclass(frozen=True)
class SegmentEnd:
    """A System V segment at the end."""

    key: int  # unsigned
    mode: int
    size: int
    content: bytes

    @property
    def line(self) -> str:
        return f"segment with key 0x{self.key:08x}, mode {self.mode & 0o777:04o}, size {self.size}"


@dataclass
class RawEnd:
    """An end as the explorer has told it."""

    verdict: str
    number: int  # of the schedule
    preemptions: int
    overslept: int  # waits that ended because their time was over, as nobody was left to end them
    trouble: str
    schedule: str
    steps: List[Step]
    files: List[str]
    processes: List[ProcessEnd]
    objects: Dict[str, ObjectEnd] = field(default_factory=dict)
    segments: List[SegmentEnd] = field(default_factory=list)

    def privacy(self, process: ProcessEnd) -> int:
        """ProcessEnd.waits_privately; 1 where the steps show that a semaphore of zero bytes was set up, for one process."""
        last = process.last
        made = [step for step in self.steps if step.kind == "sem_init" and (step.file, step.offset) == (last.file, last.offset)]
        return 1 if process.waits_privately == 2 and made and made[-1].before == 0 else process.waits_privately


@dataclass(frozen=True)
class Figures:
    """How much was explored."""

    outcome: str
    schedules: int
    cut: int
    restarts: int
    seconds: float
    processor: float  # seconds, of all processes
    preemptions: int
    by_preemptions: Tuple[int, ...]


@dataclass(frozen=True)
class Progress:
    """How far the search has come."""

    schedules: int
    preemptions: int
    planned: int


class _Short(Exception):
    """The block is not there as a whole yet."""


class _Reader:
    def __init__(self, raw: bytes, at: int) -> None:
        self.raw, self.at = raw, at

    def take(self, count: int) -> bytes:
        if count > len(self.raw) - self.at:
            raise _Short
        self.at += count
        return self.raw[self.at - count:self.at]

    def number(self) -> int:
        return int(struct.unpack("=q", self.take(8))[0])

    def block(self) -> bytes:
        length = self.number()
        if not 0 <= length < 1 << 24:
            raise ValueError("the explorer's output is damaged")
        return self.take(length)


def _schedule(raw: bytes) -> str:
    return ",".join(f"{decision}:{choice}" for decision, choice in struct.iter_unpack("=II", raw))


def _word(verdicts: Tuple[str, ...], number: int) -> str:
    return verdicts[number] if 0 <= number < len(verdicts) else "?"


def _end(reader: _Reader) -> RawEnd:
    verdict = _word(VERDICTS, reader.number())
    number, preemptions, overslept = reader.number(), reader.number(), reader.number()
    trouble = reader.block().decode("utf-8", "replace")
    schedule, made, files = _schedule(reader.block()), steps.parse_steps(reader.block()), reader.block()
    names = [_FILE.unpack(files[at:at + _FILE.size])[3].split(b"\0", 1)[0].decode("utf-8", "replace")
             for at in range(0, len(files), _FILE.size)]
    processes = []
    roots: List[int] = []
    for i in range(reader.number()):
        pid, status, killed, private, parent = (reader.number() for _ in range(5))
        roots.append(roots[parent - 1] if 0 < parent <= i else i)
        last, stdout, stderr = steps.parse_step(reader.block()[:steps.SIZE]), reader.block(), reader.block()
        processes.append(ProcessEnd(chr(ord("A") + i), pid, status, bool(killed), private, last, stdout,
                                    stderr.decode("utf-8", "replace"), roots[i]))
    end = RawEnd(verdict, number, preemptions, overslept, trouble, schedule, made, names, processes)
    for _ in range(reader.number()):
        name, mode, size, content = reader.block(), reader.number(), reader.number(), reader.block()
        shown = "/" + name.decode("utf-8", "replace")
        end.objects[shown] = ObjectEnd(shown, mode, size, content)
    for _ in range(reader.number()):
        end.segments.append(SegmentEnd(reader.number(), reader.number(), reader.number(), reader.block()))
    return end


def _figures(reader: _Reader) -> Figures:
    outcome = _word(OUTCOMES, reader.number())
    schedules, cut, restarts, wall, processor, preemptions = (reader.number() for _ in range(6))
    counts = tuple(reader.number() for _ in range(preemptions + 1))
    return Figures(outcome, schedules, cut, restarts, wall / 1e6, processor / 1e6, preemptions, counts)


def parse(raw: bytes, at: int) -> Tuple[Optional[Union[RawEnd, Progress, Figures]], int]:
    """The block that begins at an offset, and where the next one does. None: it is not all there yet."""
    reader = _Reader(raw, at)
    try:
        kind = reader.block()
        if kind == b"now":
            return Progress(reader.number(), reader.number(), reader.number()), reader.at
        return (_end(reader) if kind == b"end" else _figures(reader)), reader.at
    except _Short:
        return None, at

"""How long a check waits for a student's program."""
from __future__ import annotations

import os
import shutil
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Set

from ..labs import Lab

if TYPE_CHECKING:
    from .program import Program

WALL_SECONDS = 4.0  # until a program ends that should end by itself; the labs' programs need some milliseconds
STOP_SECONDS = 4.0  # until a program stops where a check wants it to
FEED_SECONDS = 4.0  # until a program has read its input
SHORT_SECONDS = 1.0  # instead of these, after a program has exceeded a limit once
BUSY_SECONDS = 1.5  # of processor time that one process uses while a check waits for such an event: then it spins
SHORT_BUSY_SECONDS = 0.3  # instead, after a program has exceeded a limit once
LAB_SECONDS = 60.0  # for all runs of the programs of a lab, before each gets no more than SHORT_SECONDS; the handouts say so
EXTENSION_SECONDS = 120.0  # for all the checks of a lab together; grading gives them four minutes
SPIN_SECONDS = 0.3  # of processor time since its first recorded call, after which a program is busy and not about to wait
KNOWN_SPIN_SECONDS = 0.05  # instead, for a program that was found to spin before
SILENT_SECONDS = 2.0  # of processor time since its start, for a program that has made no call yet: it may start slowly
START_SECONDS = 0.01  # of processor time for the start of an empty program, on the slowest machine that is not emulated
MOST_SLOWNESS = 10.0


@lru_cache(maxsize=None)
def slowness() -> float:
    """How many times slower than an ordinary machine this one is, at least 1. All limits here are multiplied by it.

    The measure is the processor time that an empty program takes, the least of three. Other processes do not change it.
    """
    program = shutil.which("true") or "/bin/true"
    used: List[float] = []
    for _ in range(3):
        try:
            usage = os.wait4(os.posix_spawn(program, ["true"], os.environ), 0)[2]
        except OSError:
            return 1.0
        used.append(usage.ru_utime + usage.ru_stime)
    return min(max(min(used) / START_SECONDS, 1.0), MOST_SLOWNESS)


class WaitLimits:
    """How long the checks wait for a program to end or to stop, depending on what it did before.

    A right program never exceeds its limit, which is a thousand times what it needs, and is extended while other processes
    keep it from running (see Box.expect()). So a program that exceeded its limit is wrong, and its further limits are short:
    it usually meets the same hang in each check. They are still a hundred times what a check needs, so that a check that
    does not meet the hang passes, and each check has its own verdict.
    """

    misses: Dict[Path, int] = {}  # how often each program exceeded its limit
    spinning: Set[Path] = set()
    extended: Dict[str, float] = {}  # seconds, by lab
    spent: Dict[str, float] = {}  # seconds that its programs ran, by lab

    @classmethod
    def limit(cls, seconds: float, *programs: "Program") -> float:
        """Returns how many seconds to wait for these programs: `seconds`, or less if one hung before or the lab's time is spent."""
        short = any(cls.misses.get(program.built.path, 0) or cls.is_spent(program.fixture.lab) for program in programs)
        return (min(seconds, SHORT_SECONDS) if short else seconds) * slowness()

    @classmethod
    def spend(cls, lab: Lab, seconds: float) -> None:
        """Counts how long a program of the student ran, from its start to its end."""
        cls.spent[lab.name] = cls.spent.get(lab.name, 0.0) + seconds

    @classmethod
    def is_spent(cls, lab: Lab) -> bool:
        return cls.spent.get(lab.name, 0.0) > LAB_SECONDS * slowness()

    @classmethod
    def busy(cls, *programs: "Program") -> float:
        """Returns how much of the processor one process may use during a wait for these programs."""
        missed = any(cls.misses.get(program.built.path, 0) for program in programs)
        slower = 3 if any(program.fixture.san for program in programs) else 1
        return slower * (SHORT_BUSY_SECONDS if missed else BUSY_SECONDS) * slowness()

    @classmethod
    def spin_seconds(cls, program: "Program") -> float:
        """How much of the processor a program may use after its first call before it is taken to spin."""
        return (KNOWN_SPIN_SECONDS if program.built.path in cls.spinning else SPIN_SECONDS) * slowness()

    @classmethod
    def extend(cls, lab: Lab, seconds: float) -> bool:
        """Uses up that many seconds of a lab's extension, and returns whether any is left: see Box.expect()."""
        cls.extended[lab.name] = cls.extended.get(lab.name, 0.0) + seconds
        return cls.extended[lab.name] < EXTENSION_SECONDS

    @classmethod
    def note(cls, in_time: bool, *programs: "Program") -> None:
        """Remembers whether the programs met their limit."""
        for path in {program.built.path for program in programs}:  # one wait counts once, even for several of one kind
            cls.misses[path] = cls.misses.get(path, 0) + (0 if in_time else 1)

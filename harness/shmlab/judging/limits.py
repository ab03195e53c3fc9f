"""How long a check waits for a student's program."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Dict, Set

from ..labs import Lab
from .pauses import Pauses

if TYPE_CHECKING:
    from .program import Program

WALL_SECONDS = 4.0  # for a program that should end by itself; the labs' programs need some milliseconds
STOP_SECONDS = 4.0  # until it stops where a check wants it
FEED_SECONDS = 10.0  # until it has read its input
SHORT_SECONDS = 1.0  # for a program that was waited for in vain before
EXTENSION_SECONDS = 60.0  # for all the checks of a lab together, which have four minutes
SPIN_SECONDS = 0.3  # of processor time; a program that used so much since its start is not about to wait
KNOWN_SPIN_SECONDS = 0.05  # for one that was found to spin before


class WaitLimits:
    """How long this run waits for a program to end, or to come to where it is to stop.

    A program that hangs hangs in every check. One that was waited for in vain twice in a row has used up its credit:
    from then on it gets a second, still much more than the labs' programs need, until it comes in time again. So has one
    that was waited for in vain once and was seen to poll.
    Each check judges by itself all the same, and a lab of programs that hang ends within half a minute.
    """

    misses: Dict[Path, int] = {}
    spinning: Set[Path] = set()
    extended: Dict[str, float] = {}  # seconds, by lab

    @classmethod
    def limit(cls, seconds: float, *programs: "Program") -> float:
        paths = {program.built.path for program in programs}
        tried = any(cls.misses.get(path, 0) >= (1 if path in Pauses.found else 2) for path in paths)
        return min(seconds, SHORT_SECONDS) if tried else seconds

    @classmethod
    def spin_seconds(cls, program: "Program") -> float:
        """How much of the processor a program may use before it is taken to spin: little if it was found to before."""
        return KNOWN_SPIN_SECONDS if program.built.path in cls.spinning else SPIN_SECONDS

    @classmethod
    def extend(cls, lab: Lab, seconds: float) -> bool:
        """Whether there is more time for programs of a lab that do not come to their turn: see Box.expect()."""
        cls.extended[lab.name] = cls.extended.get(lab.name, 0.0) + seconds
        return cls.extended[lab.name] < EXTENSION_SECONDS

    @classmethod
    def note(cls, came: bool, *programs: "Program") -> None:
        for path in {program.built.path for program in programs}:  # however many of one kind: it is one wait
            if not came:
                cls.misses[path] = cls.misses.get(path, 0) + 1
            elif path not in Pauses.found:
                cls.misses[path] = 0

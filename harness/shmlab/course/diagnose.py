"""Which known mistakes a failing program resembles: the same checks fail, and fail in the same way.

A likeness is no proof. It is 1.0 when exactly the checks fail that the mistake fails, each with the same words.
"""
from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Set, Tuple

from .. import gallery
from ..sandbox import native
from .cohort import Grader, Student, Unit, add_lab, outcomes, share, units_to_do
from ..gallery import Patch
from .intake import Submission
from ..labs import Lab
from ..results import FAILED, write_whole

LEAST = 0.6  # likeness from which on a mistake is named
MOST = 3  # mistakes named for one program
_SAME_CHECK = 0.5  # what it counts when a check fails for both, but with other words

Checks = List[Dict[str, Any]]


def _failures(checks: Checks) -> Dict[str, Tuple[str, str]]:
    """What each failed check expected and saw first, less the numbers and names that differ from run to run."""

    def plain(text: str) -> str:
        return re.sub(r"/shmlab-[0-9a-f]+|0x[0-9a-f]+|\d+", "#", text)

    return {check["check"]: (plain(check["expected"]), plain((check["saw"] or [""])[0]))
            for check in checks if check["status"] == FAILED}


def is_telling(checks: Checks) -> bool:
    """Whether a program is finished as far as its author could tell: it compiles, and no TODO is left."""
    return any(check["status"] == FAILED for check in checks) and not any(
        check["expected"] in ("the program compiles", "the program is finished") for check in checks)


def likeness(mine: Checks, theirs: Checks) -> float:
    """0.0 to 1.0: how alike two programs fail."""
    one, other = _failures(mine), _failures(theirs)
    common = [1.0 if one[name] == other[name] else _SAME_CHECK for name in one.keys() & other.keys()]
    return sum(common) / max(1, len(one.keys() | other.keys()))


class Gallery:
    """The known mistakes and what becomes of each when it is graded; graded when first needed, and kept."""

    def __init__(self, grader: Grader) -> None:
        self.grader = grader
        self._by_lab: Dict[str, List[Patch]] = {}
        for mistake in gallery.mistakes():
            self._by_lab.setdefault(mistake.lab.name, []).append(mistake)
        self._graded: Dict[Patch, Checks] = {}
        self._students: Dict[Patch, Student] = {}

    def candidates(self, lab: Lab, failed: Set[str]) -> List[Patch]:
        """The mistakes that might reach the least likeness."""
        return [mistake for mistake in self._by_lab.get(lab.name, [])
                if len(failed & set(mistake.caught_by)) >= LEAST * len(failed | set(mistake.caught_by))]

    def prepare(self, wanted: Set[Patch], students: List[Student]) -> List[Unit]:
        """What has to be graded to know these mistakes: not what was before, nor what a student has handed in."""
        for mistake in sorted(wanted, key=str):
            directory = native.build_directory() / "gallery" / mistake.lab.name / mistake.name
            _refresh(mistake, directory / "labs" / mistake.lab.name)
            self._students[mistake] = Student(Submission(str(mistake), mistake.name), directory)
            add_lab(self._students[mistake], mistake.lab, self.grader)
        share([*students, *self._students.values()])
        return units_to_do(list(self._students.values()), self.grader.jobs)

    def learn(self) -> None:
        """Reads what became of them."""
        for mistake, student in self._students.items():
            self._graded[mistake] = outcomes(student, mistake.lab)

    def resembling(self, lab: Lab, checks: Checks) -> List[Tuple[Patch, float]]:
        """The mistakes that a program resembles most, the most alike first."""
        failed = {check["check"] for check in checks if check["status"] == FAILED}
        found = [(mistake, likeness(checks, self._graded[mistake])) for mistake in self.candidates(lab, failed)]
        found = [(mistake, value) for mistake, value in found if value >= LEAST]
        return sorted(found, key=lambda pair: (-pair[1], pair[0].name))[:MOST]


def _refresh(mistake: Patch, target: Path) -> None:
    """Makes a directory hold the mistake's programs, unless it does."""
    with tempfile.TemporaryDirectory() as scratch:
        made = mistake.apply(Path(scratch)) / mistake.lab.name
        for source in made.iterdir():
            path = target / source.name
            if not path.exists() or path.read_bytes() != source.read_bytes():
                write_whole(path, source.read_text(encoding="utf-8"))

"""Finds the known mistakes that a failing program resembles: the same checks fail, with the same messages.

Likeness is a number from 0.0 to 1.0. It is 1.0 if the program fails exactly the checks that the mistake fails, each with
the same message. Two different mistakes can fail in the same way, so a likeness proves nothing.
"""
from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Set, Tuple

from .. import gallery
from ..sandbox import native
from .cohort import Batch, Grader, Student, add_lab, outcomes, pending_batches, reuse_outcomes
from ..gallery import Patch
from .intake import Submission
from ..labs import Lab
from ..results import FAILED, write_whole

MIN_LIKENESS = 0.6  # below this a mistake is not named
MAX_NAMED = 3  # mistakes named for one program
_SAME_CHECK_OTHER_WORDS = 0.5  # weight of a check that fails for both with different messages

Checks = List[Dict[str, Any]]


def _failures(checks: Checks) -> Dict[str, Tuple[str, str]]:
    """Returns what each failed check expected and saw first, without numbers and names that differ between runs."""

    def masked(text: str) -> str:
        return re.sub(r"/shmlab-[0-9a-f]+|0x[0-9a-f]+|\d+", "#", text)

    return {check["check"]: (masked(check["expected"]), masked((check["saw"] or [""])[0]))
            for check in checks if check["status"] == FAILED}


def is_comparable(checks: Checks) -> bool:
    """Whether a comparison makes sense: a check failed, the program compiles, and it did not stop at a TODO."""
    return any(check["status"] == FAILED for check in checks) and not any(
        check["expected"] in ("the program compiles", "the program is finished") for check in checks)


def likeness(mine: Checks, theirs: Checks) -> float:
    """Returns how alike two programs fail, from 0.0 to 1.0."""
    one, other = _failures(mine), _failures(theirs)
    common = [1.0 if one[name] == other[name] else _SAME_CHECK_OTHER_WORDS for name in one.keys() & other.keys()]
    return sum(common) / max(1, len(one.keys() | other.keys()))


class Gallery:
    """The known mistakes and their outcomes. A mistake is graded when it is first needed, and its outcome is kept."""

    def __init__(self, grader: Grader) -> None:
        self.grader = grader
        self._by_lab: Dict[str, List[Patch]] = {}
        for mistake in gallery.mistakes():
            self._by_lab.setdefault(mistake.lab.name, []).append(mistake)
        self._graded: Dict[Patch, Checks] = {}
        self._students: Dict[Patch, Student] = {}

    def candidates(self, lab: Lab, failed: Set[str]) -> List[Patch]:
        """Returns the mistakes whose likeness can reach MIN_LIKENESS, given the checks that they name."""
        return [mistake for mistake in self._by_lab.get(lab.name, [])
                if len(failed & set(mistake.caught_by)) >= MIN_LIKENESS * len(failed | set(mistake.caught_by))]

    def prepare(self, wanted: Set[Patch], students: List[Student]) -> List[Batch]:
        """Returns the mistakes that must be graded: those without an outcome that no student handed in unchanged."""
        for mistake in sorted(wanted, key=str):
            directory = native.build_directory() / "gallery" / mistake.lab.name / mistake.name
            _write_programs(mistake, directory / "labs" / mistake.lab.name)
            self._students[mistake] = Student(Submission(str(mistake), mistake.name), directory)
            add_lab(self._students[mistake], mistake.lab, self.grader)
        reuse_outcomes([*students, *self._students.values()])
        return pending_batches(list(self._students.values()), self.grader.jobs)

    def read_outcomes(self) -> None:
        """Reads the outcomes of the mistakes that were passed to prepare()."""
        for mistake, student in self._students.items():
            self._graded[mistake] = outcomes(student, mistake.lab)

    def resembling(self, lab: Lab, checks: Checks) -> List[Tuple[Patch, float]]:
        """Returns at most MAX_NAMED mistakes and their likeness, the most alike first."""
        failed = {check["check"] for check in checks if check["status"] == FAILED}
        found = [(mistake, likeness(checks, self._graded[mistake])) for mistake in self.candidates(lab, failed)]
        found = [(mistake, value) for mistake, value in found if value >= MIN_LIKENESS]
        return sorted(found, key=lambda pair: (-pair[1], pair[0].name))[:MAX_NAMED]


def _write_programs(mistake: Patch, target: Path) -> None:
    """Writes the mistake's programs to a directory; leaves files that are up to date untouched."""
    with tempfile.TemporaryDirectory() as scratch:
        made = mistake.apply(Path(scratch)) / mistake.lab.name
        for source in made.iterdir():
            path = target / source.name
            if not path.exists() or path.read_bytes() != source.read_bytes():
                write_whole(path, source.read_text(encoding="utf-8"))

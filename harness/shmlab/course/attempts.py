"""Keeps each lab's best attempt, for a course in which that counts and not the last one.

An attempt is what one run of `make grade` found. The best so far is a copy in the student's directory, in best/NN_name, with its
time and a mark of its own. It is graded like any other, so that it is judged anew if the checks change.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import cohort, exports, intake, results_directory
from .cohort import Grader, Selection, Student
from .course_file import Course
from .intake import IntakeResult, Submission
from .results_directory import Before
from ..labs import Lab
from ..results import write_whole

Checks = List[Dict[str, Any]]
Key = Tuple[str, str]  # a student's directory and a lab's name


@dataclass
class Counted:
    """The attempt that counts instead of the last one: the outcome, and the student as at that time."""

    checks: Checks
    student: Student


def _place(student: Student, lab: Lab) -> str:
    return f"{student.submission.directory}/best/{lab.name}"


def earlier(students: Sequence[Student], course: Course, out: Path, grader: Grader, selection: Selection) -> Dict[Key, Student]:
    """Returns the best attempts of runs before, each as a student with one lab, to be graded with the others."""
    found: Dict[Key, Student] = {}
    for student in students:
        for lab in course.labs:
            old = results_directory.read_mark(out, _place(student, lab))
            if not old or lab.name not in old.taken.labs:
                continue
            copy = Student(old.submission, out / "students" / old.submission.directory, examined=old.examined)
            if selection.chosen(student, [lab]):
                copy.taken = old.taken
                cohort.add_lab(copy, lab, grader)
                copy.anew.update([lab.name] if selection.regrade == "all" else [])
            else:
                cohort.keep_labs(copy, old, [lab])
            found[student.submission.directory, lab.name] = copy
    return found


def _value(student: Student, lab: Lab, course: Course, checks: Optional[Checks]) -> float:
    """Returns the points of an attempt, with the rule for late work; points of the whole lab by hand do not matter here."""
    record = exports.lab_record(student, lab, course, checks, [])
    return float(record["score_in_time"] * course.late_factor(record["days_late"]))


def choose(students: Sequence[Student], best: Dict[Key, Student], course: Course, out: Path) -> Dict[Key, Counted]:
    """Returns the attempts that count instead of the last ones; keeps each last one that is the best so far."""
    counted: Dict[Key, Counted] = {}
    for student in students:
        for lab in course.labs:
            key = (student.submission.directory, lab.name)
            mine = cohort.outcomes(student, lab) if lab in student.labs else None
            copy = best.get(key)
            if copy is None or lab not in copy.labs:
                if mine is not None and (student.directory / "labs" / lab.name).is_dir():
                    _keep(student, lab, out)
                continue
            theirs = cohort.outcomes(copy, lab)
            before = Student(replace(student.submission, late=copy.submission.late), student.directory,
                             IntakeResult([], dict(copy.taken.labs), copy.taken.times), examined={lab.name})
            now, then = (_value(one, lab, course, checks) for one, checks in ((student, mine), (before, theirs)))
            if mine is None or now < then:
                before.taken.labs[lab.name] = [*copy.taken.labs[lab.name], "an earlier attempt counts because it has more points than the "
                                               f"last one ({exports.rounded(then)} instead of {exports.rounded(now)})"]
                counted[key] = Counted(theirs, before)
            elif now > then:
                _keep(student, lab, out)
    return counted


def _keep(student: Student, lab: Lab, out: Path) -> None:
    """Copies an attempt, its outcome and its time. The mark is written last."""
    place, one = _place(student, lab), student.submission
    target, outcome = out / "students" / place, student.outcome_file(lab)
    intake.write_only(target / "labs" / lab.name, {
        path.name: path.read_bytes() for path in sorted((student.directory / "labs" / lab.name).iterdir())})
    write_whole(target / "checks" / outcome.name, outcome.read_text(encoding="utf-8"))
    for path in (target / "checks").iterdir():
        if path.name != outcome.name:
            path.unlink()
    times = {lab.name: student.taken.times[lab.name]} if lab.name in student.taken.times else {}
    Before(Submission(one.name, place, [], one.platform, one.platform_id, one.late),
           IntakeResult([], {lab.name: student.taken.labs[lab.name]}, times), {lab.name}).write(out)

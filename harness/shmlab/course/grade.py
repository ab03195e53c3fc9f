"""`make grade`: takes a course's submissions in, has them graded, and writes all that comes out."""
from __future__ import annotations

import os
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, Optional, Set

from ..sandbox import box, tiers
from . import cohort, diagnose, exports, intake, pages
from .cohort import Grader, Student, Unit
from .course_file import Course, read_course
from ..gallery import Patch
from ..labs import UserError, find
from ..results import ERROR, FAILED

VERSION = 1  # of results.json, see docs/grading.md
Record = Dict[str, Any]


class Progress:
    """How far it is: a bar on a terminal, a line from time to time elsewhere."""

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what, self.done, self.began, self.said = total, what, 0, time.monotonic(), 0.0
        self._bar: Any = None
        if total and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            try:
                from rich.console import Console
                from rich.progress import BarColumn, MofNCompleteColumn, Progress as Rich, TextColumn, TimeRemainingColumn

                # Processes are forked while it is shown, so it may not have a thread of its own.
                self._bar = Rich(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                                 TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[who]}"),
                                 console=Console(stderr=True), auto_refresh=False)
                self._task = self._bar.add_task(what, total=total, rate="", who="")
                self._bar.start()
            except ImportError:
                pass

    def __call__(self, unit: Unit, labs: int) -> None:
        self.done += labs
        passed = max(1e-3, time.monotonic() - self.began)
        rate = self.done / passed
        if self._bar:
            self._bar.update(self._task, completed=self.done, rate=f"{rate:.1f} labs/s", who=unit.student.submission.name[:30])
            self._bar.refresh()
        elif labs and (time.monotonic() - self.said > 5 or self.done == self.total):
            self.said = time.monotonic()
            left = f", {(self.total - self.done) / rate:.0f} s left" if self.done < self.total else ""
            print(f"{self.what}: {self.done} of {self.total} labs, {rate:.1f} a second{left}", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._bar:
            self._bar.stop()


def _details(student: Student) -> Dict[str, List[Dict[str, Any]]]:
    return {lab.name: cohort.outcomes(student, lab) for lab in student.labs}


def _write_everything(students: List[Student], of: Course, out: Path, grader: Grader, ignored: List[str]) -> Record:
    """All that comes out. One student's details are in memory at a time, however many there are."""
    known = diagnose.Gallery(grader)
    wanted: Set[Patch] = set()
    for student in students:
        for lab, checks in zip(student.labs, _details(student).values()):
            if diagnose.is_telling(checks):
                wanted.update(known.candidates(lab, {c["check"] for c in checks if c["status"] == FAILED}))
    units = known.prepare(wanted, students)
    progress = Progress(len(units), "known mistakes for comparison")
    try:
        cohort.grade_all(units, grader, progress)
        known.learn()
    finally:
        progress.end()
    records = []
    for student in students:
        details = _details(student)
        like = {lab: known.resembling(lab, details[lab.name]) for lab in student.labs
                if diagnose.is_telling(details[lab.name])}
        record = exports.record_of(student, of, details, like)
        exports.write_student(student.directory, record, details, of)
        pages.write_student(student.directory, record, details, of)
        records.append(record)
    labs = [{"name": lab.name, "number": lab.number, "title": lab.title,
             "maximum": exports.rounded(sum(of.worth(lab, check.name, check.points) for check in lab.checks())),
             "due": datetime.fromtimestamp(of.due[lab.name]).isoformat(" ", "seconds") if lab.name in of.due else None,
             "checks": [{"name": check.name, "sentence": check.sentence,
                         "points": exports.rounded(of.worth(lab, check.name, check.points))} for check in lab.checks()]}
            for lab in of.labs]
    everything = {"version": VERSION, "title": of.title, "tier": grader.tier, "compiler": grader.cc,
                  "sanitizers": grader.san, "ignored": ignored, "labs": labs, "students": records}
    exports.write_course(out, everything, of)
    pages.write_course(out, everything)
    return everything


def _choose_tier(wanted: Optional[str], trust: bool) -> str:
    tier = tiers.choose_tier(wanted)
    if tier != "namespaces" and not trust:
        raise UserError("this machine cannot contain the programs of strangers"
                        + (f" ({tiers.why_no_better()})" if tiers.why_no_better() else " (--tier host)")
                        + ": grade on one that has namespaces, see `make doctor`, or say TRUST=1 if you trust them all")
    return tier


def main(source: Path, out: Path, course_file: Optional[Path], labs: List[str], cc: str, san: bool, jobs: int,
         wanted_tier: Optional[str], trust: bool) -> int:
    """Grades a directory of submissions. Gives 0 when all was judged, 1 when somebody has to look at something."""
    tier = _choose_tier(wanted_tier, trust)
    of = read_course(course_file, [find(word) for word in labs]) if course_file else Course()
    if labs:
        of.labs = [find(word) for word in labs]
    source, out = source.resolve(), out.resolve()
    if out == source or out in source.parents or source in out.parents:
        raise UserError(f"the results cannot go to {out}: it holds, or is within, what was handed in")
    submissions, ignored = intake.list_submissions(source)
    unknown = set(of.handed_in) - {one.name for one in submissions}
    if unknown:
        raise UserError(f"{course_file}, [handed in] {sorted(unknown)[0]}: there is no submission of that name")
    lock = cohort.Lock(out)
    try:
        box.also_hidden.update((str(source), str(out)))
        grader = Grader(tier, cc, san, jobs)
        grader.prepare()
        students = cohort.take_in(submissions, of.labs, out, grader)
        cohort.remove_unknown(students, out)
        all_labs = sum(len(student.labs) for student in students)
        before = sum(student.outcome_file(lab).exists() for student in students for lab in student.labs)
        cohort.share(students)
        units = cohort.units_to_do(students, jobs)
        todo = sum(len(unit.labs) for unit in units)
        print(f"{len(students)} submissions with {all_labs} labs" + (f", {before} of them graded before" if before else "")
              + (f", {all_labs - before - todo} the same as others" if before + todo < all_labs else "")
              + f"; {tiers.describe_tier(tier)}", file=sys.stderr)
        progress = Progress(todo, "graded")
        try:
            cohort.grade_all(units, grader, progress)
        finally:
            progress.end()
        cohort.share(students)
        everything = _write_everything(students, of, out, grader, ignored)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on where this one was", file=sys.stderr)
        return 130
    finally:
        lock.release()
    return _summary(everything, out)


def _summary(everything: Record, out: Path) -> int:
    """What the person at the keyboard has to know now."""
    errors = [(student["name"], name) for student in everything["students"] for name, lab in student["labs"].items()
              if lab["state"] == ERROR]
    noted = [student["name"] for student in everything["students"]
             if student["notes"] or any(lab["notes"] for lab in student["labs"].values())]
    like = Counter(lab["resembles"][0]["mistake"] for student in everything["students"]
                   for lab in student["labs"].values() if lab["resembles"])
    for line in everything["ignored"]:
        print(f"note: {line}")
    if noted:
        print(f"{len(noted)} {'submission has' if len(noted) == 1 else 'submissions have'} notes on what was handed in: "
              + ", ".join(noted[:6]) + (" …" if len(noted) > 6 else ""))
    for mistake, count in like.most_common(3):
        print(f"{count} {'program resembles' if count == 1 else 'programs resemble'} the known mistake {mistake}")
    for name, lab in errors[:10]:
        print(f"look at {name}, {lab}: a check did not come to an end, and counts as no points")
    relative = os.path.relpath(out)
    where = out if relative.startswith("..") else Path(relative)
    print(f"{len(everything['students'])} submissions graded: open {where / 'index.html'}; grades are in {where / 'grades.csv'}")
    return 1 if errors else 0

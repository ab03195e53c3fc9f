"""`make grade`: collects a course's submissions, grades them, and writes the results."""
from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Set

from ..sandbox import box, tiers
from . import cohort, diagnose, exports, intake, pages
from .cohort import Batch, Grader, Student
from .course_file import FILE_TIME, Course, read_course
from .intake import Submission
from .tables import folded
from ..gallery import Patch
from ..labs import UserError, find
from ..results import ERROR, FAILED

VERSION = 1  # of results.json, see docs/grading.md
Record = Dict[str, Any]


class Progress:
    """Shows the progress: a bar on a terminal, otherwise a line every five seconds."""

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what, self.done, self.began, self.printed_at = total, what, 0, time.monotonic(), 0.0
        self._bar: Any = None
        if total and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            try:
                from rich.console import Console
                from rich.progress import BarColumn, MofNCompleteColumn, Progress as Rich, TextColumn, TimeRemainingColumn

                # No refresh thread: this process forks while the bar is shown.
                self._bar = Rich(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                                 TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[who]}"),
                                 console=Console(stderr=True), auto_refresh=False)
                self._task = self._bar.add_task(what, total=total, rate="", who="")
                self._bar.start()
            except ImportError:
                pass

    def __call__(self, batch: Batch, labs: int) -> None:
        self.done += labs
        rate = self.done / max(1e-3, time.monotonic() - self.began)
        if self._bar:
            self._bar.update(self._task, completed=self.done, rate=f"{rate:.1f} labs/s", who=batch.student.submission.name[:30])
            self._bar.refresh()
        elif labs and (time.monotonic() - self.printed_at > 5 or self.done == self.total):
            self.printed_at = time.monotonic()
            left = f", {(self.total - self.done) / rate:.0f} s left" if self.done < self.total else ""
            print(f"{self.what}: {self.done} of {self.total} labs, {rate:.1f} a second{left}", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._bar:
            self._bar.stop()


def _details(student: Student) -> Dict[str, List[Dict[str, Any]]]:
    return {lab.name: cohort.outcomes(student, lab) for lab in student.labs}


def _write_everything(students: List[Student], course: Course, out: Path, grader: Grader, ignored: List[str]) -> Record:
    """Writes all results and returns the content of results.json. Holds the details of one student at a time in memory."""
    known = diagnose.Gallery(grader)
    wanted: Set[Patch] = set()
    for student in students:
        for lab, checks in zip(student.labs, _details(student).values()):
            if diagnose.is_comparable(checks):
                wanted.update(known.candidates(lab, {c["check"] for c in checks if c["status"] == FAILED}))
    batches = known.prepare(wanted, students)
    progress = Progress(len(batches), "known mistakes for comparison")
    try:
        cohort.grade_all(batches, grader, progress)
        known.read_outcomes()
    finally:
        progress.end()
    records = []
    for student in students:
        details = _details(student)
        resembling = {lab: known.resembling(lab, details[lab.name]) for lab in student.labs
                      if diagnose.is_comparable(details[lab.name])}
        record = exports.record_of(student, course, details, resembling)
        exports.write_student(student.directory, record, details, course)
        pages.write_student(student.directory, record, details, course)
        records.append(record)
    labs = [{"name": lab.name, "number": lab.number, "title": lab.title,
             "maximum": exports.rounded(sum(course.weighted_points(lab, check.name, check.points) for check in lab.checks())),
             "due": course.due[lab.name].isoformat(" ", "seconds") if lab.name in course.due else None,
             "checks": [{"name": check.name, "sentence": check.sentence,
                         "points": exports.rounded(course.weighted_points(lab, check.name, check.points))}
                        for check in lab.checks()]}
            for lab in course.labs]
    everything = {"version": VERSION, "title": course.title, "tier": grader.tier, "compiler": grader.cc,
                  "sanitizers": grader.san, "ignored": ignored, "labs": labs, "students": records}
    exports.write_course(out, everything, course)
    pages.write_course(out, everything)
    return everything


def _choose_tier(wanted: Optional[str], trust: bool) -> str:
    tier = tiers.choose_tier(wanted)
    if tier != "namespaces" and not trust:
        raise UserError("this machine cannot isolate untrusted programs"
                        + (f" ({tiers.why_no_better()})" if tiers.why_no_better() else " (--tier host)")
                        + ": use a machine that supports namespaces (see `make doctor`), "
                        "or set TRUST=1 if you trust every program")
    return tier


def _names(submissions: Iterable[Submission]) -> Dict[str, Set[str]]:
    """Returns the directories of all submissions that a word, folded, can mean: a name or a platform's id."""
    found: Dict[str, Set[str]] = {}
    for one in submissions:
        for word in filter(None, (one.name, one.platform_id)):
            found.setdefault(folded(word), set()).add(one.directory)
    return found


def strange_times(students: List[Student], course: Course, now: float) -> List[str]:
    """Returns a line for each reason to doubt the times, if there are deadlines that depend on them."""
    dated = [(student, lab, course.when_handed_in(lab, student.submission, student.taken.times.get(lab.name)))
             for student in students for lab in student.labs if lab.name in course.due]
    lines = []
    future = [(student, lab, one.when) for student, lab, one in dated if one.when and one.when > now + 60]
    if future:
        student, lab, when = future[0]
        lines.append(f"{len(future)} {'lab has' if len(future) == 1 else 'labs have'} a time in the future, such as "
                     f"{student.submission.name}, lab {lab.number}: {course.shown(when)}")
    by_file = [(student, lab, one) for student, lab, one in dated if one.source == FILE_TIME]
    who = {student.submission.directory for student, _, _ in by_file}
    late = {student.submission.directory for student, lab, one in by_file
            if course.days_late(course.deadline(lab, student.submission), one)}
    remedy = "say when work was handed in with [handed in] or times = in the course file"
    if len(who) >= 3 and len({one.when for _, _, one in by_file}) == 1:
        lines.append(f"the files of all {len(who)} submissions have the same time, {course.shown(by_file[0][2].when or 0)}, "
                     f"which may be that of a download or a copy: {remedy}")
    if len(late) >= 3 and 2 * len(late) > len(who):
        lines.append(f"{len(late)} of {len(who)} submissions are late by the time of their files, which may be that of a download "
                     f"or a copy: {remedy}")
    return lines


def main(source: Path, out: Path, course_file: Optional[Path], labs: List[str], cc: str, san: bool, jobs: int,
         wanted_tier: Optional[str], trust: bool) -> int:
    """Grades a directory of submissions. Returns 0 if every check reached a verdict, 1 if the instructor must look at one."""
    tier = _choose_tier(wanted_tier, trust)
    course = read_course(course_file, [find(word) for word in labs]) if course_file else Course()
    if labs:
        course.labs = [find(word) for word in labs]
    source, out = source.resolve(), out.resolve()
    if out == source or out in source.parents or source in out.parents:
        raise UserError(f"the results cannot go to {out}: it contains the submissions or is inside them")
    submissions, ignored = intake.list_submissions(source)
    course.bind(_names(submissions))
    lock = cohort.Lock(out)
    try:
        box.also_hidden.update((str(source), str(out)))
        grader = Grader(tier, cc, san, jobs)
        grader.prepare()
        students = cohort.take_in(submissions, course.labs, out, grader)
        cohort.remove_unknown(students, out)
        all_labs = sum(len(student.labs) for student in students)
        before = sum(student.outcome_file(lab).exists() for student in students for lab in student.labs)
        cohort.reuse_outcomes(students)
        batches = cohort.pending_batches(students, jobs)
        todo = sum(len(batch.labs) for batch in batches)
        print(f"{len(students)} submissions with {all_labs} labs" + (f", {before} of them graded before" if before else "")
              + (f", {all_labs - before - todo} the same as others" if before + todo < all_labs else "")
              + f"; {tiers.describe_tier(tier)}", file=sys.stderr)
        for line in strange_times(students, course, time.time()):
            print(f"warning: {line}", file=sys.stderr)
        progress = Progress(todo, "graded")
        try:
            cohort.grade_all(batches, grader, progress)
        finally:
            progress.end()
        cohort.reuse_outcomes(students)
        everything = _write_everything(students, course, out, grader, ignored)
    except KeyboardInterrupt:
        print("\ninterrupted: run the same command again to resume", file=sys.stderr)
        return 130
    finally:
        lock.release()
    return _summary(everything, out)


def _summary(everything: Record, out: Path) -> int:
    """Prints what the instructor needs to know first. Returns the exit status."""
    errors = [(student["name"], name) for student in everything["students"] for name, lab in student["labs"].items()
              if lab["state"] == ERROR]
    noted = [student["name"] for student in everything["students"]
             if student["notes"] or any(lab["notes"] for lab in student["labs"].values())]
    resembled = Counter(lab["resembles"][0]["mistake"] for student in everything["students"]
                        for lab in student["labs"].values() if lab["resembles"])
    for line in everything["ignored"]:
        print(f"note: {line}")
    if noted:
        print(f"{len(noted)} {'submission has' if len(noted) == 1 else 'submissions have'} notes on what was handed in: "
              + ", ".join(noted[:6]) + (" …" if len(noted) > 6 else ""))
    for mistake, count in resembled.most_common(3):
        print(f"{count} {'program resembles' if count == 1 else 'programs resemble'} the known mistake {mistake}")
    if any(lab["due"] for lab in everything["labs"]):
        sources = Counter(lab["time_from"] for student in everything["students"] for lab in student["labs"].values()
                          if lab["state"] != exports.MISSING)
        print("when labs were handed in: " + ", ".join(
            f"{count} by the {source} time" if source == FILE_TIME else f"{count} by {source}" if source
            else f"{count} of unknown time, which count as in time" for source, count in sources.most_common()))
    for name, lab in errors[:10]:
        print(f"look at {name}, {lab}: a check did not end, and counts 0 points")
    relative = os.path.relpath(out)
    where = out if relative.startswith("..") else Path(relative)
    print(f"{len(everything['students'])} submissions graded: open {where / 'index.html'}; grades are in {where / 'grades.csv'}")
    return 1 if errors else 0

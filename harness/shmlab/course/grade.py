"""`make grade`: collects a course's submissions, grades them, and writes the results."""
from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set

from ..sandbox import box, tiers
from . import attempts, board, cohort, diagnose, exports, insight, pages, results_directory, roster, similar, slices
from .attempts import Counted
from .cohort import Batch, Grader, Selection, Student
from .course_file import FILE_TIME, Course, read_course
from .download import Download
from .tables import first_of, folded
from ..gallery import Patch
from ..labs import Lab, UserError, all_labs, find
from ..results import FAILED, plain

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


def _details(student: Student, course: Course, counted: Dict[attempts.Key, Counted]) -> Dict[Lab, List[Dict[str, Any]]]:
    """Returns the outcomes of the labs: of the last attempt, or of the one that counts instead."""
    earlier = {lab: counted.get((student.submission.directory, lab.name)) for lab in course.labs}
    return {lab: one.checks if one else cohort.outcomes(student, lab) for lab, one in earlier.items() if one or lab in student.labs}


def _write_everything(students: List[Student], course: Course, out: Path, grader: Grader, ignored: List[str],
                      counted: Dict[attempts.Key, Counted]) -> Record:
    """Writes all results and returns the content of results.json. Holds the details of one student at a time in memory."""
    known = diagnose.Gallery(grader)
    wanted: Set[Patch] = set()
    for student in students:
        for lab, checks in _details(student, course, counted).items():
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
        outcomes = _details(student, course, counted)
        details = {lab.name: checks for lab, checks in outcomes.items()}
        resembling = {lab: known.resembling(lab, checks) for lab, checks in outcomes.items() if diagnose.is_comparable(checks)}
        record = exports.record_of(student, course, details, resembling, {
            lab.name: counted[key].student for lab in outcomes if (key := (student.submission.directory, lab.name)) in counted})
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
    labs = [{**lab, **insight.how_it_went(lab, records)} for lab in labs]
    alike, left = similar.search(out, course.labs, records)
    if left:
        print(f"warning: the search for near-identical work skipped {', '.join(left)}, because it took more than {similar.SECONDS:.0f} s",
              file=sys.stderr)
    before = results_directory.results_before(out)
    everything = {"version": results_directory.RESULTS_VERSION, "title": course.title, "tier": grader.tier, "compiler": grader.cc,
                  "sanitizers": grader.san, "ignored": ignored, "labs": labs, "similar": alike,
                  "changes": insight.changes(before, records), "students": records,
                  "race": board.measure(out, course.labs, records, grader, before) if course.race else []}
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


def _select(labs: List[Lab], words: List[str], regrade: str, names: Dict[str, Set[str]], groups: Dict[str, Set[str]]) -> Selection:
    """Returns what LAB=, STUDENT= and REGRADE= select. Raises UserError for a student that there is not."""
    if regrade not in ("", "errors", "all"):
        raise UserError(plain(f"REGRADE={regrade} is unknown: allowed are REGRADE=errors and REGRADE=all"))
    students: Optional[Set[str]] = None
    # A name may have a comma in it.
    for word in [part for item in words for part in ([item] if folded(item) in names else item.split(","))]:
        found = names.get(folded(word), set()) or groups.get(folded(word), set())
        if not found or (folded(word) in names and len(found) > 1):
            raise UserError(plain(f"STUDENT={word.strip()}: " + (
                f"{len(found)} submissions have this name, so write the id" if found else
                f"no submission has this name or id; there are {first_of(sorted(names), most=10)}"), 1000))
        students = (students or set()) | found
    return Selection(students, {lab.name for lab in labs} if labs else None, regrade)


def main(source: Path, out: Path, course_file: Optional[Path], labs: List[str], cc: str, san: bool, jobs: int,
         wanted_tier: Optional[str], trust: bool, student_words: Sequence[str] = (), regrade: str = "",
         part: Optional[slices.Slice] = None) -> int:
    """Grades submissions, or one slice of them. Returns 0 if every check reached a verdict, 1 if the instructor must look at one."""
    stopped_by = 0

    def stop(number: int, _frame: Any) -> None:
        nonlocal stopped_by
        stopped_by = number
        for one in before:  # once is enough
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    own = threading.current_thread() is threading.main_thread()  # no other may set a handler
    before = {number: signal.getsignal(number) for number in ((signal.SIGINT, signal.SIGTERM) if own else ())}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    out = out.resolve()
    try:
        return _main(source, out, course_file, labs, cc, san, jobs, wanted_tier, trust, student_words, regrade, part)
    except KeyboardInterrupt:
        stale = "; the pages are from the previous run" if results_directory.unfinished(out) and (out / "index.html").exists() else ""
        print(f"\ninterrupted: run the same command again to resume{stale}", file=sys.stderr)
        return 128 + (stopped_by or signal.SIGINT)
    except OSError as error:
        raise UserError.of_results(error, out) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _main(source: Path, out: Path, course_file: Optional[Path], labs: List[str], cc: str, san: bool, jobs: int,
          wanted_tier: Optional[str], trust: bool, student_words: Sequence[str], regrade: str, part: Optional[slices.Slice]) -> int:
    tier = _choose_tier(wanted_tier, trust)
    chosen_labs = [find(word) for word in labs]
    course = read_course(course_file) if course_file else Course()
    source = source.resolve()
    if out == source or out in source.parents or source in out.parents:
        raise UserError(plain(f"the results cannot go to {out}: it contains the submissions or is inside them", 1000))
    with closing(Download(source)) as download:
        everything = _grade(download, source, out, course, course_file, chosen_labs, Grader(tier, cc, san, jobs), list(student_words),
                            regrade, part)
    return _summary(everything, out) if everything else 0


def _grade(download: Download, source: Path, out: Path, course: Course, course_file: Optional[Path], chosen_labs: List[Lab],
           grader: Grader, student_words: List[str], regrade: str, part: Optional[slices.Slice]) -> Optional[Record]:
    """Grades what is selected and writes all results. Returns the content of results.json; None if nobody is in this slice."""
    submissions, ignored = download.submissions()
    before = as_read = results_directory.read(out)
    slices.check_directory(out, part, before)
    pairs: List[roster.Pair] = [(one, None) for one in submissions]
    old: List[roster.Pair] = [(one.submission, None) for one in before]
    if course.people:
        pairs, old = roster.match(submissions, course.people, [one.submission for one in before if one.examined])
        submissions = [one for one, _ in pairs]
        staying = {id(one) for one, _ in old}
        before = [one for one in before if not one.examined or id(one.submission) in staying]
    results_directory.settle(submissions, before, out)
    if chosen_labs:
        shown = {lab.name for lab in chosen_labs}.union(*(one.examined for one in before))
        course.labs = [lab for lab in all_labs() if lab.name in shown] if any(one.examined for one in before) else chosen_labs
    selection = _select(chosen_labs, student_words, regrade, roster.words(pairs), roster.groups(pairs))
    gone = slices.gone(out, [one for one, _ in [*old, *pairs]]) if part else []
    known = {one.directory: (one, person) for one, person in [*((one.submission, None) for one in gone), *old, *pairs]}
    people = {directory: person for directory, (_, person) in known.items()}
    course.bind(roster.words(known.values()), roster.groups(known.values()))
    everybody = pairs
    if part:
        submissions = [one for one, person in pairs if slices.number_of(one, person, part.total) == part.number]
    lock = results_directory.Lock(out)
    try:
        if results_directory.read(out) != as_read:
            raise UserError(f"another `make grade` has changed {out} meanwhile: run the same command again")
        began = course.shown(time.time())
        record = slices.begin(part, course, course_file, grader, ignored, everybody, gone) if part else None
        if record:
            record.write(out)
        results_directory.mark(submissions, before, out, began)
        box.also_hidden.update((str(source), str(download.directory), str(out)))
        grader.prepare()
        students = cohort.take_in(submissions, course.labs, out, grader, before, selection)
        students.sort(key=lambda student: folded(student.submission.name))
        for student in students:
            student.person = people.get(student.submission.directory)
        if record and not students:
            record.finish(students, course, out)
            results_directory.end(out)
            print(f"no student is in slice {part}", file=sys.stderr)
            return None
        if not students:
            raise UserError(f"there is nothing to grade: {out} has no results yet, so leave out REGRADE=errors")
        count = sum(len(student.labs) for student in students)
        done = sum(student.outcome_file(lab).exists() and lab.name not in student.anew for student in students for lab in student.labs)
        anew = [f"{student.submission.name} {name[:2]}" for student in students for name in sorted(student.anew)]
        best = attempts.earlier(students, course, out, grader, selection) if course.best_attempt else {}
        graded = [*students, *best.values()]
        for student in graded:
            if any(lab.name in student.anew or not student.outcome_file(lab).exists() for lab in student.labs):
                results_directory.mark_page(student.directory / "report.html", began)
        cohort.reuse_outcomes(graded)
        batches = cohort.pending_batches(graded, grader.jobs)
        todo = sum(len(batch.labs) for batch in batches)
        absent = sum(not (one.sources or one.notes) for one in submissions)
        print(f"{len(students) - absent} submissions with {count} labs" + (f", {done} of them graded before" if done else "")
              + (f", {count - done - todo} the same as others" if done + todo < count else "")
              + f"; {tiers.describe_tier(grader.tier)}", file=sys.stderr)
        if anew:
            print(f"{len(anew)} {'lab is' if len(anew) == 1 else 'labs are'} graded anew"
                  + ("" if regrade == "all" else ", because one of its checks did not end in the previous run" if len(anew) == 1 else
                     ", because a check of each did not end in the previous run")
                  + f": {first_of(anew)}", file=sys.stderr)
        left_out = len(submissions) - sum(not student.kept for student in students)
        if left_out:
            print(f"{left_out} {'submission is' if left_out == 1 else 'submissions are'} not selected and not graded yet: "
                  "not in the tables", file=sys.stderr)
        for line in [*filter(None, [roster.unmatched(everybody)]), *strange_times(students, course, time.time())]:
            print(plain(f"warning: {line}", 1000), file=sys.stderr)
        progress = Progress(todo, "graded")
        try:
            cohort.grade_all(batches, grader, progress)
        finally:
            progress.end()
        cohort.reuse_outcomes(graded)
        counted = attempts.choose(students, best, course, out) if course.best_attempt else {}
        everything = _write_everything(students, course, out, grader, ignored, counted)
        if record:
            record.finish(students, course, out)
        results_directory.end(out)
        return everything
    finally:
        lock.release()


def merge(words: str, out: Path, course_file: Optional[Path], jobs: int, partial: bool) -> int:
    """Merges slices into one directory of results, as one machine would have written it. Returns the same as main()."""
    records, missing = slices.find_slices(words, partial)
    first, out = records[0], out.resolve()
    if any(out == where or out in where.parents or where in out.parents for where in (one.where.resolve() for one in records)):
        raise UserError(f"the results cannot go to {out}: it contains a slice or is inside one")
    file = course_file or (Path(first.course_file) if first.course_file else None)
    course = read_course(file) if file else Course()
    if course.digest != first.course_hash:
        raise UserError(plain(f"{file} is not the course file with which the slices were graded, or it has changed, or a file "
                              "that it names: run `make grade SLICE=…` for each again", 1000))
    course.labs = [find(name) for name in first.labs]
    grader = Grader(first.tier, first.compiler, first.sanitizers, jobs)
    if grader.version(course.labs) != first.lab_version:
        raise UserError("the slices were graded with another version of the lab, or with another compiler: merge them where they were "
                        "graded, or grade them again")
    before = results_directory.read(out)
    slices.check_directory(out, None, [])
    found = slices.students_of(records, course, out)
    students = sorted(found.values(), key=lambda student: folded(student.submission.name))
    if not students:
        raise UserError(f"there is nothing to merge: no student is in {words}")
    own = {student.submission.directory for student in students}
    strange = [one.submission.directory for one in before if one.submission.directory not in own]
    if strange:
        raise UserError(plain(f"{out} has {strange[0]}, who is in no slice: name another directory with OUT=, or remove "
                              f"{out / 'students' / strange[0]}", 1000))
    pairs = slices.everybody(records, course) + [(student.submission, student.person) for student in students]
    course.bind(roster.words(pairs), roster.groups(pairs))
    lock = results_directory.Lock(out)
    try:
        results_directory.mark([], [], out)
        for source, student in found.items():
            slices.copy(source, student.directory)
        grader.prepare()
        nobody = Selection(students=set())
        best = attempts.earlier(students, course, out, grader, nobody) if course.best_attempt else {}
        counted = attempts.choose(students, best, course, out) if course.best_attempt else {}
        ignored = list(dict.fromkeys(line for record in records for line in record.ignored))
        everything = _write_everything(students, course, out, grader, ignored, counted)
    except KeyboardInterrupt:
        print("\ninterrupted: run the same command again", file=sys.stderr)
        return 130
    finally:
        lock.release()
    for line in missing:
        print(f"warning: {line}: its students are not in the tables", file=sys.stderr)
    return _summary(everything, out)


def _summary(everything: Record, out: Path) -> int:
    """Prints what the instructor needs to know first. Returns the exit status."""
    relative = os.path.relpath(out)
    where = out if relative.startswith("..") else Path(relative)
    kept = [student["name"] for student in everything["students"] if student["kept"]]
    several = len(kept) != 1
    absent = [student["name"] for student in everything["students"] if not (student["kept"] or student["notes"]) and all(
        lab["state"] == exports.MISSING and not lab["notes"] for lab in student["labs"].values())]
    errors = [(student["name"], name) for student in everything["students"] for name, lab in student["labs"].items()
              if exports.to_look_at(lab)]
    noted = [student["name"] for student in everything["students"]
             if student["notes"] or any(lab["notes"] for lab in student["labs"].values())]
    resembled = Counter(lab["resembles"][0]["mistake"] for student in everything["students"]
                        for lab in student["labs"].values() if lab["resembles"])
    for line in everything["ignored"]:
        print(f"note: {line}")
    if noted:
        print(f"{len(noted)} {'submission has' if len(noted) == 1 else 'submissions have'} notes on what was handed in: "
              + first_of(noted, "; "))
    for mistake, count in resembled.most_common(3):
        print(f"{count} {'program resembles' if count == 1 else 'programs resemble'} the known mistake {mistake}")
    if any(lab["due"] for lab in everything["labs"]):
        sources = Counter(lab["time_from"] for student in everything["students"] for lab in student["labs"].values()
                          if lab["state"] != exports.MISSING)
        print("when labs were handed in: " + ", ".join(
            f"{count} by the {source} time" if source == FILE_TIME else f"{count} by {source}" if source
            else f"{count} of unknown time, which count as on time" for source, count in sources.most_common()))
    for name, lab in errors[:10]:
        print(f"look at {name}, {lab}: a check did not end and counts as 0 points")
    if kept:
        print(f"{len(kept)} {'students' if several else 'student'} of earlier runs {'are' if several else 'is'} "
              f"kept, although nothing was handed in now: {first_of(kept, '; ')}; to drop one, remove its "
              f"directory in {where / 'students'}")
    if absent:
        print(f"{len(absent)} of the roster handed in nothing: {first_of(absent, '; ')}")
    print(f"{len(everything['students']) - len(kept) - len(absent)} submissions graded: open {where / 'index.html'}; "
          f"grades are in {where / 'grades.csv'}")
    return 1 if errors else 0

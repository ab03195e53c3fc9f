"""Grades all submissions of a course in parallel, and resumes where it stopped when it is started again.

The unit of work is one lab of one student. Its outcome is one file, written atomically, whose name contains a
fingerprint of everything that can change the outcome. All reports are made from these files alone.
"""
from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from ..sandbox import native
from . import intake
from .archive_reader import ArchiveReader
from .intake import IntakeResult, Submission
from .results_directory import Before
from .roster import Person
from ..labs import CHECKS, ROOT, SOLUTIONS, Lab, is_refusal, judging_modules
from ..results import ERROR, plain, write_whole
from ..judging.parallel import fork

LABS_PER_PROCESS = 6  # because starting pytest takes as long as the checks of a small lab
LAB_SECONDS = 240.0  # time limit for the checks of a lab; each program has its own, shorter limits
MAX_ATTEMPTS = 2


@dataclass
class Student:
    """One submission: the directory of its results, what intake found, and which labs are graded."""

    submission: Submission
    directory: Path
    taken: IntakeResult = field(default_factory=IntakeResult)
    labs: List[Lab] = field(default_factory=list)  # the labs with an outcome, or, before they are graded, with at least one file
    examined: Set[str] = field(default_factory=set)  # the names of the labs whose files were looked for, now or in runs before
    anew: Set[str] = field(default_factory=set)  # the names of the labs that are graded though there is an outcome
    kept: bool = False  # of runs before, and not handed in now
    person: Optional[Person] = None  # in the roster
    fingerprints: Dict[str, str] = field(default_factory=dict)  # lab's name -> fingerprint of all its outcome depends on

    @property
    def partial(self) -> Path:
        """Where a grading process writes its outcomes. The machine and the pid are in the name because two gradings may grade
        the same known mistake at once."""
        return self.directory / f"partial.{os.uname().nodename}.{os.getpid()}"

    def outcome_file(self, lab: Lab) -> Path:
        return self.directory / "checks" / f"{lab.name}.{self.fingerprints[lab.name]}.json"


@dataclass
class Batch:
    """Some labs of one student that one process grades."""

    student: Student
    labs: List[Lab]
    attempt: int = 1


class Grader:
    """Starts the processes that grade, all with the same tier, compiler and options; `jobs` is how many run at once."""

    def __init__(self, tier: str, cc: str, san: bool, jobs: int) -> None:
        self.tier, self.cc, self.san, self.jobs = tier, cc, san, jobs
        self._common: Dict[str, bytes] = {}

    def prepare(self) -> None:
        """Loads pytest and builds the harness's programs once, before fork(), so that the children need not."""
        import pytest  # noqa: F401  the children inherit the loaded module

        from ..judging import plugin  # noqa: F401

        native.box_program(), native.peer_program(), native.spy_object(self.cc)

    def _hash_without_sources(self, lab: Lab) -> bytes:
        if lab.name not in self._common:
            files = [CHECKS / f"test_{lab.name}.py", *judging_modules(),
                     *sorted(path for path in native.NATIVE.rglob("*") if path.suffix in (".c", ".h", ".def"))]
            if (SOLUTIONS / lab.name).is_dir():
                files += sorted((SOLUTIONS / lab.name).glob("*.[ch]"))
            how = f"{native.find_compiler(self.cc)} {self.san} {self.tier}".encode()
            self._common[lab.name] = native.fingerprint(how, *(path.read_bytes() for path in files)).encode()
        return self._common[lab.name]

    def version(self, labs: Sequence[Lab]) -> str:
        """Returns a hash of all that outcomes of these labs depend on, but the sources."""
        return native.fingerprint(*map(self._hash_without_sources, labs))

    def fingerprint(self, lab: Lab, directory: Path) -> str:
        """Returns a hash of all that a lab's outcome depends on: its sources, the checks, the harness, the compiler."""
        parts = [part for path in sorted(directory.iterdir()) for part in (path.name.encode(), path.read_bytes())]
        return native.fingerprint(self._hash_without_sources(lab), *parts)[:12]

    def start(self, batch: Batch) -> int:
        """Starts a process that grades a batch. Returns its pid."""
        partial = batch.student.partial
        for old in partial.parent.glob("partial.*"):
            if old == partial or (old.stem == partial.stem and not os.path.exists(f"/proc/{old.suffix[1:]}")):
                shutil.rmtree(old, ignore_errors=True)
        partial.mkdir(parents=True)
        words = [str(ROOT / "harness"), "-p", "no:xdist", "-p", "no:cacheprovider", "--submission", str(batch.student.directory),
                 "--results", str(partial), "--tier", self.tier, "--cc", self.cc, *(["--san"] if self.san else [])]
        words += [word for lab in batch.labs for word in ("--lab", lab.number)]
        sys.stdout.flush()
        sys.stderr.flush()
        pid = fork()
        if pid:
            return pid
        try:
            os.setsid()  # so that Ctrl-C reaches the parent alone, which then ends its children
            output = str(partial / "output.txt")
            for number, name in (0, "/dev/null"), (1, output), (2, output):
                fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                os.dup2(fd, number)
                os.close(fd)
            os.chdir(ROOT)
            os.environ.pop("PYTEST_ADDOPTS", None)  # the instructor's habits, such as -x, are not for this
            import pytest

            os._exit(int(pytest.main(words)))
        except BaseException as error:  # a forked child must never return into its parent's code
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(70)


def _collect(batch: Batch, last: bool, why: str) -> List[Lab]:
    """Stores the outcomes that a batch's process wrote. Returns the labs that must be graded again."""
    partial, again = batch.student.partial, []
    for lab in batch.labs:
        try:
            data = json.loads((partial / f"{lab.name}.json").read_text(encoding="utf-8"))
            whole = [check["check"] for check in data["checks"]] == [check.name for check in lab.checks()]
        except (OSError, ValueError, KeyError, TypeError):
            data, whole = None, False
        failed = not whole or any(check["status"] == ERROR for check in data["checks"])
        if failed and not last:
            again.append(lab)
            continue
        if not whole:
            data = {"version": 1, "checks": [not_judged(lab, check.name, why) for check in lab.checks()]}
        text = json.dumps(data, indent=1, ensure_ascii=True).replace(json.dumps(f"{batch.student.directory}/")[1:-1], "")
        write_whole(batch.student.outcome_file(lab), text + "\n")
        batch.student.anew.discard(lab.name)
    shutil.rmtree(partial, ignore_errors=True)
    return again


def not_judged(lab: Lab, name: str, why: str) -> Dict[str, Any]:
    """Returns the outcome of a check that the harness could not finish: no points, and the maximum is unchanged."""
    check = next(one for one in lab.checks() if one.name == name)
    return {"lab": lab.name, "check": name, "sentence": check.sentence, "points": check.points, "status": ERROR,
            "expected": "the check ends with a verdict; it did not, so please examine this program", "saw": [why], "calls": [],
            "read": "", "by_hand": "", "seconds": 0.0, "explored": {}, "score": 0}


def grade_all(batches: List[Batch], grader: Grader, progress: Callable[[Batch, int], None]) -> None:
    """Grades all batches, at most grader.jobs at a time.

    Calls `progress` with a batch and the number of its labs that were finished since the last call; twice a second also
    with 0, so that it can show the elapsed time.
    """
    waiting = list(reversed(batches))
    running: Dict[int, Tuple[Batch, int, float, int]] = {}  # pidfd -> batch, pid, deadline, labs reported
    try:
        while waiting or running:
            while waiting and len(running) < grader.jobs:
                # Never two processes in one student's directory.
                busy = [batch.student for batch, _, _, _ in running.values()]
                batch = next((one for one in reversed(waiting) if one.student not in busy), None)
                if batch is None:
                    break
                waiting.remove(batch)
                pid = grader.start(batch)
                running[os.pidfd_open(pid)] = (batch, pid, time.monotonic() + LAB_SECONDS * len(batch.labs), 0)
            ready = select.select(list(running), [], [], 0.5)[0]
            for fd, (batch, pid, deadline, reported) in list(running.items()):
                finished = sum(1 for _ in batch.student.partial.glob("[0-9]*.json"))
                progress(batch, finished - reported)
                running[fd] = (batch, pid, deadline, finished)
                why = "the grading process ended without a verdict"
                if fd not in ready and time.monotonic() > deadline:
                    why = f"its checks had not ended after {LAB_SECONDS * len(batch.labs):.0f} s"
                    os.kill(pid, signal.SIGKILL)
                elif fd not in ready:
                    continue
                os.waitpid(pid, 0)
                os.close(fd)
                del running[fd]
                again = _collect(batch, batch.attempt >= MAX_ATTEMPTS, why)
                progress(batch, len(batch.labs) - len(again) - finished)
                # The second attempt grades each lab in its own process, so that one lab's trouble cannot affect another.
                waiting += [Batch(batch.student, [lab], batch.attempt + 1) for lab in again]
    finally:
        for fd, (_, pid, _, _) in running.items():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(fd)


# ---- a course ---------------------------------------------------------------------------------------------


@dataclass
class Selection:
    """What a run grades; all else keeps its outcome. `regrade` is "", "errors" or "all"."""

    students: Optional[Set[str]] = None  # their directories; None: all
    labs: Optional[Set[str]] = None  # their names; None: all
    regrade: str = ""

    def chosen(self, student: Student, labs: List[Lab]) -> List[Lab]:
        """Returns those of the labs that are graded if they have to be."""
        if self.students is not None and student.submission.directory not in self.students:
            return []
        return [lab for lab in labs if (self.labs is None or lab.name in self.labs)
                and (self.regrade != "errors" or any(has_error(path) for path in old_outcomes(student, lab)))]


def take_in(submissions: List[Submission], labs: List[Lab], out: Path, grader: Grader, before: Sequence[Before] = (),
            selection: Selection = Selection()) -> List[Student]:
    """Copies the sources of what is graded, and finds what runs before left of all else.

    Whatever goes wrong with one submission is a note to it, and does not concern the others. A submission that is not graded
    and never was is left out; one without files stands for a student who handed in nothing.
    """
    students = []
    known = {one.submission.directory: one for one in before}
    reader = ArchiveReader(grader.tier)
    try:
        for submission in submissions:
            old = known.pop(submission.directory, None)
            student = Student(submission, out / "students" / submission.directory, examined=set(old.examined) if old else set())
            if not submission.sources:
                student.taken = IntakeResult(list(submission.notes))
                student.examined = {lab.name for lab in labs}
                students.append(student)
                continue
            chosen = selection.chosen(student, labs)
            if not chosen:
                students += restored(old, labs, out, False) if old else []
                continue
            try:
                student.taken = intake.take(submission, chosen, student.directory / "labs", reader)
                for lab in chosen:
                    if lab.name in student.taken.labs:
                        add_lab(student, lab, grader)
                        student.anew.update([lab.name] if selection.regrade == "all" else [])
            except Exception as error:
                if isinstance(error, OSError) and str(out) in str(error.filename) and is_refusal(error):
                    raise  # the fault of the disk, not of the submission
                reason = plain(str(error) or type(error).__name__)
                student.taken = IntakeResult([*submission.notes, f"it could not be read: {reason}"])
                student.labs.clear()
            student.examined.update(lab.name for lab in chosen)
            found = Before(submission, student.taken, student.examined)
            if old:
                found = found.with_labs_of(old, {lab.name for lab in chosen})
                keep_labs(student, old, [lab for lab in labs if lab not in chosen])
            found.write(out)
            students.append(student)
    finally:
        reader.close()
    return students + [student for old in known.values() for student in restored(old, labs, out, True)]


def restored(old: Before, labs: List[Lab], out: Path, kept: bool) -> List[Student]:
    """Returns the student as a run before has left it; none if that run was interrupted before any lab of it was graded."""
    student = Student(old.submission, out / "students" / old.submission.directory, IntakeResult(old.taken.notes),
                      examined=old.examined, kept=kept)
    keep_labs(student, old, labs)
    return [student] if old.examined and (student.labs or not any(lab.name in old.taken.labs for lab in labs)) else []


def keep_labs(student: Student, old: Before, labs: List[Lab]) -> None:
    """Takes over what runs before found in these labs, and their outcomes."""
    for lab in labs:
        outcome = max(old_outcomes(student, lab), key=lambda path: path.stat().st_mtime, default=None)
        if lab.name in old.taken.labs and outcome:
            student.labs.append(lab)
            student.fingerprints[lab.name] = outcome.name.split(".")[1]
        if lab.name in old.taken.labs:
            student.taken.labs[lab.name] = old.taken.labs[lab.name]
        if lab.name in old.taken.times:
            student.taken.times[lab.name] = old.taken.times[lab.name]


def old_outcomes(student: Student, lab: Lab) -> List[Path]:
    """Returns the files with an outcome of this lab, whatever it depended on."""
    return sorted((student.directory / "checks").glob(f"{lab.name}.*.json"))


def has_error(path: Path) -> bool:
    """Returns whether a check in this file did not come to an end, or the file is not whole.

    A course has thousands of these files, so they are not parsed; in a text that is quoted the quotes are escaped.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return True
    return f'"status": "{ERROR}"' in text or not text.endswith("}\n")


def add_lab(student: Student, lab: Lab, grader: Grader) -> None:
    """Adds a lab whose sources are already in the student's directory; removes outcomes of other sources.

    An outcome with an error counts as none.
    """
    student.labs.append(lab)
    student.fingerprints[lab.name] = grader.fingerprint(lab, student.directory / "labs" / lab.name)
    wanted = student.outcome_file(lab)
    for path in wanted.parent.glob(f"{lab.name}.*"):
        if path != wanted:
            path.unlink()
    if wanted.exists() and has_error(wanted):
        student.anew.add(lab.name)


def reuse_outcomes(students: List[Student]) -> None:
    """Copies an outcome to every student who handed in the same files. Most of these are unchanged skeletons."""
    graded = {path.name: path for student in students for lab in student.labs if lab.name not in student.anew
              and (path := student.outcome_file(lab)).exists()}
    for student in students:
        for path in map(student.outcome_file, student.labs):
            if path.name in graded and not path.exists():
                write_whole(path, graded[path.name].read_text(encoding="utf-8"))


def pending_batches(students: List[Student], jobs: int) -> List[Batch]:
    """Returns what is to be graded, and of identical programs only one; the others get its outcome later.

    The batches are small enough to keep every processor busy until the end.
    """
    names: Set[str] = set()
    todo: List[Tuple[Student, List[Lab]]] = []
    for student in students:
        labs = []
        for lab in student.labs:
            path = student.outcome_file(lab)
            if lab.name not in student.anew and path.exists():
                continue
            if path.name not in names:
                labs.append(lab)
            elif path.exists():
                path.unlink()
            names.add(path.name)
        todo.append((student, labs))
    size = max(1, min(LABS_PER_PROCESS, len(names) // (4 * jobs)))
    return [Batch(student, labs[start:start + size]) for student, labs in todo for start in range(0, len(labs), size)]


def outcomes(student: Student, lab: Lab) -> List[Dict[str, Any]]:
    """Returns the outcomes of a lab's checks."""
    data: Dict[str, Any] = json.loads(student.outcome_file(lab).read_text(encoding="utf-8"))
    return list(data["checks"])

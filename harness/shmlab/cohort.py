"""Grades every submission of a course, side by side, and goes on where it was when it is started again.

What is graded at a time is one lab of one student; its outcome is one file, written whole or not at all, and named
after everything that can change it. All that comes out in the end is made from these files alone.
"""
from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from . import box, build, intake, native
from .course import Course
from .intake import Submission, Taken
from .labs import CHECKS, ROOT, SOLUTIONS, Lab, UserError
from .results import ERROR, FAILED, PASSED, write_whole
from .side_by_side import fork

LABS_AT_A_TIME = 6  # that one process grades: starting pytest costs as much as a small lab
LAB_SECONDS = 240.0  # before a lab's checks are given up; each program has its own, shorter limits
MOST_ATTEMPTS = 2
JUDGING = ("labs", "native", "kernel", "calls", "box", "build", "program", "side_by_side", "plugin", "feedback", "results")


@dataclass
class Student:
    """One submission: where its results are, what was taken in, and which labs are graded."""

    submission: Submission
    folder: Path
    taken: Taken = field(default_factory=Taken)
    labs: List[Lab] = field(default_factory=list)  # those of which something was handed in
    states: Dict[str, str] = field(default_factory=dict)  # lab's name -> fingerprint of all that its outcome depends on

    @property
    def partial(self) -> Path:
        """Where a process that grades puts what it has; two gradings may know the same mistake at the same time."""
        return self.folder / f"partial.{os.getpid()}"

    def outcome_file(self, lab: Lab) -> Path:
        return self.folder / "checks" / f"{lab.name}.{self.states[lab.name]}.json"


@dataclass
class Unit:
    """Some labs of one student, graded by one process."""

    student: Student
    labs: List[Lab]
    attempt: int = 1


class Grader:
    """How every program of a course is graded."""

    def __init__(self, tier: str, cc: str, san: bool, jobs: int) -> None:
        self.tier, self.cc, self.san, self.jobs = tier, cc, san, jobs
        self._common: Dict[str, bytes] = {}

    def prepare(self) -> None:
        """Does once, before the processes part, what all of them would do."""
        import pytest  # noqa: F401  the children find it loaded

        from . import plugin  # noqa: F401

        native.box_program(), native.peer_program(), native.spy_object(self.cc)

    def fingerprint(self, lab: Lab, folder: Path) -> str:
        """A name for all that the outcome of a lab depends on: the sources, the checks, the harness, the compiler."""
        if lab.name not in self._common:
            files = [CHECKS / f"test_{lab.name}.py", *(Path(__file__).with_name(f"{name}.py") for name in JUDGING),
                     *sorted(native.NATIVE.rglob("*.[ch]")), native.NATIVE / "spy" / "calls.def"]
            if (SOLUTIONS / lab.name).is_dir():
                files += sorted((SOLUTIONS / lab.name).iterdir())
            how = f"{native.find_compiler(self.cc)} {self.san} {self.tier}".encode()
            self._common[lab.name] = native.fingerprint(how, *(path.read_bytes() for path in files)).encode()
        parts = [part for path in sorted(folder.iterdir()) for part in (path.name.encode(), path.read_bytes())]
        return native.fingerprint(self._common[lab.name], *parts)[:12]

    # ---- one process

    def start(self, unit: Unit) -> int:
        """Starts a process that grades a unit. Gives its pid."""
        partial = unit.student.partial
        for old in partial.parent.glob("partial.*"):
            if not os.path.exists(f"/proc/{old.suffix[1:]}") or old == partial:
                shutil.rmtree(old, ignore_errors=True)
        partial.mkdir(parents=True)
        words = [str(ROOT / "harness"), "-p", "no:xdist", "--submission", str(unit.student.folder), "--results",
                 str(partial), "--tier", self.tier, "--cc", self.cc, *(["--san"] if self.san else [])]
        words += [word for lab in unit.labs for word in ("--lab", lab.number)]
        sys.stdout.flush()
        sys.stderr.flush()
        pid = fork()
        if pid:
            return pid
        try:
            os.setsid()  # Ctrl-C is for the one who shares the work out
            for number, name in (0, "/dev/null"), (1, partial / "output.txt"), (2, partial / "output.txt"):
                fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                os.dup2(fd, number)
                os.close(fd)
            os.chdir(ROOT)
            import pytest

            os._exit(int(pytest.main(words)))
        except BaseException as error:  # a forked child must not fall back into its parent's code
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(70)


def _collect(unit: Unit, last: bool, why: str) -> List[Lab]:
    """Keeps what a unit's process has brought about. Gives the labs that have to be graded again."""
    partial, again = unit.student.partial, []
    for lab in unit.labs:
        try:
            data = json.loads((partial / f"{lab.name}.json").read_text(encoding="utf-8"))
            whole = [check["check"] for check in data["checks"]] == [check.name for check in lab.checks()]
        except (OSError, ValueError, KeyError, TypeError):
            data, whole = None, False
        trouble = not whole or any(check["status"] == ERROR for check in data["checks"])
        if trouble and not last:
            again.append(lab)
            continue
        if not whole:
            data = {"version": 1, "checks": [not_judged(lab, check.name, why) for check in lab.checks()]}
        text = json.dumps(data, indent=1, ensure_ascii=True).replace(json.dumps(f"{unit.student.folder}/")[1:-1], "")
        write_whole(unit.student.outcome_file(lab), text + "\n")
    shutil.rmtree(partial, ignore_errors=True)
    return again


def not_judged(lab: Lab, name: str, why: str) -> Dict[str, Any]:
    """The outcome of a check that the harness could not bring to an end: no points, and the maximum stays."""
    check = next(one for one in lab.checks() if one.name == name)
    return {"lab": lab.name, "check": name, "sentence": check.sentence, "points": check.points, "status": ERROR,
            "expected": "the check comes to an end: somebody has to look at this program", "saw": [why], "calls": [],
            "read": "", "by_hand": "", "seconds": 0.0, "score": 0}


def grade_all(units: List[Unit], grader: Grader, progress: Callable[[Unit, int], None]) -> None:
    """Grades all units, so many at a time. `progress` hears of each lab that is done, and of the time that passes."""
    waiting = list(reversed(units))
    running: Dict[int, Tuple[Unit, int, float, int]] = {}  # pidfd -> unit, pid, when to give up, labs told of
    try:
        while waiting or running:
            while waiting and len(running) < grader.jobs:
                # Never two processes in one student's folder.
                busy = [unit.student for unit, _, _, _ in running.values()]
                unit = next((one for one in reversed(waiting) if one.student not in busy), None)
                if unit is None:
                    break
                waiting.remove(unit)
                pid = grader.start(unit)
                running[os.pidfd_open(pid)] = (unit, pid, time.monotonic() + LAB_SECONDS * len(unit.labs), 0)
            ready = select.select(list(running), [], [], 0.5)[0]
            for fd, (unit, pid, end, told) in list(running.items()):
                now = sum(1 for _ in unit.student.partial.glob("[0-9]*.json"))
                progress(unit, now - told)
                running[fd] = (unit, pid, end, now)
                why = "the grading process ended without a verdict"
                if fd not in ready and time.monotonic() > end:
                    why = f"its checks had not ended after {end and LAB_SECONDS * len(unit.labs):.0f} s"
                    os.kill(pid, signal.SIGKILL)
                elif fd not in ready:
                    continue
                os.waitpid(pid, 0)
                os.close(fd)
                del running[fd]
                again = _collect(unit, unit.attempt >= MOST_ATTEMPTS, why)
                progress(unit, len(unit.labs) - len(again) - now)
                # Whatever went wrong, it shall not touch another lab: each by itself.
                waiting += [Unit(unit.student, [lab], unit.attempt + 1) for lab in again]
    finally:
        for fd, (_, pid, _, _) in running.items():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(fd)


# ---- a course ---------------------------------------------------------------------------------------------


class Lock:
    """One grading at a time in a folder of results."""

    def __init__(self, out: Path) -> None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(out / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise UserError(f"cannot write to {out}: {error.strerror}; name another folder with OUT=") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another grading is at work in {out}: wait for it, or name another folder with OUT=") from None

    def release(self) -> None:
        os.close(self._fd)


def take_in(submissions: List[Submission], labs: List[Lab], out: Path, grader: Grader) -> List[Student]:
    """Copies what was handed in, and names what is to be graded."""
    students = []
    for submission in submissions:
        student = Student(submission, out / "students" / submission.folder)
        student.taken = intake.take(submission, labs, student.folder / "labs")
        for lab in labs:
            if lab.name in student.taken.labs:
                add_lab(student, lab, grader)
        students.append(student)
    return students


def add_lab(student: Student, lab: Lab, grader: Grader) -> None:
    """A lab to grade, whose sources are in the student's folder already. Outcomes of other sources go."""
    student.labs.append(lab)
    student.states[lab.name] = grader.fingerprint(lab, student.folder / "labs" / lab.name)
    wanted = student.outcome_file(lab)
    for path in wanted.parent.glob(f"{lab.name}.*"):
        if path != wanted:
            path.unlink()


def share(students: List[Student]) -> None:
    """Gives the outcome of each program to all who have handed in the same: unfinished ones, above all."""
    graded = {path.name: path for student in students for path in map(student.outcome_file, student.labs) if path.exists()}
    for student in students:
        for path in map(student.outcome_file, student.labs):
            if path.name in graded and not path.exists():
                write_whole(path, graded[path.name].read_text(encoding="utf-8"))


def units_to_do(students: List[Student], jobs: int) -> List[Unit]:
    """What is not graded yet, one of those that are the same, in portions that keep every processor busy to the end."""
    names: Set[str] = set()
    todo: List[Tuple[Student, List[Lab]]] = []
    for student in students:
        labs = [lab for lab in student.labs if not (path := student.outcome_file(lab)).exists() and path.name not in names]
        names.update(student.outcome_file(lab).name for lab in labs)
        todo.append((student, labs))
    portion = max(1, min(LABS_AT_A_TIME, len(names) // (4 * jobs)))
    return [Unit(student, labs[start:start + portion]) for student, labs in todo
            for start in range(0, len(labs), portion)]


def remove_strangers(students: List[Student], out: Path) -> None:
    """Removes the folders of students who are not in the course any more."""
    known = {student.folder.name for student in students}
    for folder in (out / "students").iterdir() if (out / "students").is_dir() else []:
        if folder.name not in known:
            shutil.rmtree(folder)


def outcomes(student: Student, lab: Lab) -> List[Dict[str, Any]]:
    """The outcomes of a lab's checks."""
    data: Dict[str, Any] = json.loads(student.outcome_file(lab).read_text(encoding="utf-8"))
    return list(data["checks"])

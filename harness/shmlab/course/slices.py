"""A course that is graded in slices, each by a process of its own, for example on another machine, and then merged.

A slice is a directory of results with one more file: which slice it is, what it was graded with, and who is in it. The file is
written before anything is graded and again at the end, so that an unfinished slice can be told from a finished one.
"""
from __future__ import annotations

import glob
import hashlib
import json
import re
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import results_directory
from .cohort import Grader, Student
from .course_file import Course
from .intake import IntakeResult, Submission
from .results_directory import SLICE, Before, identity
from .roster import Pair, Person
from .tables import first_of
from ..labs import UserError, find
from ..results import plain, write_whole

VERSION = 1
MOST = 10_000  # slices of one course


@dataclass(frozen=True)
class Slice:
    """One of `total` slices; they are numbered from 1."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


def number_of(one: Submission, person: Optional[Person], total: int) -> int:
    """Returns the number of the slice in which a student is. It depends on nothing but the name or the id."""
    words = (person.id or person.name,) if person else identity(one)
    return 1 + int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:8], "big") % total


def parse(text: str) -> Slice:
    """Reads what SLICE= names. Raises UserError."""
    match = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text, re.ASCII)
    if not match or not 1 <= int(match[1]) <= int(match[2]) <= MOST:
        raise UserError(plain(f"SLICE={text} is not a slice: write SLICE=3/16 for the third of 16, at most {MOST}"))
    return Slice(int(match[1]), int(match[2]))


@dataclass
class Listed:
    """A student of the course, in whichever slice. `person` is the number of the line in the roster."""

    name: str
    platform: str
    platform_id: str
    directory: str
    person: Optional[int]
    handed_in: bool
    slice: int

    @property
    def submission(self) -> Submission:
        return Submission(self.name, self.directory, [], self.platform, self.platform_id)


@dataclass
class Member:
    """A student of this slice: the outcome that counts of each lab, by its fingerprint. `notes` is None unless nothing was handed in."""

    directory: str
    place: int  # among those of one name
    person: Optional[int]
    kept: bool
    notes: Optional[List[str]]
    outcomes: Dict[str, str]


@dataclass
class Record:
    """What the file in a slice's directory says."""

    part: Slice
    tier: str
    compiler: str
    sanitizers: bool
    lab_version: str  # a hash of the checks, the harness and the compiler
    course_file: str
    course_hash: str
    labs: List[str]
    ignored: List[str]
    everybody: List[Listed]  # in all slices, also those of runs before
    members: List[Member] = field(default_factory=list)
    finished: bool = False
    where: Path = Path()

    def write(self, out: Path) -> None:
        data = {**asdict(self), "version": VERSION}
        del data["where"]
        write_whole(out / SLICE, json.dumps(data, indent=1) + "\n")

    def finish(self, students: Sequence[Student], course: Course, out: Path) -> None:
        """Adds the students that were graded, and writes the file for the last time."""
        places = {one.directory: number for number, one in enumerate(self.everybody)}
        absent = {one.directory for one in self.everybody if not one.handed_in}
        for student in students:
            one = student.submission
            self.members.append(Member(
                one.directory, places.get(one.directory, len(places)), _line(student.person, course), student.kept,
                student.taken.notes if one.directory in absent and not student.kept else None,
                {lab.name: student.fingerprints[lab.name] for lab in student.labs}))
        self.finished = True
        self.write(out)


def _line(person: Optional[Person], course: Course) -> Optional[int]:
    return course.people.index(person) if person else None


def begin(part: Slice, course: Course, course_file: Optional[Path], grader: Grader, ignored: List[str], pairs: Sequence[Pair],
          gone: List[Listed]) -> Record:
    """Returns the record of a slice in which nothing is graded yet. `pairs` has everybody, of all slices."""
    lines = {person: number for number, person in enumerate(course.people)}
    everybody = [Listed(one.name, one.platform, one.platform_id, one.directory, lines[person] if person else None, bool(one.sources),
                        number_of(one, person, part.total))
                 for one, person in pairs]
    return Record(part, grader.tier, grader.cc, grader.san, grader.version(course.labs), str(course_file.resolve()) if course_file else "",
                  course.digest, [lab.name for lab in course.labs], ignored, everybody + gone)


def _read(directory: Path) -> Record:
    """Reads the record in a directory. Raises UserError if there is none, or if it is damaged."""
    try:
        data = json.loads((directory / SLICE).read_text(encoding="utf-8"))
        if data.pop("version") != VERSION:
            raise UserError(plain(f"{directory / SLICE}: another version of the lab wrote this slice: grade it again", 1000))
        data["part"] = Slice(**data["part"])
        data["everybody"] = [Listed(**one) for one in data["everybody"]]
        data["members"] = [Member(**one) for one in data["members"]]
        record = Record(**data, where=directory)
        if any(Path(one.directory).name != one.directory for one in record.members):
            raise ValueError("a directory leads elsewhere")
        return record
    except FileNotFoundError:
        raise UserError(plain(f"{directory} is not a slice: it has no {SLICE}, which `make grade SLICE=…` writes", 1000)) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(plain(f"{directory / SLICE} is not as `make grade` wrote it ({type(error).__name__}: {error}): grade this slice "
                              "again in another directory", 1000)) from None


def gone(out: Path, known: Sequence[Submission]) -> List[Listed]:
    """Returns those whom the record of a run before lists and who are not known any more: a table may still name them.

    Their directories have names that no directory in this slice can have.
    """
    have = {identity(one) for one in known}
    listed = _read(out).everybody if (out / SLICE).exists() else []
    return [replace(one, directory=f"/{one.directory.lstrip('/')}", person=None, handed_in=False) for one in listed
            if identity(one.submission) not in have]


def check_directory(out: Path, part: Optional[Slice], before: Sequence[Before]) -> None:
    """Raises UserError if a directory of results has another slice, or all of a course and not a slice."""
    found = _read(out).part if (out / SLICE).exists() else None
    if found != part and (found or before):
        raise UserError(plain(f"{out} has {f'slice {found}' if found else 'results that are not a slice'}: " + (
            f"name another directory for slice {part} with OUT=" if part else
            f"set SLICE={found}, or name another directory with OUT="), 1000))


# ---- merging ----------------------------------------------------------------------------------------------


def find_slices(words: str, partial: bool) -> Tuple[List[Record], List[str]]:
    """Returns the finished slices that patterns name, by their numbers, and lines about those that are missing.

    Raises UserError if two contradict each other, or if one is missing, unfinished or no slice, unless `partial`.
    """
    paths = sorted({Path(path) for pattern in ([words] if glob.glob(words) else words.split()) for path in glob.glob(pattern)})
    records = [_read(path) for path in paths if path.is_dir()]
    if not records:
        raise UserError(plain(f"FROM={words} names no directory: write the slices' directories, for example FROM='out.*'"))
    records.sort(key=lambda record: record.part.number)
    first = records[0]
    for one, other in zip(records, records[1:]):
        if one.part.number == other.part.number and one.part.total == other.part.total:
            raise UserError(plain(f"{one.where} and {other.where} are both slice {one.part}: name only one of them", 1000))
    for other in records[1:]:
        for what, mine, theirs in (
                ("their totals differ", first.part.total, other.part.total),
                ("their versions of the lab or their compilers differ", first.lab_version, other.lab_version),
                ("their compilers differ", (first.compiler, first.sanitizers), (other.compiler, other.sanitizers)),
                ("their tiers differ", first.tier, other.tier), ("their labs differ", first.labs, other.labs),
                ("their course files, or the files that these name, differ", first.course_hash, other.course_hash),
                ("FROM changed in between", _handed_in(first), _handed_in(other))):
            if mine != theirs:
                raise UserError(plain(f"{first.where} (slice {first.part}) and {other.where} (slice {other.part}) contradict each other: "
                                      f"{what}; grade both again", 1000))
    told = [f"slice {record.part} in {record.where} is not finished" for record in records if not record.finished]
    absent = sorted(set(range(1, first.part.total + 1)) - {record.part.number for record in records})
    if absent:
        told.append(f"{'slice' if len(absent) == 1 else 'slices'} {first_of(absent, most=20)} "
                    f"of {first.part.total} {'is' if len(absent) == 1 else 'are'} missing")
    if told and not partial:
        raise UserError(plain(f"{'; '.join(told)}: run `make grade SLICE=…` for each again, or set PARTIAL=1 to merge without them", 1000))
    records = [record for record in records if record.finished]
    if not records:
        raise UserError(plain(f"there is nothing to merge: {'; '.join(told)}", 1000))
    return records, told


def _handed_in(record: Record) -> List[Tuple[Any, ...]]:
    return sorted((one.name, one.platform, one.platform_id, one.person or 0) for one in record.everybody if one.handed_in)


def everybody(records: Sequence[Record], course: Course) -> List[Pair]:
    """Returns all whom a table of the course may name, also those of slices that are missing."""
    have = {record.part.number for record in records}
    pairs: List[Pair] = [
        (one.submission, None if one.person is None else course.people[one.person])
        for record in records for one in record.everybody
        if one.slice == record.part.number or (record is records[0] and one.slice not in have)]
    return pairs


def students_of(records: Sequence[Record], course: Course, out: Path) -> Dict[Path, Student]:
    """Returns the students of all slices in the order of one machine's results, by the directories in which they are now.

    Raises UserError if one is in two slices, or if an outcome is missing.
    """
    found: Dict[Path, Student] = {}
    owners: Dict[str, Record] = {}
    order: Dict[Path, Tuple[bool, int, str]] = {}
    for record in records:
        marks = {one.submission.directory: one for one in results_directory.read(record.where)}
        members = {one.directory for one in record.members}
        left_out = [one.name for one in record.everybody
                    if one.slice == record.part.number and one.directory not in members and not one.directory.startswith("/")]
        if left_out:
            raise UserError(plain(f"{record.where} has no result of {left_out[0]}{' and others' if left_out[1:] else ''}: run `make grade "
                                  f"SLICE={record.part}` again, without STUDENT=", 1000))
        for one in record.members:
            path, mark = record.where / "students" / one.directory, marks.get(one.directory)
            if mark is None:
                raise UserError(plain(f"{path} is missing: grade slice {record.part} again", 1000))
            for word in (one.directory.casefold(), "\0".join(identity(mark.submission))):
                owner = owners.setdefault(word, record)
                if owner is not record:
                    raise UserError(plain(f"{mark.submission.name} is in two slices, {owner.where} and {record.where}: remove students/"
                                          f"{one.directory} from the one that is older, and grade that slice again", 1000))
            student = Student(mark.submission, out / "students" / one.directory, mark.taken, examined=mark.examined, kept=one.kept)
            if one.notes is not None:
                student.taken, student.examined = IntakeResult(one.notes), set(record.labs)
            student.person = None if one.person is None else course.people[one.person]
            for name, fingerprint in one.outcomes.items():
                student.labs.append(find(name))
                student.fingerprints[name] = fingerprint
                if not (path / "checks" / student.outcome_file(find(name)).name).is_file():
                    raise UserError(plain(f"{path} has no outcome of lab {name[:2]}: grade slice {record.part} again", 1000))
            found[path] = student
            order[path] = (one.kept, one.place, one.directory)
    return {path: found[path] for path in sorted(found, key=lambda path: order[path])}


def copy(source: Path, target: Path) -> None:
    """Makes a student's directory in the merged results have the outcomes, sources and attempts of the slice. The mark comes last."""
    for name in ("labs", "checks", "best"):
        shutil.rmtree(target / name, ignore_errors=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, symlinks=True)
    write_whole(target / results_directory.MARK, (source / results_directory.MARK).read_text(encoding="utf-8"))

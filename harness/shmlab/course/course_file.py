"""Reads the optional course file: which labs count, with what weight, their deadlines, and the penalty for lateness.

The CSV files that it names are read from its own directory.

    [course]
    title = Operating systems, autumn
    labs = 01 02 05            ; default: all
    late per day = 10          ; per cent of the points lost for each day begun; default: 0
    grace = 15                 ; minutes after the deadline that cost nothing; default: 0
    last day = 5               ; later than this many days after the deadline: 0 points; default: never
    canvas = Labs (4711)       ; name and id of the assignment in Canvas; default: the title
    time zone = Europe/Berlin  ; of all times and days; default: that of the machine
    attempt = best             ; of what several runs found the best counts, or the last; default: last
    times = times.csv          ; when students handed in: student, handed in, lab (optional)
    roster = roster.csv        ; who is in the course: name or id, and email, login, group, section
    overrides = points.csv     ; points by hand: student, lab, check (optional), points, reason
    extensions = more.csv      ; days that a deadline is later for one: student, lab (optional), days
    race = on                  ; rings of lab 18 with all points are measured for those who asked, see board.py; default: off
    moodle maximum = 100       ; the maximum grade of the assignment in Moodle, to which points are scaled; default: 100

    [canvas]
    05 = Lab #1 (4711)         ; an assignment in Canvas for each lab, instead of one for all
    08 = Lab #2 (4712) of 20   ; it has 20 points in Canvas, to which the lab's are scaled; default: the lab's maximum

    [weights]
    05 = 2                     ; lab 05 counts twice
    05 test_usage = 0          ; this check of lab 05 does not count

    [due]
    05 = 2026-11-20 23:59      ; the minute counts in full; without a time: the end of the day

    [handed in]
    ada = 2026-11-21 08:30     ; all labs of ada; default: see when_handed_in()
    ada 05 = 2026-11-19 08:30  ; lab 05 of ada
"""
from __future__ import annotations

import configparser
import math
import re
import zoneinfo
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from .intake import Submission
from .roster import Person, read_roster
from .tables import Entry, Row, Table, folded, read_rows, read_text
from ..labs import Lab, UserError, all_labs, find
from ..results import plain
from ..sandbox import native

_KNOWN = {"course": ("title", "labs", "late per day", "grace", "last day", "canvas", "moodle maximum", "time zone", "times", "roster",
                     "overrides", "extensions", "attempt", "race"), "canvas": None, "weights": None, "due": None, "handed in": None}
MAX_EXTENSION = 366  # days
MAX_GRACE = 10_000  # minutes, about a week
MAX_WEIGHT = 1000
MIN_MAXIMUM, MAX_MAXIMUM = 0.01, 100_000  # points of an assignment on a platform
MAX_TITLE = 200  # characters
_TIME = re.compile(r"(20\d\d-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?) ?(Z|[+-]\d\d:?\d\d)?)?")
_HOW_TO_WRITE = "write it as 2026-11-20 23:59, or as 2026-11-20 23:59+01:00"
CANVAS_MARK, FILE_TIME = "Canvas's mark", "file"


@dataclass(frozen=True)
class CanvasColumn:
    """An assignment in Canvas: its name and id, as in the head of its column, and its points, if they are not those of the labs."""

    name: str
    maximum: Optional[float] = None


@dataclass
class HandedIn:
    """When a lab was handed in, in seconds since the epoch, and where that is from.

    `source` is "course file", the name of a CSV file, CANVAS_MARK (then no time is known), FILE_TIME, or empty.
    """

    when: Optional[float] = None
    source: str = ""
    marked_late: bool = False


@dataclass
class Course:
    """A course: its labs, weights, deadlines and penalties. A deadline is a local time, all other times are seconds since the
    epoch."""

    title: str = "Shared Memory Lab"
    labs: List[Lab] = field(default_factory=lambda: list(all_labs()))
    late_per_day: float = 0.0
    grace: float = 0.0  # minutes
    last_day: float = math.inf
    canvas: Dict[str, CanvasColumn] = field(default_factory=dict)  # by lab; with the key "", the one for all labs
    moodle_maximum: float = 100.0
    race: bool = False  # the rings of students who asked for it are measured
    best_attempt: bool = False  # counts, and not the last one
    zone: Optional[tzinfo] = None  # None: that of the machine
    lab_weights: Dict[str, float] = field(default_factory=dict)
    check_weights: Dict[Tuple[str, str], float] = field(default_factory=dict)
    due: Dict[str, datetime] = field(default_factory=dict)
    handed_in: Table = field(default_factory=Table)
    times: Table = field(default_factory=Table)
    people: List[Person] = field(default_factory=list)  # the roster; empty: there is none
    overrides: Table = field(default_factory=Table)
    extensions: Table = field(default_factory=Table)
    digest: str = ""  # a hash of the course file and of the tables that it names

    def weighted_points(self, lab: Lab, check: str, points: float) -> float:
        """Returns what a check that is worth `points` counts in this course."""
        return points * self.lab_weights.get(lab.name, 1.0) * self.check_weights.get((lab.name, check), 1.0)

    def local(self, when: float) -> datetime:
        """Returns a time as the course's clocks show it."""
        return datetime.fromtimestamp(when, self.zone).replace(tzinfo=None)

    def moments(self, local: datetime) -> List[float]:
        """Returns what a local time can mean, in seconds since the epoch: two moments in the hour that summer time repeats."""
        return sorted(local.replace(tzinfo=self.zone, fold=fold).timestamp() for fold in (0, 1))

    def shown(self, when: float) -> str:
        """Returns a time as results.json and the pages show it."""
        return self.local(when).isoformat(" ", "seconds")

    def deadline(self, lab: Lab, submission: Submission) -> Optional[datetime]:
        """Returns the local time until which this submission is in time; None if there is no deadline."""
        due = self.due.get(lab.name)
        return due and due + timedelta(days=self.extension(lab, submission))

    def extension(self, lab: Lab, submission: Submission) -> int:
        """Returns by how many days the deadline is later for this student."""
        entry = self.extensions.find(submission.directory, lab.name)
        return int(entry.value) if entry else 0

    def bind(self, names: Mapping[str, Set[str]], groups: Mapping[str, Set[str]] = MappingProxyType({})) -> None:
        """Finds the students of all tables; see Table.bind()."""
        for entry in self.handed_in.entries:
            name, _, word = entry.student.rpartition(" ")
            if name and not entry.lab and folded(entry.student) not in {*names, *groups} and folded(name) in {*names, *groups}:
                try:
                    entry.student, entry.lab = name, find(word).name
                except UserError as error:
                    raise UserError(plain(f"{entry.row.where}: {error}", 1000)) from None
        for table in self.handed_in, self.times, self.overrides, self.extensions:
            table.bind(names, groups)

    def when_handed_in(self, lab: Lab, submission: Submission, file_time: Optional[float]) -> HandedIn:
        """Returns when a lab was handed in.

        What the instructor says comes first, then the platform's mark. The time of a file counts last, and never if the file
        is from a platform's download: then it is the time of the download.
        """
        for table in self.handed_in, self.times:
            entry = table.find(submission.directory, lab.name)
            if entry:
                return HandedIn(entry.value, table.source)
        if submission.late is not None:
            # How late it is Canvas does not say, so an extension covers it.
            return HandedIn(None, CANVAS_MARK, submission.late and not self.extension(lab, submission))
        if not submission.platform and file_time is not None:
            return HandedIn(file_time, FILE_TIME)
        return HandedIn()

    def days_late(self, due: Optional[datetime], handed_in: HandedIn) -> int:
        """Returns the days after the deadline, each begun one in full; 0 if the work is in time or there is no deadline.

        A day ends when the clock shows the time of the deadline again, also if summer time made it an hour longer. The minute
        of the deadline counts in full. Work that Canvas marks as late is late by one day, as nothing else is known of it.
        """
        if due is None or handed_in.when is None:
            return int(due is not None and handed_in.marked_late)
        minute = due.replace(second=0)

        def ends(days: int) -> float:
            return self.moments(minute + timedelta(days=days))[-1] + 60

        if handed_in.when < ends(0) + self.grace * 60:
            return 0
        days = max(1, (self.local(handed_in.when).date() - due.date()).days)
        return days if handed_in.when < ends(days) else days + 1

    def late_factor(self, days: int) -> float:
        """Returns the fraction of the points that is left after this many days, 0.0 to 1.0."""
        return 0.0 if days > self.last_day else max(0.0, 1.0 - days * self.late_per_day / 100)


def read_time(text: str, clock: str) -> datetime:
    """Reads a time; `clock` is meant if it is only a day. Without an offset the result is naive. Raises ValueError."""
    match = _TIME.fullmatch(text.strip())
    if not match:
        raise ValueError(text)
    offset = (match[3] or "").replace("Z", "+00:00").replace(":", "")
    return datetime.fromisoformat(f"{match[1]} {match[2] or clock}" + (f"{offset[:3]}:{offset[3:]}" if offset else ""))


def read_course(path: Path, tables: bool = True) -> Course:
    """Reads a course file, and the `tables` that it names. Raises UserError, with one line of text, for anything that it does not
    understand."""
    try:
        return _read(path, tables)
    except UserError as error:
        raise UserError(plain(str(error), 1000)) from None


def _parsed(path: Path, text: str) -> configparser.ConfigParser:
    # A `#` may be part of a value, as in "Lab #1"; at the beginning of a line it begins a comment.
    parser = configparser.ConfigParser(inline_comment_prefixes=(";",), interpolation=None, delimiters=("=",), default_section="")
    parser.optionxform = str  # type: ignore[assignment]  # keep upper case in the students' names
    try:
        parser.read_string(text, source=str(path))
    except configparser.MissingSectionHeaderError as error:
        raise UserError(f"{path}, line {error.lineno}: '{error.line.strip()}' is in no section; write a line such as [course] "
                        "before it") from None
    except configparser.ParsingError as error:
        number, line = error.errors[0]
        raise UserError(f"{path}, line {number}: {line.replace(repr(chr(10))[1:-1], '')} is not understood; write key = value") from None
    except configparser.DuplicateOptionError as error:
        raise UserError(f"{path}, line {error.lineno}, [{error.section}] {error.option}: is there already; remove one of them") from None
    except configparser.DuplicateSectionError as error:
        raise UserError(f"{path}, line {error.lineno}: there is a section [{error.section}] already; write all its lines there") from None
    except configparser.Error as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None
    return parser


def _lines(text: str) -> Dict[Tuple[str, str], int]:
    """Returns the number of the line of each key, and, for an empty key, of each section."""
    found: Dict[Tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        head = re.match(r"\[([^]]+)\]", line)
        section = head[1] if head else section
        key = "" if head else line.partition("=")[0].strip()
        if head or "=" in line:
            found.setdefault((section, key), number)
    return found


def _read(path: Path, tables: bool) -> Course:
    text = read_text(path)
    parser, lines = _parsed(path, text), _lines(text)

    def where(section: str, key: str) -> str:
        line = lines.get((section, key))
        return f"{path}, {f'line {line}, ' if line else ''}[{section}] {key}"

    def wrong(section: str, key: str, why: str) -> UserError:
        return UserError(f"{where(section, key)}: {why}")

    def value_of(section: str, key: str) -> str:
        """Returns a value as text; empty if it is not there."""
        return parser.get(section, key, fallback="").strip()

    def number(section: str, key: str, default: float, least: float, most: float, whole: bool = False) -> float:
        text = value_of(section, key)
        if not text:
            return default
        value = number_in(text, least, most, whole)
        if value is None:
            raise wrong(section, key, f"'{text}' is not a {'whole number' if whole else 'number'} from {least:g} to {most:g}")
        return value

    def lab_named(section: str, word: str, key: str = "") -> Lab:
        try:
            return find(word)
        except UserError as error:
            raise wrong(section, key or word, str(error)) from None

    def keys(section: str) -> Iterator[Tuple[str, Lab, str]]:
        """Each key of a section, the lab that it names and the words after that. None may be there twice, as `05` and `5`."""
        seen: Dict[Tuple[str, str], str] = {}
        for key in parser[section] if parser.has_section(section) else []:
            word, _, rest = key.partition(" ")
            lab = lab_named(section, word, key)
            first = seen.setdefault((lab.name, rest.strip()), key)
            if first != key:
                raise wrong(section, key, f"lab {lab.number} is there already, in {where(section, first)}; remove one of them")
            yield key, lab, rest.strip()

    def column(section: str, key: str) -> CanvasColumn:
        text = " ".join(value_of(section, key).split())
        match = re.fullmatch(r"(.*\(\d+\)) of (\S+)", text)
        points = number_in(match[2], MIN_MAXIMUM, MAX_MAXIMUM) if match else None
        if not text or (match and points is None):
            raise wrong(section, key, f"'{text}' is not an assignment in Canvas; write its name and id, such as Lab #1 (4711), "
                        "or with its points Lab #1 (4711) of 20")
        return CanvasColumn(match[1] if match else text, points)

    for section in parser.sections():
        if section not in _KNOWN:
            line = lines.get((section, ""))
            raise UserError(f"{path}{f', line {line}' if line else ''}: there is no section [{section}]; the sections are "
                            + ", ".join(f"[{name}]" for name in _KNOWN))
        known = _KNOWN[section]
        for key in parser[section]:
            if known is not None and key not in known:
                raise wrong(section, key, f"is unknown; the keys are {', '.join(known)}")
    title = value_of("course", "title") or "Shared Memory Lab"
    if plain(title, MAX_TITLE) != title:
        raise wrong("course", "title", f"it has characters that cannot be shown, or more than {MAX_TITLE}")
    course = Course(title=title, late_per_day=number("course", "late per day", 0.0, 0, 100),
                    grace=number("course", "grace", 0.0, 0, MAX_GRACE),
                    last_day=number("course", "last day", math.inf, 0, MAX_EXTENSION, True),
                    moodle_maximum=number("course", "moodle maximum", 100.0, MIN_MAXIMUM, MAX_MAXIMUM))
    if value_of("course", "canvas"):
        course.canvas[""] = column("course", "canvas")
    for key, lab, rest in keys("canvas"):
        one = column("canvas", key)
        if rest:
            raise wrong("canvas", key, "a lab has one assignment; write only its number before the =")
        if "" in course.canvas:
            raise wrong("course", "canvas", "is one assignment for all labs, but [canvas] has one for each; remove one of them")
        if one.name in [other.name for other in course.canvas.values()]:
            raise wrong("canvas", key, f"'{one.name}' is there twice; each lab has an assignment of its own")
        course.canvas[lab.name] = one
    attempt = value_of("course", "attempt") or "last"
    if attempt not in ("best", "last"):
        raise wrong("course", "attempt", f"'{attempt}' is unknown; allowed are best and last")
    course.best_attempt = attempt == "best"
    word = value_of("course", "race") or "off"
    if word not in ("on", "off"):
        raise wrong("course", "race", f"'{word}' is unknown; allowed are on and off")
    course.race = word == "on"
    zone = value_of("course", "time zone")
    if zone:
        try:
            course.zone = zoneinfo.ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise wrong("course", "time zone", f"'{zone}' is not a time zone of this machine; write it as Europe/Berlin") from None
    words = value_of("course", "labs").replace(",", " ").split()
    if words:
        course.labs = [lab_named("course", word, "labs") for word in words]
        twice = [lab.number for lab in course.labs if course.labs.count(lab) > 1]
        if twice:
            raise wrong("course", "labs", f"lab {twice[0]} is there twice; name each lab once")
    for key, lab, check in keys("weights"):
        weight = number("weights", key, 1.0, 0, MAX_WEIGHT)
        if not check:
            course.lab_weights[lab.name] = weight
        elif check in [one.name for one in lab.checks()]:
            course.check_weights[lab.name, check] = weight
        else:
            raise wrong("weights", key, f"lab {lab.number} has no check '{check}'; it has "
                        + ", ".join(one.name for one in lab.checks()))
    for key, lab, rest in keys("due"):
        text = value_of("due", key)
        try:
            due = read_time(text, "23:59")
        except ValueError:
            raise wrong("due", key, f"'{text}' is not a time; {_HOW_TO_WRITE}") from None
        if rest:
            raise wrong("due", key, "a lab has one deadline; write only its number before the =")
        course.due[lab.name] = course.local(due.timestamp()) if due.tzinfo else due

    for key in parser["handed in"] if parser.has_section("handed in") else []:
        row = Row(where("handed in", key), {"time": value_of("handed in", key)})
        course.handed_in.entries.append(_time_entry(course, row, key, "", "time"))
    course.handed_in.source = "course file"
    if not tables:
        return course

    def table(key: str) -> Optional[Path]:
        name = value_of("course", key)
        return path.parent / name if name else None

    def rows(key: str, needed: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
        file = table(key)
        return read_rows(file, needed, optional) if file else iter(())

    roster = table("roster")
    course.people = read_roster(roster) if roster else []
    times = table("times")
    course.times = Table(plain(times.name, 100) if times else "", [
        _time_entry(course, row, row.cells["student"], _lab_of(row, False), "handed in")
        for row in rows("times", ("student", "handed in"), ("lab",)) if row.cells["handed in"]])
    course.extensions = Table("extensions", [
        Entry(row, row.cells["student"], _lab_of(row, False), value=_number_of(row, "days", 1, MAX_EXTENSION, True))
        for row in rows("extensions", ("student", "days"), ("lab",))])
    course.overrides = Table("overrides", [
        _override(course, row) for row in rows("overrides", ("student", "lab", "points", "reason"), ("check",))])
    files = [path, *filter(None, map(table, ("roster", "times", "extensions", "overrides")))]
    course.digest = native.fingerprint(*(file.read_bytes() for file in files))
    return course


def number_in(text: str, least: float, most: float, whole: bool = False) -> Optional[float]:
    """Returns the number that a text is; None if it is not one between these."""
    try:
        value = float(text) if text.isascii() else math.nan
    except ValueError:
        return None
    return value if least <= value <= most and (not whole or value == int(value)) else None


def _lab_of(row: Row, needed: bool) -> str:
    word = row.cells["lab"]
    try:
        return find(word).name if word or needed else ""
    except UserError as error:
        raise row.wrong("lab", str(error)) from None


def _number_of(row: Row, column: str, least: float, most: float, whole: bool = False) -> float:
    value = number_in(row.cells[column], least, most, whole)
    if value is None:
        raise row.wrong(column, f"'{row.cells[column]}' is not a {'whole number' if whole else 'number'} from {least:g} to {most:g}")
    return value


def _time_entry(course: Course, row: Row, student: str, lab: str, column: str) -> Entry:
    try:
        when = read_time(row.cells[column], "00:00")
    except ValueError:
        raise row.wrong(column, f"'{row.cells[column]}' is not a time; {_HOW_TO_WRITE}") from None
    return Entry(row, student, lab, value=when.timestamp() if when.tzinfo else course.moments(when)[0])


def _override(course: Course, row: Row) -> Entry:
    lab, check, reason = find(_lab_of(row, True)), row.cells["check"], plain(row.cells["reason"])
    maximum = {one.name: course.weighted_points(lab, one.name, one.points) for one in lab.checks()}
    if check and check not in maximum:
        raise row.wrong("check", f"lab {lab.number} has no check '{check}'; it has {', '.join(maximum)}, or none for all of the lab")
    if not reason:
        raise row.wrong("reason", "is empty: write what the student should read")
    most = maximum[check] if check else sum(maximum.values())
    return Entry(row, row.cells["student"], lab.name, check, _number_of(row, "points", 0, most), reason)

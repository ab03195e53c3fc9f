"""Reads the optional course file: which labs count, with what weight, their deadlines, and the penalty for lateness.

    [course]
    title = Operating systems, autumn
    labs = 01 02 05            ; default: all
    late per day = 10          ; per cent of the points lost for each day begun; default: 0
    grace = 15                 ; minutes after the deadline that cost nothing; default: 0
    last day = 5               ; later than this many days after the deadline: 0 points; default: never
    canvas = Labs (4711)       ; name and id of the assignment in Canvas; default: the title
    moodle maximum = 100       ; the maximum grade of the assignment in Moodle, to which points are scaled; default: 100

    [canvas]
    05 = Lab #1 (4711)         ; an assignment in Canvas for each lab, instead of one for all
    08 = Lab #2 (4712) of 20   ; it has 20 points in Canvas, to which the lab's are scaled; default: the lab's maximum

    [weights]
    05 = 2                     ; lab 05 counts twice
    05 test_usage = 0          ; this check of lab 05 does not count

    [due]
    05 = 2026-11-20 23:59      ; local time

    [handed in]
    ada = 2026-11-21 08:30     ; default: when the newest file of the lab was written
"""
from __future__ import annotations

import configparser
import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from ..labs import Lab, UserError, all_labs, find
from ..results import plain

_KNOWN = {"course": ("title", "labs", "late per day", "grace", "last day", "canvas", "moodle maximum"), "canvas": None,
          "weights": None, "due": None, "handed in": None}


@dataclass(frozen=True)
class CanvasColumn:
    """An assignment in Canvas: its name and id, as in the head of its column, and its points, if they are not those of the labs."""

    name: str
    maximum: Optional[float] = None


@dataclass
class Course:
    """A course: its labs, weights, deadlines and penalties. Times are seconds since the epoch."""

    title: str = "Shared Memory Lab"
    labs: List[Lab] = field(default_factory=lambda: list(all_labs()))
    late_per_day: float = 0.0
    grace: float = 0.0  # minutes
    last_day: float = math.inf
    canvas: Dict[str, CanvasColumn] = field(default_factory=dict)  # by lab; with the key "", the one for all labs
    moodle_maximum: float = 100.0
    lab_weights: Dict[str, float] = field(default_factory=dict)
    check_weights: Dict[Tuple[str, str], float] = field(default_factory=dict)
    due: Dict[str, float] = field(default_factory=dict)
    handed_in: Dict[str, float] = field(default_factory=dict)

    def weighted_points(self, lab: Lab, check: str, points: float) -> float:
        """Returns what a check that is worth `points` counts in this course."""
        return points * self.lab_weights.get(lab.name, 1.0) * self.check_weights.get((lab.name, check), 1.0)

    def days_late(self, lab: Lab, when: Optional[float]) -> int:
        """Returns the days after the deadline, rounded up; 0 if the work is in time or the lab has no deadline."""
        due = self.due.get(lab.name)
        if due is None or when is None or when <= due + self.grace * 60:
            return 0
        return math.ceil((when - due) / 86400)

    def late_factor(self, days: int) -> float:
        """Returns the fraction of the points that is left after this many days, 0.0 to 1.0."""
        return 0.0 if days > self.last_day else max(0.0, 1.0 - days * self.late_per_day / 100)


def read_course(path: Path, labs: Optional[List[Lab]] = None) -> Course:
    """Reads a course file. Raises UserError, with one line of text, for anything that it does not understand."""
    try:
        return _read(path, labs)
    except UserError as error:
        raise UserError(plain(str(error), 1000)) from None


def _read(path: Path, labs: Optional[List[Lab]]) -> Course:
    # A `#` may be part of a value, as in "Lab #1"; at the beginning of a line it begins a comment.
    parser = configparser.ConfigParser(inline_comment_prefixes=(";",), interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment]  # keep upper case in the students' names
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"), source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the course's file {path}: {error}") from None
    except configparser.Error as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None

    def wrong(section: str, key: str, why: str) -> UserError:
        return UserError(f"{path}, [{section}] {key}: {why}")

    def number(section: str, key: str, default: float) -> float:
        text = parser.get(section, key, fallback="") if parser.has_section(section) else ""
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            raise wrong(section, key, f"'{text}' is not a number") from None
        if value < 0 or not math.isfinite(value):
            raise wrong(section, key, f"{text} is negative or not finite")
        return value

    def moment(section: str, key: str) -> float:
        text = parser.get(section, key)
        try:
            return datetime.fromisoformat(text).timestamp()
        except ValueError:
            raise wrong(section, key, f"'{text}' is not a time; write it as 2026-11-20 23:59") from None

    def lab_named(section: str, word: str) -> Lab:
        try:
            return find(word)
        except UserError as error:
            raise wrong(section, word, str(error)) from None

    def column(section: str, key: str) -> CanvasColumn:
        text = " ".join(parser.get(section, key).split())
        match = re.fullmatch(r"(.*\(\d+\)) of (\d+(?:\.\d+)?)", text)
        if not text or (match and not float(match[2])):
            raise wrong(section, key, f"'{text}' is not an assignment in Canvas; write its name and id, such as Lab #1 (4711), "
                        "or with its points Lab #1 (4711) of 20")
        return CanvasColumn(match[1], float(match[2])) if match else CanvasColumn(text)

    for section in parser.sections():
        if section not in _KNOWN:
            raise UserError(f"{path}: there is no section [{section}]; the sections are "
                            + ", ".join(f"[{name}]" for name in _KNOWN))
        known = _KNOWN[section]
        for key in parser[section]:
            if known is not None and key not in known:
                raise wrong(section, key, f"is unknown; the keys are {', '.join(known)}")
    course = Course(title=parser.get("course", "title", fallback="Shared Memory Lab"),
                    late_per_day=number("course", "late per day", 0.0), grace=number("course", "grace", 0.0),
                    last_day=number("course", "last day", math.inf), moodle_maximum=number("course", "moodle maximum", 100.0))
    if not course.moodle_maximum:
        raise wrong("course", "moodle maximum", "is 0; it is the maximum grade of the assignment in Moodle, more than 0")
    if parser.get("course", "canvas", fallback=""):
        course.canvas[""] = column("course", "canvas")
    for key in parser["canvas"] if parser.has_section("canvas") else []:
        lab, one = lab_named("canvas", key), column("canvas", key)
        if "" in course.canvas:
            raise wrong("course", "canvas", "is one assignment for all labs, but [canvas] has one for each; leave out one of them")
        if lab.name in course.canvas or one.name in [other.name for other in course.canvas.values()]:
            raise wrong("canvas", key, f"lab {lab.number} or '{one.name}' is there twice; each lab has an assignment of its own")
        course.canvas[lab.name] = one
    words = parser.get("course", "labs", fallback="").replace(",", " ").split()
    if words:
        course.labs = [lab_named("course", word) for word in words]
    if labs:
        course.labs = labs
    for key in parser["weights"] if parser.has_section("weights") else []:
        word, _, check = key.partition(" ")
        lab, weight = lab_named("weights", word), number("weights", key, 1.0)
        if not check:
            course.lab_weights[lab.name] = weight
        elif check in [one.name for one in lab.checks()]:
            course.check_weights[lab.name, check] = weight
        else:
            raise wrong("weights", key, f"lab {lab.number} has no check '{check}'; it has "
                        + ", ".join(one.name for one in lab.checks()))
    for key in parser["due"] if parser.has_section("due") else []:
        course.due[lab_named("due", key).name] = moment("due", key)
    for key in parser["handed in"] if parser.has_section("handed in") else []:
        course.handed_in[key] = moment("handed in", key)
    return course

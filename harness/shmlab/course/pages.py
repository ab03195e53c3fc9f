"""Writes the HTML pages of a graded course: one for the course and one for each student. They work offline."""
from __future__ import annotations

import json
import re
import statistics
from datetime import timedelta
from pathlib import Path
from typing import Any, Dict, List, Tuple

import jinja2
import markupsafe

from . import exports
from .course_file import CANVAS_MARK, FILE_TIME, Course
from ..labs import find
from ..results import ERROR, FAILED, PASSED, explored_text, write_whole

Record = Dict[str, Any]
_MARKS = {PASSED: "✓", FAILED: "✗", ERROR: "!", "missing": "–"}


def _escape_controls(text: object) -> str:
    """Replaces control characters by escapes such as \\x1b: a message can quote any bytes that a program printed."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]",
                  lambda match: ascii(match.group())[1:-1], str(text))


def _code(text: str) -> markupsafe.Markup:
    """Converts a sentence to HTML; text between `backticks` becomes code."""
    return markupsafe.Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(markupsafe.escape(_escape_controls(text)))))


def _breakable(name: str) -> markupsafe.Markup:
    """Converts a name to HTML in which a line may break after an underscore."""
    return markupsafe.Markup(str(markupsafe.escape(name)).replace("_", "_<wbr>"))


def _number(value: float) -> str:
    return f"{round(value, 2):g}"


def _handed_in(record: Record) -> str:
    """Returns when a lab was handed in and how that is known, for people."""
    source = record["time_from"]
    if source == CANVAS_MARK:
        return f"Counts as {'late' if record['days_late'] else 'on time'}, by {source}"
    if not record["handed_in"]:
        return "The time is unknown: it counts as on time"
    return f"Handed in {record['handed_in']} ({'time of the file' if source == FILE_TIME else source})"


def _template(name: str) -> jinja2.Template:
    directory = Path(__file__).with_name("templates")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(directory), autoescape=True, trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_finalize)
    environment.filters.update(number=_number, mark=lambda state: _MARKS[state], code=_code, breakable=_breakable, handed_in=_handed_in,
                               by_hand=exports.override_text, drawn=markupsafe.Markup, explored=explored_text)
    return environment.get_template(name)


def _finalize(value: Any) -> Any:
    return value if isinstance(value, markupsafe.Markup) else _escape_controls(value) if isinstance(value, str) else value


def _colour_step(score: float, maximum: float) -> int:
    """Returns 0 to 5, from which the style sheet takes the colour of a score."""
    return 0 if not maximum else min(5, int(5 * score / maximum))


def _passed(numbered: Tuple[int, Record]) -> int:
    return int(numbered[1]["passed"])


def write_course(out: Path, everything: Record) -> None:
    """Writes index.html: each student's labs and checks, how each lab and check went, the common mistakes, what changed.

    The tables of students would be 24 MB for a large course, so the page has their content as JSON, and course.js makes them.
    """
    students = everything["students"]
    places = {student["folder"]: number for number, student in enumerate(students)}
    labs = []
    for lab in everything["labs"]:
        mine = [(student, student["labs"][lab["name"]]) for student in students]
        tried = [(student, record) for student, record in mine if record["state"] != "missing"]
        resembling: Dict[str, List[int]] = {}
        titles = {}
        for student, record in tried:
            for likely in record["resembles"][:1]:
                resembling.setdefault(likely["mistake"], []).append(places[student["folder"]])
                titles[likely["mistake"]] = likely["title"]
        labs.append({**lab, "full": sum(r["score_in_time"] == r["maximum"] for _, r in tried),
                     "mean": statistics.fmean(r["score"] for _, r in tried) if tried else 0.0,
                     "hardest": sorted(enumerate(lab["checks"], 1), key=_passed),
                     "alike": sorted(((name, titles[name], who) for name, who in resembling.items()),
                                     key=lambda row: (-len(row[2]), row[0]))})
    scores = sorted(student["score"] for student in students)
    common = sorted(((lab, name, title, len(who)) for lab in labs for name, title, who in lab["alike"]),
                    key=lambda row: (-row[3], row[1]))
    to_look_at = [(student, name) for student in students for name, lab in student["labs"].items() if exports.to_look_at(lab)]
    noted = [student for student in students if student["notes"] or any(lab["notes"] for lab in student["labs"].values())]
    changed = [(student, name, lab) for student in students for name, lab in student["labs"].items()
               if lab["overrides"] or lab["extension"]]
    page = _template("course.html").render(
        course=everything, labs=labs, students=students, by_folder={one["folder"]: one for one in students}, grade=_colour_step,
        median=statistics.median(scores), best=scores[-1], common=common, to_look_at=to_look_at, noted=noted, changed=changed,
        data=_data(everything), maximum=students[0]["maximum"])
    write_whole(out / "index.html", page)


def _data(everything: Record) -> markupsafe.Markup:
    """Returns what course.js reads, as JSON that can stand in a page; texts that occur often are in it once."""
    texts = {"": 0}

    def text(line: str) -> int:
        return texts.setdefault(_escape_controls(line), len(texts))

    def cell(record: Record) -> List[Any]:
        missing = record["state"] == "missing"
        by_hand = "; ".join(map(exports.override_text, record["overrides"]))
        values = [record["score"], "" if missing else "".join(state[0] for state in record["checks"].values()), record["days_late"],
                  0 if missing or not dated[record["lab"]] else text(_handed_in(record)), text(by_hand),
                  text(record["notes"][0]) if missing and record["notes"] else 0]
        while not values[-1] and len(values) > 2:
            values.pop()
        return values

    dated = {lab["name"]: bool(lab["due"]) for lab in everything["labs"]}
    labs = [{"name": lab["name"], "number": lab["number"], "title": lab["title"], "maximum": lab["maximum"], "due": dated[lab["name"]],
             "checks": [check["sentence"] for check in lab["checks"]]} for lab in everything["labs"]]
    students = [[*(_escape_controls(student[key]) for key in ("name", "id", "folder", "group", "section")), student["score"],
                 student["maximum"], int(student["kept"]), [cell({**record, "lab": name}) for name, record in student["labs"].items()]]
                for student in everything["students"]]
    found = json.dumps({"labs": labs, "students": students, "texts": list(texts)}, ensure_ascii=False, separators=(",", ":"))
    return markupsafe.Markup(re.sub("[<>&\u2028\u2029]", lambda match: f"\\u{ord(match.group()):04x}", found))


def write_student(directory: Path, record: Record, details: Dict[str, List[Dict[str, Any]]], course: Course) -> None:
    """Writes report.html: for each lab what `make check` would have shown to the student."""
    labs = [{"lab": find(name), "record": lab, "checks": details.get(name, []),
             "due": course.due[name] + timedelta(days=lab["extension"]) if name in course.due else None}
            for name, lab in record["labs"].items()]
    page = _template("student.html").render(student=record, labs=labs, course=course, grade=_colour_step)
    write_whole(directory / "report.html", page)

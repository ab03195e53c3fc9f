"""Writes what other programs read: JSON, CSV for learning platforms, JUnit XML and Gradescope's JSON.

results.json contains everything and is documented in docs/grading.md; the CSV files are made from the same record.
The columns of grades.csv, canvas.csv and moodle.csv are in write_course(), _canvas() and _moodle().
"""
from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional, Tuple
from xml.etree import ElementTree as xml

from .cohort import Student
from .course_file import CanvasColumn, Course, HandedIn
from .roster import Person
from ..labs import Lab, find
from ..results import ERROR, PASSED, explored_text, write_whole

Record = Dict[str, Any]
Details = Dict[str, List[Dict[str, Any]]]  # a lab's name -> the outcomes of its checks
MISSING = "missing"  # nothing was handed in
NOT_YET = "not graded yet: only other labs or students were graded so far"


def rounded(value: float) -> float:
    """Rounds to two decimals; a whole number becomes an int, so that it is written without decimals."""
    return int(value) if value == int(value) else round(value, 2)


def lab_record(student: Student, lab: Lab, course: Course, checks: Optional[List[Dict[str, Any]]],
                resembling: List[Tuple[Any, float]]) -> Record:
    """Returns the entry of one lab of one student in results.json. The maximum is always that of the whole lab."""
    worth = {check.name: course.weighted_points(lab, check.name, check.points) for check in lab.checks()}
    states = {**dict.fromkeys(worth, MISSING), **{check["check"]: check["status"] for check in checks or []}}
    points = {name: value if states[name] == PASSED else 0.0 for name, value in worth.items()}
    overrides = []
    for name in worth:
        by_hand = course.overrides.find(student.submission.directory, lab.name, name)
        if by_hand:
            overrides.append({"check": name, "points": rounded(by_hand.value), "instead_of": rounded(points[name]),
                              "reason": by_hand.reason})
            points[name] = by_hand.value
    handed_in, days, notes = HandedIn(), 0, []
    if checks is not None:
        handed_in = course.when_handed_in(lab, student.submission, student.taken.times.get(lab.name))
        days = course.days_late(course.deadline(lab, student.submission), handed_in)
        notes = student.taken.labs[lab.name]
    elif lab.name in student.taken.labs or lab.name not in student.examined:
        # A part of the course was graded, and this was not in it; if it was and has nothing, nothing was handed in.
        notes = [NOT_YET]
    score = rounded(sum(points.values()) * course.late_factor(days))
    whole = course.overrides.find(student.submission.directory, lab.name)
    if whole:
        overrides.append({"check": "", "points": rounded(whole.value), "instead_of": score, "reason": whole.reason})
        score = rounded(whole.value)
    return {"state": MISSING if checks is None else ERROR if ERROR in states.values() else "graded", "score": score,
            "maximum": rounded(sum(worth.values())), "score_in_time": rounded(sum(points.values())), "days_late": days,
            "handed_in": None if handed_in.when is None else course.shown(handed_in.when), "time_from": handed_in.source,
            "extension": course.extension(lab, student.submission), "overrides": overrides, "notes": notes,
            "resembles": [{"mistake": str(mistake), "title": mistake.title, "likeness": round(value, 2)}
                          for mistake, value in resembling],
            "checks": states}


def to_look_at(lab: Record) -> bool:
    """Whether somebody has to look at this lab: a check did not come to an end, and nobody has set the points by hand."""
    by_hand = {override["check"] for override in lab["overrides"]}
    return "" not in by_hand and any(state == ERROR and name not in by_hand for name, state in lab["checks"].items())


def override_text(override: Record) -> str:
    """Returns what a student reads about points that were set by hand."""
    points = "1 point" if override["points"] == 1 else f"{override['points']} points"
    return (f"{points} by hand instead of {override['instead_of']} for {override['check'] or 'the whole lab'}: "
            f"{override['reason']}")


def record_of(student: Student, course: Course, details: Details, resembling: Mapping[Lab, List[Tuple[Any, float]]],
              earlier: Mapping[str, Student] = MappingProxyType({})) -> Record:
    """Returns a student's entry in results.json, from the outcomes of the labs and the mistakes that each resembles.

    `earlier` has the student as at the time of an earlier attempt, for the labs in which that counts.
    """
    labs = {lab.name: lab_record(earlier.get(lab.name, student), lab, course, details.get(lab.name), resembling.get(lab, []))
            for lab in course.labs}
    submission, person = student.submission, student.person or Person()
    return {"name": submission.name, "folder": submission.directory, "platform": submission.platform,
            "platform_id": submission.platform_id, "entries": submission.entries, "id": person.id, "email": person.email,
            "login": person.login, "group": person.group, "section": person.section, "kept": student.kept,
            "score": rounded(sum(lab["score"] for lab in labs.values())),
            "maximum": rounded(sum(lab["maximum"] for lab in labs.values())),
            "notes": student.taken.notes, "labs": labs}


#: What a spreadsheet takes for a formula, also in full-width characters and after spaces; a negative number is none.
FORMULA = re.compile(r"\s*[=+@\t\r\uff1d\uff0b\uff20\uff0d]|\s*-(?!\d+(\.\d+)?$)")


def _csv(rows: List[List[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([[_cell(cell) for cell in row] for row in rows])
    return text.getvalue()


def _cell(value: object) -> str:
    """Returns the text of a cell. A quote before a name like "=1+1" stops a spreadsheet from running it as a formula."""
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return "'" + text if FORMULA.match(text) else text


def write_course(out: Path, everything: Record, course: Course) -> None:
    """Writes results.json, grades.csv, canvas.csv and moodle.csv."""
    labs, students = everything["labs"], everything["students"]
    rows: List[List[object]] = [["student", *(f"{lab['number']} {lab['title']}" for lab in labs), "score", "maximum", "notes"]]
    for student in students:
        notes = [*student["notes"], *(note for lab in student["labs"].values() for note in lab["notes"])]
        rows.append([student["name"], *(student["labs"][lab["name"]]["score"] for lab in labs), student["score"],
                     student["maximum"], "; ".join(notes)])
    write_whole(out / "grades.csv", _csv(rows))

    write_whole(out / "canvas.csv", _csv(_canvas(everything, course)))
    write_whole(out / "moodle.csv", _csv(_moodle(everything, course)))
    write_whole(out / "results.json", json.dumps(everything, indent=1, ensure_ascii=True) + "\n")


def _scaled(score: float, maximum: float, wanted: Optional[float]) -> str:
    """Returns points with two decimals, for an assignment with another maximum if one is wanted."""
    return f"{score if wanted is None else score * wanted / maximum if maximum else 0:.2f}"


def _canvas(everything: Record, course: Course) -> List[List[object]]:
    """The gradebook of Canvas: two decimals, a row with the points possible. It finds students by its own id, else by login."""
    labs = {lab["name"]: lab["maximum"] for lab in everything["labs"]}
    columns = [(one, [name] if name else list(labs)) for name, one in course.canvas.items() if not name or name in labs]
    if not course.canvas:
        columns = [(CanvasColumn(everything["title"]), list(labs))]
    maximums = [sum(labs[name] for name in names) for _, names in columns]
    rows: List[List[object]] = [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *(one.name for one, _ in columns)],
        ["Points Possible", "", "", "", "", *(_scaled(maximum, maximum, one.maximum) for (one, _), maximum in zip(columns, maximums))]]
    for student in everything["students"]:
        # Who was graded anonymously has no id that Canvas would import.
        of_canvas = student["platform"] == "canvas"
        rows.append([student["name"], student["platform_id"] if of_canvas and student["platform_id"].isdecimal() else "", "",
                     student["login"] or ("" if of_canvas else student["name"]), student["section"],
                     *(_scaled(sum(student["labs"][name]["score"] for name in names), maximum, one.maximum)
                       for (one, names), maximum in zip(columns, maximums))])
    return rows


def _moodle(everything: Record, course: Course) -> List[List[object]]:
    """The grading worksheet of an assignment in Moodle, which also its gradebook imports: by the identifier, or by user name.

    The columns are those that mod/assign/feedback/offline/importgradeslib.php requires; grades above the maximum would be skipped.
    """
    rows: List[List[object]] = [["Identifier", "Full name", "username", "ID number", "Email address", "Grade", "Maximum grade",
                                 "Last modified (grade)"]]
    for student in everything["students"]:
        number = student["platform_id"] if student["platform"] == "moodle" else ""
        rows.append([f"Participant {number}" if number else "", student["name"],
                     student["login"] or ("" if number else student["name"]), student["id"] if student["id"] != number else "",
                     student["email"], _scaled(student["score"], student["maximum"], course.moodle_maximum),
                     f"{course.moodle_maximum:.2f}", ""])
    return rows


def write_student(directory: Path, record: Record, details: Details, course: Course) -> None:
    """Writes junit.xml and gradescope.json of one student."""
    write_whole(directory / "junit.xml", _junit(record, details))
    write_whole(directory / "gradescope.json", json.dumps(gradescope(record, details, course), indent=1) + "\n")


def explanation(check: Dict[str, Any]) -> str:
    """Returns what a student reads about a check that did not pass, as plain text."""
    lines = [f"expected: {check['expected']}"]
    lines += [f"{'but: ' if number == 0 else '     '}{line}" for number, line in enumerate(check["saw"])]
    lines += [f"{'calls: ' if number == 0 else '       '}{line}" for number, line in enumerate(check["calls"])]
    lines += [f"explored: {explored_text(check['explored'])}"] if check.get("explored") else []
    lines += [f"read: {check['read']}"] if check["read"] else []
    lines += [f"by hand: {check['by_hand']}"] if check["by_hand"] else []
    return "\n".join(lines)


def with_picture(check: Dict[str, Any]) -> str:
    """The same, and the picture as text, where there is one."""
    return "\n".join([explanation(check), *(["", *check["picture_text"]] if check.get("picture_text") else [])])


def _printable(text: str) -> str:
    """Replaces characters that XML 1.0 forbids: a message can quote any bytes that a program printed."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\N{REPLACEMENT CHARACTER}", text)


def _junit(record: Record, details: Details) -> str:
    root = xml.Element("testsuites", name=_printable(record["name"]))
    for name, lab in record["labs"].items():
        checks = {check["check"]: check for check in details.get(name, [])}
        suite = xml.SubElement(root, "testsuite", name=name, tests=str(len(lab["checks"])),
                               failures=str(sum(state in ("failed", "missing") for state in lab["checks"].values())),
                               errors=str(sum(state == ERROR for state in lab["checks"].values())))
        sentences = {check.name: check.sentence for check in find(name).checks()}
        for check, state in lab["checks"].items():
            outcome = checks.get(check)
            case = xml.SubElement(suite, "testcase", classname=name, name=check,
                                  time=f"{outcome['seconds'] if outcome else 0:.3f}")
            properties = xml.SubElement(case, "properties")
            xml.SubElement(properties, "property", name="sentence", value=_printable(sentences.get(check, check)))
            if state == PASSED:
                continue
            kind = xml.SubElement(case, "error" if state == ERROR else "failure",
                                  message=_printable(outcome["expected"] if outcome else "nothing was handed in"))
            kind.text = _printable(explanation(outcome)) if outcome else ""
    xml.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + xml.tostring(root, encoding="unicode") + "\n"


def gradescope(record: Record, details: Details, course: Course) -> Dict[str, Any]:
    """Returns what Gradescope expects as results.json. Missing labs are in it too, so the maximums add up to the course's."""
    tests = []
    for lab in course.labs:
        graded = record["labs"][lab.name]
        checks = {check["check"]: check for check in details.get(lab.name, [])}
        late_factor = course.late_factor(graded["days_late"])
        by_hand = {override["check"]: override for override in graded["overrides"]}
        for number, check in enumerate(lab.checks(), 1):
            outcome, state = checks.get(check.name), graded["checks"][check.name]
            maximum = course.weighted_points(lab, check.name, check.points)
            points = by_hand[check.name]["points"] if check.name in by_hand else maximum if state == PASSED else 0
            tests.append({"name": f"{lab.number} {check.sentence}", "number": f"{int(lab.number)}.{number}",
                          "score": round(points * late_factor, 4), "max_score": maximum,
                          "status": "passed" if state == PASSED else "failed", "visibility": "visible",
                          "output_format": "text", "tags": [lab.name],
                          "output": "" if state == PASSED else with_picture(outcome) if outcome else "nothing was handed in"})
        if "" in by_hand:
            tests.append({"name": f"{lab.number} {override_text(by_hand[''])}", "number": f"{int(lab.number)}.{len(lab.checks()) + 1}",
                          "score": round(by_hand[""]["points"] - by_hand[""]["instead_of"], 4), "max_score": 0, "status": "passed",
                          "visibility": "visible", "output_format": "text", "tags": [lab.name], "output": ""})
    notes = [*record["notes"], *(note for lab in record["labs"].values() for note in lab["notes"]),
             *(override_text(override) for lab in record["labs"].values() for override in lab["overrides"])]
    return {"score": record["score"], "output": "\n".join(notes), "output_format": "text", "visibility": "visible",
            "stdout_visibility": "hidden", "tests": tests, "extra_data": {"version": 1}}

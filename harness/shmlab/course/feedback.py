"""`make feedback`: packs the reports of a graded course as Moodle and Canvas hand them back, and without names for discussion.

What the platforms take for a student's file is in moodle_name() and canvas_name(), with the place in their source that decides.
"""
from __future__ import annotations

import io
import os
import random
import re
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Set

import markupsafe

from . import exports, results_directory
from .intake import canvas_prefix, moodle_full_name
from .tables import first_of
from ..labs import UserError
from ..results import plain

Record = Dict[str, Any]
REPORT = "report.html"


def moodle_name(student: Record) -> str:
    """Returns a report's path in "Upload multiple feedback files in a zip"; empty for a student who is not of Moodle.

    mod/assign/feedback/file/importziplib.php splits a directory's name at "_": the full name, the id, the type and the name of
    the plugin. So the full name has no "_" here. Only the id decides.
    """
    if student["platform"] != "moodle" or not re.fullmatch(r"[0-9]{1,20}", student["platform_id"]):
        return ""
    told = next(filter(None, map(moodle_full_name, student.get("entries", []))), student["name"])
    name = " ".join(re.sub(r'[_/\\:*?"<>|]', " ", told).split()).strip(".~ ") or "student"
    return f"{name}_{student['platform_id']}_assignsubmission_file_/{REPORT}"


def canvas_name(student: Record) -> str:
    """Returns a report's name for Canvas's "Upload Submissions"; empty for a student of whom no file of its download is known.

    infer_comment_context_from_filename() in app/models/abstract_assignment.rb finds the student and the file that was handed in
    by their ids in the name, and ignores what has no file of this student.
    """
    prefixes = filter(None, map(canvas_prefix, student.get("entries", [])))
    return next((f"{prefix}{REPORT}" for prefix in prefixes), "") if student["platform"] == "canvas" else ""


def without_name(page: str, student: Record, number: int) -> str:
    """Returns a report that does not say whose it is: without notes and times, with a number in place of the name.

    What a program printed stays, but for the student's name and ids.
    """
    page = re.sub(r'<p class="note">.*?</p>\n?|<p class="faint">(?:Handed in|Counts as|The time is|Due)\b.*?</p>\n?', "", page, flags=re.S)
    words: Set[str] = {student[key] for key in ("name", "folder", "platform_id", "id", "email", "login", "group")}
    words |= {word for word in re.split(r"[\s,()_-]+", student["name"]) if len(word) > 2}
    named = [re.escape(str(markupsafe.escape(word))) for word in sorted(filter(None, words), key=len, reverse=True)]
    pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(named)})(?![\w-])")
    whole = str(markupsafe.escape(student["name"]))
    parts = re.split(r"(<style.*?</style>|<[^>]*>)", page, flags=re.S)  # the text, and between it tags: a name may be that of a tag
    parts[::2] = [pattern.sub(lambda found: f"Report {number}" if found[0] == whole else "…", text) for text in parts[::2]]
    return "".join(parts)


def _report(source: Path, student: Record) -> str:
    path = source / "students" / Path(student["folder"]).name / REPORT
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(plain(f"{path} cannot be read ({getattr(error, 'strerror', '') or 'not UTF-8'}): "
                              "run the `make grade` of these results again", 1000)) from None


def _write(path: Path, pages: Dict[str, str]) -> None:
    """Writes an archive as a whole, and says what was done."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, page in pages.items():
            archive.writestr(name, page)
    there, scratch = path.exists(), path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(packed.getvalue())
        os.replace(scratch, path)
    except OSError as error:
        if scratch.exists():
            scratch.unlink()
        raise UserError(plain(f"cannot write {path}: {error.strerror}; name another directory with OUT=", 1000)) from None
    print(plain(f"{path}: {len(pages)} {'report' if len(pages) == 1 else 'reports'}"
                + (", in place of the file that was there" if there else ""), 1000))


def main(source: Path, out: Path, anonymous: bool) -> int:
    """Writes the archives for the platforms of which there are students; with `anonymous`, also one without names."""
    students = results_directory.results(source)["students"]
    if results_directory.unfinished(source):
        raise UserError(plain(f"the last run in {source} has not ended, so its reports are from the previous run: run its `make "
                              "grade` again",
                              1000))
    ways: Dict[str, Callable[[Record], str]] = {"moodle": moodle_name, "canvas": canvas_name}
    packed, reached = 0, set()
    for platform, name_of in ways.items():
        pages: Dict[str, str] = {}
        for student in students:
            name = name_of(student)
            if name:
                pages[name] = _report(source, student)
                reached.add(student["folder"])
        if pages:
            _write(out / f"{platform}-feedback.zip", pages)
            packed += 1
    if anonymous:
        graded: List[Record] = [student for student in students
                                if any(lab["state"] != exports.MISSING for lab in student["labs"].values())]
        random.SystemRandom().shuffle(graded)
        _write(out / "anonymous-feedback.zip", {f"report-{number:03}.html": without_name(_report(source, student), student, number)
                                                for number, student in enumerate(graded, 1)})
        packed += 1
    if not packed:
        raise UserError(plain(f"no student in {source} comes from a download of Moodle or Canvas: the reports are in "
                              f"{source / 'students'}; ANONYMOUS=1 packs them without names", 1000))
    left = [student["name"] for student in students if student["folder"] not in reached]
    if left and not (anonymous and packed == 1):
        print(f"not in a download, so return it yourself: the report of {first_of(left)}")
    return 0

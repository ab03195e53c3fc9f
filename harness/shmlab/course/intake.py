"""Collects submissions in any layout: lists them, finds their files, copies those of each lab, and notes what was unusual.

A submission is a directory or an archive in one common directory. Its content is untrusted: symbolic links are not
followed, archives are read by a process of its own (archive_reader.py), and at most SOURCE_LIMIT bytes of a file are used.
"""
from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..labs import Lab, UserError, all_labs
from ..results import plain
from ..sandbox.build import SOURCE_LIMIT
from .archive_reader import ArchiveReader
from .choice import MAX_NAME, SourceFile, choose, newest, unread
from .unpack import ARCHIVES, IGNORED, MAX_DEPTH, UNREAD, is_told, without_suffix

MAX_FILES = 5000  # examined in one submission
MAX_NOTES = 30  # on one submission, or one lab of it
MAX_NOTE = 500  # characters
TIMES = "times.csv"  # what collect.py writes beside the submissions
COLLECTED = ".shmlab-collected"
LAST_TIME = 4e9  # seconds since the Epoch: the year 2096

# The names of files and directories in the platforms' downloads of all submissions.
_CANVAS = re.compile(r"(?:(?P<late_anon>LATE_)?(?P<anon>anon_[A-Za-z0-9]+)|(?P<student>.+?)_(?P<late>LATE_)?(?P<id>\d+))"
                     r"_(?:\d+_(?P<file>.+)|(?P<text>text\.html))")
_MOODLE = re.compile(r"(?P<student>.+?)_(?P<id>\d+)_assignsubmission_(?P<plugin>[a-z]+)(?:_(?P<file>.*))?")
_OF_TOOLS = {"__MACOSX", ".git", ".svn", ".hg", ".idea", ".vscode", ".Trashes", ".fseventsd", ".Spotlight-V100"}
_COPY = re.compile(r" ?\(\d{1,3}\)$")


@dataclass
class Submission:
    """One student's work: where it is, and the student's name and id on the learning platform."""

    name: str
    directory: str  # the name, unique, of the student's directory in the results
    sources: List[Path] = field(default_factory=list)
    platform: str = ""
    platform_id: str = ""
    late: Optional[bool] = None  # whether the platform says so; None if it says nothing
    notes: List[str] = field(default_factory=list)
    entries: List[str] = field(default_factory=list)  # the names of the sources in the platform's download


@dataclass
class IntakeResult:
    """What was found: notes for the student, and per lab its own notes and the time of its newest file."""

    notes: List[str] = field(default_factory=list)
    labs: Dict[str, List[str]] = field(default_factory=dict)
    times: Dict[str, float] = field(default_factory=dict)


# ---- the list of submissions ------------------------------------------------------------------------------


@dataclass
class _Entry:
    """What the name of an entry tells: the student, the platform and its id, whether it marks the work as late, the name that the
    student gave to the file (empty: a directory), and whether it is text that was typed in on the platform."""

    student: str
    platform: str = ""
    platform_id: str = ""
    late: Optional[bool] = None
    file: str = ""
    is_text: bool = False


def _identify(name: str) -> _Entry:
    """Returns what an entry's name tells."""
    match = _MOODLE.fullmatch(name) or _MOODLE.fullmatch(without_suffix(name))
    if match:
        return _Entry(match["student"], "moodle", match["id"], None, match["file"] or "", match["plugin"] == "onlinetext")
    match = _CANVAS.fullmatch(name)
    if match:
        return _Entry(match["student"] or match["anon"], "canvas", match["id"] or match["anon"],
                      bool(match["late"] or match["late_anon"]), match["file"] or "", bool(match["text"]))
    return _Entry(without_suffix(name))


def moodle_full_name(entry: str) -> str:
    """Returns the student's name as Moodle wrote it in the name of an entry; empty if that is not from Moodle."""
    match = _MOODLE.fullmatch(entry)
    return match["student"] if match else ""


def canvas_prefix(entry: str) -> str:
    """Returns what Canvas wrote before the student's own file name in the name of an entry; empty if that is not from Canvas."""
    match = _CANVAS.fullmatch(entry)
    return entry[:match.start("file")] if match and match["file"] else ""


def is_of_platform(name: str) -> bool:
    """Whether Canvas or Moodle named this entry of a download."""
    return bool(_identify(name).platform)


def shown_name(text: str) -> Tuple[str, str]:
    """Returns a name as it can be shown anywhere, and a note if something had to be replaced in it.

    A name is untrusted, too: control characters would be commands to a terminal, and those that turn the direction of writing
    would let it look like another one.
    """
    decoded = text.encode("utf-8", "backslashreplace").decode()
    shown = plain(decoded, MAX_NAME)
    return shown, "" if shown == decoded else f"its name has characters that cannot be shown, or more than {MAX_NAME}"


def directory_of(one: Submission, entry: str) -> str:
    """Returns a directory name that is valid on every system, and in every run this student's alone as far as names tell.

    @param entry  what tells the student from others of the same name: the entry of the download
    """
    ascii_text = unicodedata.normalize("NFKD", one.name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9.-]+", "_", ascii_text).strip("._-")[:60] or "student"
    if one.platform:
        return slug if one.platform_id == slug else f"{slug}_{one.platform_id}"
    lost = not one.name.isascii() or len(ascii_text) > 60
    return f"{slug}-{_digest(entry)}" if lost else slug


def _digest(entry: str) -> str:
    return hashlib.sha256(os.fsencode(entry)).hexdigest()[:8]


def _tell_apart(submissions: List[Submission], entries: List[str]) -> None:
    """Gives every submission a directory of its own, and those of one name names that differ."""
    same_name: Dict[str, List[int]] = {}
    same_directory: Dict[str, List[int]] = {}
    copies: Dict[str, List[Submission]] = {}
    for number, one in enumerate(submissions):
        one.directory = directory_of(one, entries[number])
        name = unicodedata.normalize("NFKC", one.name).casefold()
        same_name.setdefault(name, []).append(number)
        same_directory.setdefault(one.directory.casefold(), []).append(number)
        if not one.platform:
            copies.setdefault(_COPY.sub("", name), []).append(one)
    for marked in copies.values():
        # A browser calls a second download of "ada.zip" so, but it may also be "team (1)": who that is the instructor knows.
        if len({one.name for one in marked}) > 1:
            for one in marked:
                others = ", ".join(sorted({other.name for other in marked} - {one.name}))
                one.notes.append(f"it may be the same student as {others}: each is graded separately; leave one of them out if it is")
    for group in same_directory.values():
        for number in group if len(group) > 1 else []:
            submissions[number].directory += f"-{_digest(entries[number])}"
    for group in same_name.values():
        if len(group) == 1:
            continue
        shown = {}
        for number in group:
            one = submissions[number]
            shown[number] = f"{one.name} ({one.platform_id})" if one.platform else shown_name(entries[number])[0]
        if len({unicodedata.normalize("NFKC", name) for name in shown.values()}) < len(group):
            shown = {number: f"{submissions[number].name} ({submissions[number].directory})" for number in group}
        for number in group:
            same = ", ".join(shown[other] for other in group if other != number)
            submissions[number].notes.append(f"there is another submission of the same name: {same}; each is graded separately")
            submissions[number].name = shown[number]


def collected(directory: Path) -> Dict[str, Dict[str, Any]]:
    """Returns what collect.py wrote about each student: the commit, its time and notes; nothing if it did not make this directory."""
    path = directory / COLLECTED
    try:
        students = json.loads(path.read_text(encoding="utf-8"))["students"]
        return {str(name): {"commit": str(one["commit"]), "time": one["time"], "notes": [str(note) for note in one["notes"]]}
                for name, one in students.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(plain(f"{path} is not as `make collect` wrote it ({type(error).__name__}: {error}): collect into another directory",
                              1000)) from None


def list_submissions(directory: Path) -> Tuple[List[Submission], List[str]]:
    """Returns the submissions in a directory, sorted by name, and notes on entries that are not submissions."""
    if not directory.is_dir():
        raise UserError(f"there is no directory '{directory}': name the one with a directory or an archive for each student")
    named = {lab.name for lab in all_labs()}
    own = [name for name in sorted(named) if (directory / name).is_dir() or (directory / "labs" / name).is_dir()]
    # A student, or an archive, may be called as a lab: that one is a submission among others.
    others = any(entry.name not in named and entry.name not in IGNORED and not entry.name.startswith(".") and
                 (entry.is_dir() or entry.name.lower().endswith(ARCHIVES + UNREAD)) for entry in os.scandir(directory))
    if own and (not others or (directory / "labs" / own[0]).is_dir()):
        raise UserError(f"'{directory}' is itself one submission (it has {own[0]}): name the directory that holds the "
                        f"students' directories, or check this one with `make check IN={directory}`")
    found: Dict[Tuple[str, str, str], Submission] = {}
    first: List[str] = []  # the name of each submission's first entry
    notes = []
    told = collected(directory)
    for entry in sorted(os.scandir(directory), key=lambda item: os.fsencode(item.name)):
        shown, _ = shown_name(entry.name)
        if entry.name.startswith(".") or entry.name in IGNORED or (told and entry.name == TIMES):
            if entry.is_dir() and entry.name not in _OF_TOOLS:
                notes.append(f"{shown} {'is hidden' if entry.name[0] == '.' else 'has the name of a build directory'} and was ignored: "
                             "rename it if it is a student's")
            continue
        known = _identify(entry.name)
        if entry.is_symlink():
            notes.append(f"{shown} is a symbolic link: not followed")
            continue
        if not (entry.is_dir() or known.platform or entry.name.lower().endswith(ARCHIVES + UNREAD)):
            notes.append(f"{shown} is neither a directory nor an archive ({', '.join(ARCHIVES)}): ignored")
            continue
        # One platform id is one student; an entry without an id is a student of its own.
        identity = (known.platform, known.platform_id, "") if known.platform else ("", "", entry.name)
        if identity not in found:
            name, strange = shown_name(known.student)
            found[identity] = Submission(name, "", [], known.platform, known.platform_id, known.late, [strange] if strange else [])
            first.append(entry.name)
        one = found[identity]
        one.notes += told.get(entry.name, {}).get("notes", [])
        if not known.is_text:
            one.sources.append(Path(entry.path))
            one.entries += [shown] if known.platform else []
        one.late = one.late or known.late
    submissions = list(found.values())
    if not submissions:
        raise UserError(f"'{directory}' holds no submission: it needs a directory or an archive for each student")
    for one in submissions:
        if not one.sources:
            one.notes.append("only text typed on the platform was handed in, no file: it is not graded")
    _tell_apart(submissions, first)
    return submissions, notes


# ---- the files in a submission ----------------------------------------------------------------------------


_LABS_FIRST = {"labs", *(lab.name for lab in all_labs())}


@dataclass
class _Search:
    """What the search through one submission has found to say, how many files it may still look at, and who reads archives."""

    reader: ArchiveReader
    notes: List[str]
    left: int = MAX_FILES


def _sources_in_directory(directory: Path, inside: PurePosixPath, search: _Search) -> Iterator[SourceFile]:
    try:
        # First what is a lab by its name: the rest may be too much.
        entries = sorted(os.scandir(directory), key=lambda item: (item.name not in _LABS_FIRST, os.fsencode(item.name)))
    except OSError as error:
        search.notes.append(f"{inside} cannot be read: {error.strerror}")
        return
    for entry in entries:
        search.left -= 1
        if search.left < 0:
            return
        path = inside / entry.name.encode("utf-8", "backslashreplace").decode()
        if entry.is_symlink():
            search.notes.append(f"{path} is a symbolic link: not followed")
        elif entry.is_dir(follow_symlinks=False):
            if entry.name in IGNORED or entry.name.startswith("."):
                continue
            if len(path.parts) <= MAX_DEPTH:
                yield from _sources_in_directory(Path(entry.path), path, search)
            else:
                search.notes.append(f"{path} is more than {MAX_DEPTH} directories deep: not read")
        elif entry.name.lower().endswith(ARCHIVES) and entry.is_file(follow_symlinks=False):
            yield from _sources_in_archive(Path(entry.path), path, search)
        elif is_told(entry.name):
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                search.notes.append(f"{path} is not a file")
                continue
            yield SourceFile(path, status.st_size, status.st_mtime, functools.partial(_read, entry.path))


def _read(path: str) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(SOURCE_LIMIT + 1)


def _sources_in_archive(archive: Path, inside: PurePosixPath, search: _Search) -> Iterator[SourceFile]:
    """The sources of an archive. Their time is that of the archive: what it says about its members, its author has written."""
    try:
        when = archive.lstat().st_mtime
        unpacked = search.reader.unpack(archive, max(0, search.left))
    except OSError as error:
        search.notes.append(f"{archive.name} cannot be read: {error.strerror}")
        return
    search.left -= unpacked.entries
    search.notes += unpacked.notes
    for path, size, content in unpacked.sources:
        yield SourceFile(inside / path, size, when, functools.partial(bytes, content or b""))


def take(submission: Submission, labs: List[Lab], target: Path, reader: ArchiveReader) -> IntakeResult:
    """Copies a submission's files of the labs to `target`/NN_name/. Of these labs nothing else is there afterwards."""
    taken = IntakeResult(notes=list(submission.notes))
    if not submission.sources:
        return taken
    search = _Search(reader, taken.notes)
    files: List[SourceFile] = []
    for source in submission.sources:
        name = PurePosixPath(_identify(source.name).file or source.name)
        renamed = submission.platform == "canvas"
        if source.is_dir():
            files += _sources_in_directory(source, PurePosixPath(), search)
        elif source.name.lower().endswith(ARCHIVES):
            # The name of the only archive says nothing. Of several, it may tell the lab or the version.
            files += _sources_in_archive(source, name if len(submission.sources) > 1 else PurePosixPath(), search)
        else:
            search.left -= 1
            status = source.stat()
            files.append(SourceFile(name, status.st_size, status.st_mtime, functools.partial(_read, str(source)), renamed))
    if search.left < 0:
        taken.notes.append(f"there are more than {MAX_FILES} files: only the first {MAX_FILES} were examined")
    taken.notes += filter(None, (unread(found.path) for found in files))
    if files and not submission.platform and all(is_of_platform(found.path.parts[0]) for found in files):
        taken.notes.append("its entries have names as in a download of all submissions, and were taken as this student's: if it is one, "
                           "name it with FROM=")
    versions = newest(files, taken.notes)
    without_program = False
    for lab in labs:
        choice = choose(lab, versions)
        write_only(target / lab.name, choice.contents)
        if choice.programs:
            taken.labs[lab.name] = choice.notes
            when = max(found.time for found in choice.programs.values())
            if 0 <= when < LAST_TIME:
                taken.times[lab.name] = when
            else:
                choice.notes.append("the time of its files is no date: it counts as handed in on time")
        else:
            taken.notes += [f"{lab.name}: {note}" for note in choice.notes]
            without_program = without_program or bool(choice.notes)
    for lab in labs:
        if lab.name not in taken.labs:
            shutil.rmtree(target / lab.name, ignore_errors=True)
    if search.left == MAX_FILES and len(taken.notes) == len(submission.notes):
        taken.notes.append("it is empty: no file was handed in")
    elif not taken.labs and any((source / "HEAD").is_file() and (source / "objects").is_dir() for source in submission.sources):
        taken.notes.append("it is a git repository without its working tree: hand in the files")
    elif not taken.labs and not without_program:
        taken.notes.append("no file of any lab was found: name each lab's directory NN_name, and its programs as in the handout")
    for notes in taken.notes, *taken.labs.values():
        notes[:] = [plain(note, MAX_NOTE) for note in notes[:MAX_NOTES]] + \
            ([f"and {len(notes) - MAX_NOTES} more notes"] if len(notes) > MAX_NOTES else [])
    return taken


def write_only(directory: Path, contents: Dict[str, bytes]) -> None:
    """Makes a directory contain exactly these files."""
    directory.mkdir(parents=True, exist_ok=True)
    for entry in list(directory.iterdir()):
        if entry.name not in contents:
            entry.unlink()
    for name, content in contents.items():
        path = directory / name
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)

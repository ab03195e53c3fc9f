"""Collects submissions in any layout: finds each lab's files, copies them, and notes what was unusual.

A submission is a directory or an archive in one common directory. Its content is untrusted: symbolic links are not
followed, archives are read by a process of its own (archive_reader.py), and at most SOURCE_LIMIT bytes of a file are used.
"""
from __future__ import annotations

import functools
import os
import re
import shutil
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Callable, Dict, Iterator, List, Optional, Tuple

from ..labs import Lab, UserError, all_labs
from ..results import plain
from ..sandbox.build import SOURCE_LIMIT
from .archive_reader import ArchiveReader
from .unpack import ARCHIVES, IGNORED, MAX_DEPTH, is_source, without_suffix

MAX_FILES = 5000  # examined in one submission
MAX_SOURCES = 64  # copied for one lab
LAST_TIME = 4e9  # seconds since the Epoch: the year 2096
MAX_MARKS = 4  # such as "_final (1)", at the end of a name
MAX_NAME = 100  # bytes of the name of a file that is copied

# The names of files and directories in the platforms' downloads of all submissions.
_CANVAS = re.compile(r"(?P<student>[^_]+?)_(?P<late>LATE_)?(?P<id>\d+)_\d+_(?P<file>.+)")
_MOODLE = re.compile(r"(?P<student>.+?)_(?P<id>\d+)_assignsubmission_file_?")


@dataclass
class SourceFile:
    """A source file in a submission. `read` returns its bytes, at most SOURCE_LIMIT + 1."""

    path: PurePosixPath
    size: int
    time: float
    read: Callable[[], bytes]


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


@dataclass
class IntakeResult:
    """What was found: notes for the student, and per lab its own notes and the time of its newest file."""

    notes: List[str] = field(default_factory=list)
    labs: Dict[str, List[str]] = field(default_factory=dict)
    times: Dict[str, float] = field(default_factory=dict)


# ---- the list of submissions ------------------------------------------------------------------------------


def _identify(entry: str) -> Tuple[str, str, str, Optional[bool]]:
    """Returns the student's name, the platform, its id, and whether it marks the work as late, as far as an entry's name has them."""
    for platform, pattern in ("moodle", _MOODLE), ("canvas", _CANVAS):
        match = pattern.fullmatch(without_suffix(entry)) or (pattern.fullmatch(entry) if platform == "canvas" else None)
        if match:
            return match["student"], platform, match["id"], bool(match["late"]) if platform == "canvas" else None
    return without_suffix(entry), "", "", None


def shown_name(text: str) -> Tuple[str, str]:
    """Returns a name as it can be shown anywhere, and a note if something had to be replaced in it.

    A name is untrusted, too: control characters would be commands to a terminal, and those that turn the direction of writing
    would let it look like another one.
    """
    decoded = text.encode("utf-8", "backslashreplace").decode()
    shown = plain(decoded, MAX_NAME)
    return shown, "" if shown == decoded else f"its name has characters that cannot be shown, or more than {MAX_NAME}"


def _slug(text: str) -> str:
    """Returns a directory name that is valid on every system."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9.-]+", "_", ascii_text).strip("._-")[:60] or "student"


def list_submissions(directory: Path) -> Tuple[List[Submission], List[str]]:
    """Returns the submissions in a directory, sorted by name, and notes on entries that are not submissions."""
    if not directory.is_dir():
        raise UserError(f"there is no directory '{directory}': name the one with a directory or an archive for each student")
    named = {lab.name for lab in all_labs()}
    own = [name for name in sorted(named) if (directory / name).is_dir() or (directory / "labs" / name).is_dir()]
    # A student, or an archive, may be called as a lab: that one is a submission among others.
    others = any(entry.name not in named and entry.name not in IGNORED and not entry.name.startswith(".") and
                 (entry.is_dir() or entry.name.lower().endswith(ARCHIVES)) for entry in os.scandir(directory))
    if own and (not others or (directory / "labs" / own[0]).is_dir()):
        raise UserError(f"'{directory}' is itself one submission (it has {own[0]}): name the directory that holds the "
                        f"students' directories, or check this one with `make check IN={directory}`")
    found: Dict[Tuple[str, str, str], Submission] = {}
    notes = []
    for entry in sorted(os.scandir(directory), key=lambda item: os.fsencode(item.name)):
        shown, _ = shown_name(entry.name)
        if entry.name.startswith(".") or entry.name in IGNORED:
            continue
        student, platform, platform_id, late = _identify(entry.name)
        if entry.is_symlink():
            notes.append(f"{shown} is a symbolic link: not followed")
            continue
        loose = platform == "canvas" and entry.name.endswith((".c", ".h"))
        if not (entry.is_dir() or loose or entry.name.lower().endswith(ARCHIVES)):
            notes.append(f"{shown} is neither a directory nor an archive ({', '.join(ARCHIVES)}): ignored")
            continue
        # One platform id is one student; an entry without an id is a student of its own.
        identity = (platform, platform_id, "") if platform else ("", "", entry.name)
        name, strange = shown_name(student)
        one = found.setdefault(identity, Submission(name, "", [], platform, platform_id, late, [strange] if strange else []))
        one.sources.append(Path(entry.path))
        one.late = one.late or late
    submissions = list(found.values())
    if not submissions:
        raise UserError(f"'{directory}' holds no submission: it needs a directory or an archive for each student")
    used_names: Dict[str, str] = {}
    same_name: Dict[str, List[Submission]] = {}
    for one in submissions:
        same_name.setdefault(unicodedata.normalize("NFKC", one.name).casefold(), []).append(one)
        slug, number = _slug(one.name), 1
        while slug.casefold() in used_names:
            number += 1
            slug = f"{_slug(one.name)}-{number}"
        used_names[slug.casefold()] = one.directory = slug
    for group in same_name.values():
        for one in group if len(group) > 1 else []:
            same = ", ".join(shown_name(other.sources[0].name)[0] for other in group if other is not one)
            one.notes.append(f"there is another submission of the same name: {same}; each is graded separately")
            one.name = shown_name(one.sources[0].name)[0]
    return submissions, notes


# ---- the files in a submission ----------------------------------------------------------------------------


@dataclass
class _Search:
    """What the search through one submission has found to say, how many files it may still look at, and who reads archives."""

    reader: ArchiveReader
    notes: List[str]
    left: int = MAX_FILES


def _sources_in_directory(directory: Path, inside: PurePosixPath, search: _Search) -> Iterator[SourceFile]:
    try:
        entries = sorted(os.scandir(directory), key=lambda item: os.fsencode(item.name))
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
        elif entry.name.lower().endswith(ARCHIVES) and entry.is_file(follow_symlinks=False):
            yield from _sources_in_archive(Path(entry.path), path.parent / without_suffix(path.name), search)
        elif is_source(entry.name):
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


# ---- the choice of a lab's files --------------------------------------------------------------------------


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _directory_match(lab: Lab, path: PurePosixPath) -> int:
    """Returns how well a file's directories match a lab: 3 exactly, 2 by a guess, 1 if none names a lab, 0 if they name
    another lab."""
    number = lab.number.lstrip("0")
    for part in reversed(path.parts[:-1]):
        if part == lab.name:
            return 3
        plain = _plain(part)
        if plain in (_plain(lab.name), _plain(lab.name[3:]), lab.number, f"lab{lab.number}", f"lab{number}", number,
                     number + _plain(lab.name[3:]), f"lab{lab.number}{_plain(lab.name[3:])}"):
            return 2
        if any(part == other.name or plain in (f"lab{other.number}", other.number, _plain(other.name))
               for other in all_labs()):
            return 0
    return 1


def _file_match(program: str, name: str) -> int:
    """Returns how well a file's name matches a program's: 3 exactly, 2 by a guess, 0 not at all."""
    if name == f"{program}.c":
        return 3
    # "Sysv_Create.c", "sysv_create (1).c", "sysv_create-2.c", "sysv_create_final.c", "sysv_create.c.txt"
    stem = re.sub(r"\.c(\.txt)?$", "", name, flags=re.I)
    for _ in range(MAX_MARKS):
        stem = re.sub(r"[ _-]{0,4}(\(\d{1,9}\)|copy|final|new|v?\d{1,9})$", "", stem, flags=re.I)
    return 2 if re.search(r"\.c(\.txt)?$", name, re.I) and _plain(stem) == _plain(program) else 0


def _content(found: SourceFile, name: str, notes: List[str]) -> Optional[bytes]:
    """Returns the text to compile; None, with a note, if the file is not C source."""
    try:
        content = found.read()
    except OSError as error:
        notes.append(f"{found.path} cannot be read: {error.strerror}")
        return None
    if max(len(content), found.size) > SOURCE_LIMIT:
        notes.append(f"{found.path} has {found.size >> 20} MiB: a C source of this lab needs a few kilobytes")
        return None
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        notes.append(f"{found.path} is UTF-16 text: taken as UTF-8; save {name} as UTF-8")
        return content.decode("utf-16", "replace").encode("utf-8")
    if content.startswith(b"\x7fELF") or b"\0" in content:
        notes.append(f"{found.path} is a binary file: hand in the C source {name}")
        return None
    return content


def _choose(lab: Lab, program: str, files: List[SourceFile], notes: List[str]) -> Optional[SourceFile]:
    """Returns the file to grade as one of a lab's programs, or None."""
    candidates = []
    for found in files:
        directory, name = _directory_match(lab, found.path), _file_match(program, found.path.name)
        if directory and name:
            # In a copy of the whole project the student's programs are those in labs/.
            is_solution = "solutions" in found.path.parts
            candidates.append((-directory, -name, is_solution, len(found.path.parts), str(found.path), found))
    if not candidates and len(lab.programs) == 1:
        # The lab has one program and the directory one source: take it whatever its name is.
        own = [found for found in files if _directory_match(lab, found.path) >= 2 and found.path.suffix.lower() == ".c"]
        if len(own) == 1:
            candidates = [(-2, -1, False, len(own[0].path.parts), str(own[0].path), own[0])]
    if not candidates:
        return None
    candidates.sort(key=lambda candidate: candidate[:5])
    best = candidates[0][5]
    if best.path.name != f"{program}.c":
        notes.append(f"{best.path} was taken as {program}.c: hand it in under that name")
    others = [candidate[5] for candidate in candidates[1:] if candidate[:3] == candidates[0][:3]]
    if any(other.read() != best.read() for other in others):
        notes.append(f"{program}.c exists more than once: {best.path} was graded, not "
                     f"{', '.join(str(other.path) for other in others[:3])}")
    return best


def take(submission: Submission, labs: List[Lab], target: Path, reader: ArchiveReader) -> IntakeResult:
    """Copies a submission's files of the labs to `target`/NN_name/. Of these labs nothing else is there afterwards."""
    taken = IntakeResult(notes=list(submission.notes))
    search = _Search(reader, taken.notes)
    files: List[SourceFile] = []
    for source in submission.sources:
        if source.is_dir():
            files += _sources_in_directory(source, PurePosixPath(), search)
        elif source.name.lower().endswith(ARCHIVES):
            files += _sources_in_archive(source, PurePosixPath(), search)
        else:
            match = _CANVAS.fullmatch(source.name)
            name = re.sub(r"-\d+(?=\.[ch]$)", "", match["file"] if match else source.name)
            status = source.stat()
            files.append(SourceFile(PurePosixPath(name), status.st_size, status.st_mtime, functools.partial(_read, str(source))))
    if search.left < 0:
        taken.notes.append(f"there are more than {MAX_FILES} files: only the first {MAX_FILES} were examined")
    for lab in labs:
        notes: List[str] = []
        chosen = {program: _choose(lab, program, files, notes) for program in lab.programs}
        contents: Dict[str, bytes] = {}
        used = [found for found in chosen.values() if found]
        beside = {found.path.parent for found in used}
        others = [found for found in files if found.path.parent in beside and found not in used
                  and (_directory_match(lab, found.path) >= 2 or found.path.suffix == ".h")
                  and re.search(r"\.[ch]$", found.path.name)][: MAX_SOURCES - len(used)]
        for name, found in [(f"{program}.c", found) for program, found in chosen.items() if found] + \
                [(found.path.name, found) for found in others
                 if found.path.suffix == ".h" or found.path.stem not in lab.programs]:
            if len(os.fsencode(name)) > MAX_NAME:
                notes.append(f"{plain(name, 40)} has a name of more than {MAX_NAME} bytes: left out")
                continue
            content = _content(found, name, notes)
            if content is not None:
                contents[name] = content
        missing = [f"{program}.c" for program, found in chosen.items() if found is None]
        if missing and used:
            notes.append(f"missing: {' and '.join(missing)}")
        guessed = sorted({str(found.path.parent) for found in used if _directory_match(lab, found.path) == 2})
        if guessed:
            notes.append(f"the directory {guessed[0]} was taken as {lab.name}: hand it in under that name")
        write_only(target / lab.name, contents)
        if used:
            taken.labs[lab.name] = notes
            when = max(found.time for found in used)
            if 0 <= when < LAST_TIME:
                taken.times[lab.name] = when
            else:
                notes.append("the time of its files is no date: it counts as handed in on time")
    for lab in labs:
        if lab.name not in taken.labs:
            shutil.rmtree(target / lab.name, ignore_errors=True)
    if not taken.labs:
        taken.notes.append("no file of any lab was found: name each lab's directory NN_name, and its programs as in the handout")
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

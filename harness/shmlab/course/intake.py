"""Collects submissions in any layout: finds each lab's files, copies them, and notes what was unusual.

A submission is a directory or an archive in one common directory. Its content is untrusted: symbolic links are not
followed, archives are not unpacked to disk, and at most SOURCE_LIMIT bytes of a file are used.
"""
from __future__ import annotations

import functools
import os
import re
import shutil
import stat
import tarfile
import time
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Callable, Dict, IO, Iterator, List, Optional, Tuple, cast

from ..sandbox.build import SOURCE_LIMIT
from ..labs import Lab, UserError, all_labs

MAX_FILES = 5000  # examined in one submission
MAX_DEPTH = 8  # of directories
MAX_UNPACKED = 256 << 20  # bytes that an archive may decompress to
MAX_SOURCES = 64  # copied for one lab

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_IGNORED = {"__MACOSX", ".git", ".svn", "build", "node_modules", "cmake-build-debug"}

# The names of files and directories in the platforms' downloads of all submissions.
_CANVAS = re.compile(r"(?P<student>[^_]+?)_(?:LATE_)?(?P<id>\d+)_\d+_(?P<file>.+)")
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
    notes: List[str] = field(default_factory=list)


@dataclass
class IntakeResult:
    """What was found: notes for the student, and per lab its own notes and the time of its newest file."""

    notes: List[str] = field(default_factory=list)
    labs: Dict[str, List[str]] = field(default_factory=dict)
    times: Dict[str, float] = field(default_factory=dict)


# ---- the list of submissions ------------------------------------------------------------------------------


def _without_suffix(name: str) -> str:
    for suffix in sorted(ARCHIVES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _identify(entry: str) -> Tuple[str, str, str]:
    """Returns the student's name, the platform and the platform's id, as far as a directory entry's name contains them."""
    for platform, pattern in ("moodle", _MOODLE), ("canvas", _CANVAS):
        match = pattern.fullmatch(_without_suffix(entry)) or (pattern.fullmatch(entry) if platform == "canvas" else None)
        if match:
            return match["student"], platform, match["id"]
    return _without_suffix(entry), "", ""


def _slug(text: str) -> str:
    """Returns a directory name that is valid on every system."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9.-]+", "_", ascii_text).strip("._-")[:60] or "student"


def list_submissions(directory: Path) -> Tuple[List[Submission], List[str]]:
    """Returns the submissions in a directory, sorted by name, and notes on entries that are not submissions."""
    if not directory.is_dir():
        raise UserError(f"there is no directory '{directory}': name the one with a directory or an archive for each student")
    own = [lab.name for lab in all_labs() if (directory / lab.name).is_dir() or (directory / "labs" / lab.name).is_dir()]
    if own:
        raise UserError(f"'{directory}' is itself one submission (it has {own[0]}): name the directory that holds the "
                        f"students' directories, or check this one with `make check IN={directory}`")
    found: Dict[Tuple[str, str, str], Submission] = {}
    notes = []
    for entry in sorted(os.scandir(directory), key=lambda item: os.fsencode(item.name)):
        shown = entry.name.encode("utf-8", "backslashreplace").decode()
        if entry.name.startswith(".") or entry.name in _IGNORED:
            continue
        student, platform, platform_id = _identify(entry.name)
        if entry.is_symlink():
            notes.append(f"{shown} is a symbolic link: not followed")
            continue
        loose = platform == "canvas" and entry.name.endswith((".c", ".h"))
        if not (entry.is_dir() or loose or entry.name.lower().endswith(ARCHIVES)):
            notes.append(f"{shown} is neither a directory nor an archive ({', '.join(ARCHIVES)}): ignored")
            continue
        # One platform id is one student; an entry without an id is a student of its own.
        identity = (platform, platform_id, "") if platform else ("", "", entry.name)
        name = student.encode("utf-8", "backslashreplace").decode()
        found.setdefault(identity, Submission(name, "", [], platform, platform_id)).sources.append(Path(entry.path))
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
            others = ", ".join(other.sources[0].name.encode("utf-8", "backslashreplace").decode()
                               for other in group if other is not one)
            one.notes.append(f"there is another submission of the same name: {others}; each is graded separately")
            one.name = one.sources[0].name.encode("utf-8", "backslashreplace").decode()
    return submissions, notes


# ---- the files in a submission ----------------------------------------------------------------------------


class _LimitedStream:
    """A stream that raises OSError after MAX_UNPACKED bytes: a small archive can decompress to terabytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.left = stream, MAX_UNPACKED

    def read(self, size: int = -1) -> bytes:
        chunk = self.stream.read(size if 0 <= size <= 1 << 20 else 1 << 20)
        self.left -= len(chunk)
        if self.left < 0:
            raise OSError(f"it unpacks to more than {MAX_UNPACKED >> 20} MiB")
        return chunk


def _is_source(name: str) -> bool:
    return bool(re.search(r"\.[ch](\.txt)?$", name, re.I)) and not name.startswith("._")


def _sources_in_directory(directory: Path, inside: PurePosixPath, notes: List[str], remaining: List[int]) -> Iterator[SourceFile]:
    try:
        entries = sorted(os.scandir(directory), key=lambda item: os.fsencode(item.name))
    except OSError as error:
        notes.append(f"{inside} cannot be read: {error.strerror}")
        return
    for entry in entries:
        remaining[0] -= 1
        if remaining[0] < 0:
            return
        path = inside / entry.name.encode("utf-8", "backslashreplace").decode()
        if entry.is_symlink():
            notes.append(f"{path} is a symbolic link: not followed")
        elif entry.is_dir(follow_symlinks=False):
            if entry.name in _IGNORED or entry.name.startswith("."):
                continue
            if len(path.parts) <= MAX_DEPTH:
                yield from _sources_in_directory(Path(entry.path), path, notes, remaining)
        elif entry.name.lower().endswith(ARCHIVES) and entry.is_file(follow_symlinks=False):
            yield from _sources_in_archive(Path(entry.path), path.parent / _without_suffix(path.name), notes, remaining)
        elif _is_source(entry.name):
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                notes.append(f"{path} is not a file")
                continue
            yield SourceFile(path, status.st_size, status.st_mtime, functools.partial(_read, entry.path))


def _read(path: str) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(SOURCE_LIMIT + 1)


def _member_path(name: str) -> Optional[PurePosixPath]:
    """Returns the path of an archive's member, without `..` and the like; None if it cannot be a lab's source."""
    path = PurePosixPath(name.replace("\\", "/").encode("utf-8", "backslashreplace").decode())
    parts = [part for part in path.parts if part not in ("/", ".", "..")]
    if not parts or len(parts) > MAX_DEPTH or _IGNORED & set(parts[:-1]) or not _is_source(parts[-1]):
        return None
    return PurePosixPath(*parts)


def _sources_in_archive(archive: Path, inside: PurePosixPath, notes: List[str], remaining: List[int]) -> Iterator[SourceFile]:
    try:
        fd = os.open(archive, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if archive.name.lower().endswith(".zip"):
                yield from _sources_in_zip(file, inside, notes, remaining)
            else:
                yield from _sources_in_tar(file, inside, notes, remaining)
    except Exception as error:  # zipfile and tarfile raise many different exceptions for damaged archives
        notes.append(f"{archive.name} cannot be unpacked: {str(error) or type(error).__name__}")


def _sources_in_zip(file: IO[bytes], inside: PurePosixPath, notes: List[str], remaining: List[int]) -> Iterator[SourceFile]:
    with zipfile.ZipFile(file) as members:
        for member in members.infolist():
            remaining[0] -= 1
            path = _member_path(member.filename)
            if remaining[0] < 0 or path is None or member.is_dir():
                continue
            if stat.S_ISLNK(member.external_attr >> 16):
                notes.append(f"{inside / path} is a symbolic link: not followed")
                continue
            with members.open(member) as source:
                content = source.read(SOURCE_LIMIT + 1)
            written = _zip_timestamp(member.date_time)
            yield SourceFile(inside / path, member.file_size, written, functools.partial(bytes, content))


def _zip_timestamp(date: Tuple[int, ...]) -> float:
    """Converts a date in a ZIP archive, which is local time, to seconds since the epoch."""
    year, month, day, hour, minute, second = date
    try:
        return time.mktime((year, month, day, hour, minute, second, 0, 0, -1))
    except (ValueError, OverflowError):
        return 0.0


def _sources_in_tar(file: IO[bytes], inside: PurePosixPath, notes: List[str], remaining: List[int]) -> Iterator[SourceFile]:
    import bz2
    import gzip
    import lzma

    start = file.read(6)
    file.seek(0)
    unpacked: IO[bytes] = file
    if start.startswith(b"\x1f\x8b"):
        unpacked = cast(IO[bytes], gzip.GzipFile(fileobj=file))
    elif start.startswith(b"BZh"):
        unpacked = bz2.BZ2File(file)
    elif start.startswith(b"\xfd7zXZ"):
        unpacked = lzma.LZMAFile(file)
    with tarfile.open(fileobj=cast(IO[bytes], _LimitedStream(unpacked)), mode="r|") as members:
        for member in members:
            remaining[0] -= 1
            path = _member_path(member.name)
            if remaining[0] < 0:
                return
            if path is None:
                continue
            if not member.isfile():
                notes.append(f"{inside / path} is a {'link' if member.issym() or member.islnk() else 'special file'}: "
                             "not followed")
                continue
            source = members.extractfile(member)
            content = source.read(SOURCE_LIMIT + 1) if source else b""
            yield SourceFile(inside / path, member.size, float(member.mtime), functools.partial(bytes, content))


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
    stem = re.sub(r"([ _-]*(\(\d+\)|copy|final|new|v?\d+))+$", "", stem, flags=re.I)
    return 2 if re.search(r"\.c(\.txt)?$", name, re.I) and _plain(stem) == _plain(program) else 0


def _content(found: SourceFile, name: str, notes: List[str]) -> Optional[bytes]:
    """Returns the text to compile; None, with a note, if the file is not C source."""
    try:
        content = found.read()
    except OSError as error:
        notes.append(f"{found.path} cannot be read: {error.strerror}")
        return None
    if len(content) > SOURCE_LIMIT:
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


def take(submission: Submission, labs: List[Lab], target: Path) -> IntakeResult:
    """Copies a submission's files of the labs to `target`/NN_name/, which afterwards contains nothing else."""
    taken = IntakeResult(notes=list(submission.notes))
    remaining = [MAX_FILES]
    files: List[SourceFile] = []
    for source in submission.sources:
        if source.is_dir():
            files += _sources_in_directory(source, PurePosixPath(), taken.notes, remaining)
        elif source.name.lower().endswith(ARCHIVES):
            files += _sources_in_archive(source, PurePosixPath(), taken.notes, remaining)
        else:
            match = _CANVAS.fullmatch(source.name)
            name = re.sub(r"-\d+(?=\.[ch]$)", "", match["file"] if match else source.name)
            status = source.stat()
            files.append(SourceFile(PurePosixPath(name), status.st_size, status.st_mtime, functools.partial(_read, str(source))))
    if remaining[0] < 0:
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
            content = _content(found, name, notes)
            if content is not None:
                contents[name] = content
        missing = [f"{program}.c" for program, found in chosen.items() if found is None]
        if missing and used:
            notes.append(f"missing: {' and '.join(missing)}")
        guessed = sorted({str(found.path.parent) for found in used if _directory_match(lab, found.path) == 2})
        if guessed:
            notes.append(f"the directory {guessed[0]} was taken as {lab.name}: hand it in under that name")
        _write_only(target / lab.name, contents)
        if used:
            taken.labs[lab.name] = notes
            taken.times[lab.name] = max(found.time for found in used)
    for directory in target.iterdir() if target.is_dir() else []:
        if directory.name not in taken.labs:
            shutil.rmtree(directory)
    if not taken.labs:
        taken.notes.append("no file of any lab was found: name each lab's directory NN_name, and its programs as in the handout")
    return taken


def _write_only(directory: Path, contents: Dict[str, bytes]) -> None:
    """Makes a directory contain exactly these files."""
    directory.mkdir(parents=True, exist_ok=True)
    for entry in list(directory.iterdir()):
        if entry.name not in contents:
            entry.unlink()
    for name, content in contents.items():
        path = directory / name
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)

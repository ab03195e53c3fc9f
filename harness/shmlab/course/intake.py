"""Takes in what students have handed in, in whatever shape: finds each lab's files and copies them, with notes.

A submission is a directory or an archive below one common directory. Everything in it is a stranger's: links are not
followed, nothing is unpacked to disk, and no more is read than a lab's sources can have.
"""
from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Callable, Dict, IO, Iterator, List, Optional, Tuple

from ..sandbox.build import SOURCE_LIMIT
from ..labs import Lab, UserError, all_labs

MOST_FILES = 5000  # looked at in one submission
MOST_DEPTH = 8
MOST_UNPACKED = 256 << 20  # bytes of a compressed archive that are gone through
MOST_SOURCES = 64  # of one lab

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_JUNK = {"__MACOSX", ".git", ".svn", "build", "node_modules", "cmake-build-debug"}

# What learning platforms make of a name when they hand out all submissions.
_CANVAS = re.compile(r"(?P<who>[^_]+?)_(?:LATE_)?(?P<id>\d+)_\d+_(?P<file>.+)")
_MOODLE = re.compile(r"(?P<who>.+?)_(?P<id>\d+)_assignsubmission_file_?")


@dataclass
class Found:
    """A source file in a submission. `read` gives its bytes, at most one more than SOURCE_LIMIT."""

    path: PurePosixPath
    size: int
    time: float
    read: Callable[[], bytes]


@dataclass
class Submission:
    """One student's work: where it is, and under which names the course's platforms know the student."""

    name: str
    directory: str  # the student's directory in the results, unlike every other
    sources: List[Path] = field(default_factory=list)
    platform: str = ""
    platform_id: str = ""
    notes: List[str] = field(default_factory=list)


@dataclass
class IntakeResult:
    """What was taken in: notes for the student, and per lab its own notes and when its newest file was written."""

    notes: List[str] = field(default_factory=list)
    labs: Dict[str, List[str]] = field(default_factory=dict)
    times: Dict[str, float] = field(default_factory=dict)


# ---- who has handed in ------------------------------------------------------------------------------------


def _stem(name: str) -> str:
    for suffix in sorted(ARCHIVES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _identify(entry: str) -> Tuple[str, str, str]:
    """Name, platform and the platform's id of whoever an entry of the directory belongs to."""
    for platform, pattern in ("moodle", _MOODLE), ("canvas", _CANVAS):
        match = pattern.fullmatch(_stem(entry)) or (pattern.fullmatch(entry) if platform == "canvas" else None)
        if match:
            return match["who"], platform, match["id"]
    return _stem(entry), "", ""


def _slug(text: str) -> str:
    """A name that is safe as a directory's on every system."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9.-]+", "_", plain).strip("._-")[:60] or "student"


def list_submissions(directory: Path) -> Tuple[List[Submission], List[str]]:
    """Every submission in a directory, in the order of their names, and notes on what is none."""
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
        if entry.name.startswith(".") or entry.name in _JUNK:
            continue
        who, platform, number = _identify(entry.name)
        if entry.is_symlink():
            notes.append(f"{shown} is a symbolic link: not followed")
            continue
        loose = platform == "canvas" and entry.name.endswith((".c", ".h"))
        if not (entry.is_dir() or loose or entry.name.lower().endswith(ARCHIVES)):
            notes.append(f"{shown} is neither a directory nor an archive ({', '.join(ARCHIVES)}): passed over")
            continue
        # A platform's id is a person; without one, each entry is somebody of their own.
        identity = (platform, number, "") if platform else ("", "", entry.name)
        name = who.encode("utf-8", "backslashreplace").decode()
        found.setdefault(identity, Submission(name, "", [], platform, number)).sources.append(Path(entry.path))
    submissions = list(found.values())
    if not submissions:
        raise UserError(f"'{directory}' holds no submission: it needs a directory or an archive for each student")
    taken: Dict[str, str] = {}
    alike: Dict[str, List[Submission]] = {}
    for one in submissions:
        alike.setdefault(unicodedata.normalize("NFKC", one.name).casefold(), []).append(one)
        slug, number = _slug(one.name), 1
        while slug.casefold() in taken:
            number += 1
            slug = f"{_slug(one.name)}-{number}"
        taken[slug.casefold()] = one.directory = slug
    for group in alike.values():
        for one in group if len(group) > 1 else []:
            others = ", ".join(other.sources[0].name.encode("utf-8", "backslashreplace").decode()
                               for other in group if other is not one)
            one.notes.append(f"there is another submission of the same name: {others}; both are graded, each by itself")
            one.name = one.sources[0].name.encode("utf-8", "backslashreplace").decode()
    return submissions, notes


# ---- what is in a submission ------------------------------------------------------------------------------


class _Limited:
    """A stream that ends in an error after so many bytes: an archive may unpack to more than any disk."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.left = stream, MOST_UNPACKED

    def read(self, size: int = -1) -> bytes:
        chunk = self.stream.read(size if 0 <= size <= 1 << 20 else 1 << 20)
        self.left -= len(chunk)
        if self.left < 0:
            raise OSError(f"it unpacks to more than {MOST_UNPACKED >> 20} MiB")
        return chunk


def _is_source(name: str) -> bool:
    return bool(re.search(r"\.[ch](\.txt)?$", name, re.I)) and not name.startswith("._")


def _in_directory(directory: Path, inside: PurePosixPath, notes: List[str], left: List[int]) -> Iterator[Found]:
    try:
        entries = sorted(os.scandir(directory), key=lambda item: os.fsencode(item.name))
    except OSError as error:
        notes.append(f"{inside} cannot be read: {error.strerror}")
        return
    for entry in entries:
        left[0] -= 1
        if left[0] < 0:
            return
        path = inside / entry.name.encode("utf-8", "backslashreplace").decode()
        if entry.is_symlink():
            notes.append(f"{path} is a symbolic link: not followed")
        elif entry.is_dir(follow_symlinks=False):
            if entry.name in _JUNK or entry.name.startswith("."):
                continue
            if len(path.parts) <= MOST_DEPTH:
                yield from _in_directory(Path(entry.path), path, notes, left)
        elif entry.name.lower().endswith(ARCHIVES) and entry.is_file(follow_symlinks=False):
            yield from _in_archive(Path(entry.path), path.parent / _stem(path.name), notes, left)
        elif _is_source(entry.name):
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                notes.append(f"{path} is not a file")
                continue
            yield Found(path, status.st_size, status.st_mtime, lambda name=entry.path: _read(name))  # type: ignore[misc]


def _read(path: str) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(SOURCE_LIMIT + 1)


def _parts(name: str) -> Optional[PurePosixPath]:
    """The path of an archive's member; None for what cannot be a source of ours."""
    path = PurePosixPath(name.replace("\\", "/").encode("utf-8", "backslashreplace").decode())
    parts = [part for part in path.parts if part not in ("/", ".", "..")]
    if not parts or len(parts) > MOST_DEPTH or _JUNK & set(parts[:-1]) or not _is_source(parts[-1]):
        return None
    return PurePosixPath(*parts)


def _in_archive(archive: Path, inside: PurePosixPath, notes: List[str], left: List[int]) -> Iterator[Found]:
    try:
        fd = os.open(archive, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if archive.name.lower().endswith(".zip"):
                yield from _in_zip(file, inside, notes, left)
            else:
                yield from _in_tar(file, inside, notes, left)
    except Exception as error:  # zipfile and tarfile raise many kinds for what is broken
        notes.append(f"{archive.name} cannot be unpacked: {str(error) or type(error).__name__}")


def _in_zip(file: IO[bytes], inside: PurePosixPath, notes: List[str], left: List[int]) -> Iterator[Found]:
    with zipfile.ZipFile(file) as members:
        for member in members.infolist():
            left[0] -= 1
            path = _parts(member.filename)
            if left[0] < 0 or path is None or member.is_dir():
                continue
            if stat.S_ISLNK(member.external_attr >> 16):
                notes.append(f"{inside / path} is a symbolic link: not followed")
                continue
            with members.open(member) as source:
                content = source.read(SOURCE_LIMIT + 1)
            written = _time_of(member.date_time)
            yield Found(inside / path, member.file_size, written, lambda content=content: content)  # type: ignore[misc]


def _time_of(date: Tuple[int, ...]) -> float:
    """Seconds since the epoch of a date in a ZIP archive, which is local time."""
    import time

    try:
        return time.mktime((*date, 0, 0, -1))  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return 0.0


def _in_tar(file: IO[bytes], inside: PurePosixPath, notes: List[str], left: List[int]) -> Iterator[Found]:
    import bz2
    import gzip
    import lzma

    start = file.read(6)
    file.seek(0)
    unpacked: IO[bytes] = file
    if start.startswith(b"\x1f\x8b"):
        unpacked = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]
    elif start.startswith(b"BZh"):
        unpacked = bz2.BZ2File(file)  # type: ignore[assignment]
    elif start.startswith(b"\xfd7zXZ"):
        unpacked = lzma.LZMAFile(file)  # type: ignore[assignment]
    with tarfile.open(fileobj=_Limited(unpacked), mode="r|") as members:  # type: ignore[call-overload]
        for member in members:
            left[0] -= 1
            path = _parts(member.name)
            if left[0] < 0:
                return
            if path is None:
                continue
            if not member.isfile():
                notes.append(f"{inside / path} is a {'link' if member.issym() or member.islnk() else 'special file'}: "
                             "not followed")
                continue
            source = members.extractfile(member)
            content = source.read(SOURCE_LIMIT + 1) if source else b""
            yield Found(inside / path, member.size, float(member.mtime),
                        lambda content=content: content)  # type: ignore[misc]


# ---- which file is which lab's ----------------------------------------------------------------------------


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _directory_fit(lab: Lab, path: PurePosixPath) -> int:
    """How well the directories above a file name a lab: 3 is exact, 2 is what one can guess, 1 is no directory, 0 is another's."""
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


def _file_fit(program: str, name: str) -> int:
    """How well a file's name fits a program's: 3 is exact, 2 is what one can guess, 0 does not."""
    if name == f"{program}.c":
        return 3
    # "Sysv_Create.c", "sysv_create (1).c", "sysv_create-2.c", "sysv_create_final.c", "sysv_create.c.txt"
    stem = re.sub(r"\.c(\.txt)?$", "", name, flags=re.I)
    stem = re.sub(r"([ _-]*(\(\d+\)|copy|final|new|v?\d+))+$", "", stem, flags=re.I)
    return 2 if re.search(r"\.c(\.txt)?$", name, re.I) and _plain(stem) == _plain(program) else 0


def _content(found: Found, name: str, notes: List[str]) -> Optional[bytes]:
    """The text to compile; None, with a note, for what is none."""
    try:
        content = found.read()
    except OSError as error:
        notes.append(f"{found.path} cannot be read: {error.strerror}")
        return None
    if len(content) > SOURCE_LIMIT:
        notes.append(f"{found.path} has {found.size >> 20} MiB: a C source of this lab has some kilobytes")
        return None
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        notes.append(f"{found.path} is UTF-16 text: taken as UTF-8; save {name} as UTF-8")
        return content.decode("utf-16", "replace").encode("utf-8")
    if content.startswith(b"\x7fELF") or b"\0" in content:
        notes.append(f"{found.path} is a binary file: hand in the C source {name}")
        return None
    return content


def _choose(lab: Lab, program: str, files: List[Found], notes: List[str]) -> Optional[Found]:
    """The file that is a program of a lab."""
    fits = []
    for found in files:
        directory, name = _directory_fit(lab, found.path), _file_fit(program, found.path.name)
        if directory and name:
            # Who hands in a whole copy of the project means the programs in labs/.
            given = "solutions" in found.path.parts
            fits.append((-directory, -name, given, len(found.path.parts), str(found.path), found))
    if not fits and len(lab.programs) == 1:
        # One program wanted, one source in the lab's directory: its name does not matter much.
        own = [found for found in files if _directory_fit(lab, found.path) >= 2 and found.path.suffix.lower() == ".c"]
        fits = [(-2, -1, False, len(found.path.parts), str(found.path), found) for found in own] if len(own) == 1 else []
    if not fits:
        return None
    fits.sort(key=lambda fit: fit[:5])
    best = fits[0][5]
    if best.path.name != f"{program}.c":
        notes.append(f"{best.path} was taken as {program}.c: hand it in under that name")
    rivals = [fit[5] for fit in fits[1:] if fit[:3] == fits[0][:3]]
    if rivals and any(rival.read() != best.read() for rival in rivals):
        notes.append(f"{program}.c is there more than once ({', '.join(str(rival.path) for rival in rivals[:3])}): "
                     f"graded was {best.path}")
    return best


def take(submission: Submission, labs: List[Lab], target: Path) -> IntakeResult:
    """Copies a submission's files of the labs to `target`/NN_name/, which then holds these and nothing else."""
    taken = IntakeResult(notes=list(submission.notes))
    left = [MOST_FILES]
    files: List[Found] = []
    for source in submission.sources:
        if source.is_dir():
            files += _in_directory(source, PurePosixPath(), taken.notes, left)
        elif source.name.lower().endswith(ARCHIVES):
            files += _in_archive(source, PurePosixPath(), taken.notes, left)
        else:
            match = _CANVAS.fullmatch(source.name)
            name = re.sub(r"-\d+(?=\.[ch]$)", "", match["file"] if match else source.name)
            status = source.stat()
            files.append(Found(PurePosixPath(name), status.st_size, status.st_mtime,
                               lambda name=str(source): _read(name)))  # type: ignore[misc]
    if left[0] < 0:
        taken.notes.append(f"there are more than {MOST_FILES} files: only the first {MOST_FILES} were looked at")
    for lab in labs:
        notes: List[str] = []
        chosen = {program: _choose(lab, program, files, notes) for program in lab.programs}
        contents: Dict[str, bytes] = {}
        used = [found for found in chosen.values() if found]
        beside = {found.path.parent for found in used}
        others = [found for found in files if found.path.parent in beside and found not in used
                  and (_directory_fit(lab, found.path) >= 2 or found.path.suffix == ".h")
                  and re.search(r"\.[ch]$", found.path.name)][: MOST_SOURCES - len(used)]
        for name, found in [(f"{program}.c", found) for program, found in chosen.items() if found] + \
                [(found.path.name, found) for found in others
                 if found.path.suffix == ".h" or found.path.stem not in lab.programs]:
            content = _content(found, name, notes)
            if content is not None:
                contents[name] = content
        missing = [f"{program}.c" for program, found in chosen.items() if found is None]
        if missing and used:
            notes.append(f"{' and '.join(missing)} is not there")
        odd = sorted({str(found.path.parent) for found in used if _directory_fit(lab, found.path) == 2})
        if odd:
            notes.append(f"the directory {odd[0]} was taken as {lab.name}: hand it in under that name")
        _place(target / lab.name, contents)
        if used:
            taken.labs[lab.name] = notes
            taken.times[lab.name] = max(found.time for found in used)
    for directory in target.iterdir() if target.is_dir() else []:
        if directory.name not in taken.labs:
            shutil.rmtree(directory)
    if not taken.labs:
        taken.notes.append("no file of any lab was found: a lab's directory is called NN_name, its programs as in the handout")
    return taken


def _place(directory: Path, contents: Dict[str, bytes]) -> None:
    """Makes a directory hold these files and no others."""
    directory.mkdir(parents=True, exist_ok=True)
    for entry in list(directory.iterdir()):
        if entry.name not in contents:
            entry.unlink()
    for name, content in contents.items():
        path = directory / name
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)

"""Opens what `make grade FROM=` names: a directory of submissions, or the archive in which Canvas or Moodle packed all of them.

The entries of such an archive are copied to a temporary directory, byte for byte. What students packed themselves stays packed:
archive_reader.py reads it later, in a box.
"""
from __future__ import annotations

import errno
import functools
import os
import stat
import tarfile
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Callable, Dict, Iterator, List, Optional, Tuple

from .intake import Submission, is_of_platform, list_submissions, shown_name
from .unpack import ARCHIVES, IGNORED, UNREAD
from ..labs import UserError

MAX_MEMBERS = 200_000
MAX_MEMBER = 512 << 20  # bytes of one member
MAX_ALL = 16 << 30  # bytes of all members
NAME_BYTES = 255  # of one part of a path


@dataclass
class _Member:
    """A member of an archive. `special` tells why it is not a file, `unread` why its content is not read."""

    name: str
    size: int  # bytes, as the archive says
    is_directory: bool
    special: str
    unread: str
    open: Callable[[], IO[bytes]]

    def parts(self) -> List[str]:
        """Returns the parts of its path. Raises ValueError for a path that could lead out of the directory."""
        name = self.name.replace("\\", "/")
        parts = name.split("/")
        if name.startswith("/") or ".." in parts or name[1:2] == ":" or any(len(os.fsencode(part)) > NAME_BYTES for part in parts):
            raise ValueError("its path leads elsewhere, or is too long")
        return [part for part in parts if part not in ("", ".")]


def _of_zip(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        name = info.filename
        if not info.flag_bits & 0x800:  # No encoding is named, and zipfile assumes cp437: many programs write UTF-8.
            try:
                name = name.encode("cp437").decode("utf-8")
            except UnicodeError:
                pass
        special = "it is a symbolic link" if stat.S_ISLNK(info.external_attr >> 16) else ""
        # Other methods can take gigabytes of memory.
        unread = "" if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else "it is compressed in a way that is not read"
        yield _Member(name, info.file_size, info.is_dir(), special, unread, functools.partial(archive.open, info))


def _of_tar(archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        special = "it is a symbolic link" if info.issym() else "" if info.isfile() else "it is not a file"
        content = functools.partial(archive.fileobject, archive, info)
        yield _Member(info.name, info.size, info.isdir(), special, "", content)


@contextmanager
def _members(path: Path) -> Iterator[Iterator[_Member]]:
    """Opens an archive. Its members have to be read in their order. Many different exceptions tell that it is damaged."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield _of_zip(archive)
    else:
        with tarfile.open(path) as tar:
            yield _of_tar(tar)


def _is_wanted(parts: List[str]) -> bool:
    return bool(parts) and parts[0] not in IGNORED and not parts[0].startswith(".")


def _is_download(archive: Path) -> bool:
    """Whether Canvas or Moodle named every entry at the top of an archive, which may also be within one directory."""
    paths, left = [], MAX_ALL
    try:
        with _members(archive) as members:
            for member in members:
                left -= member.size
                try:
                    paths.append(member.parts() + ([""] if member.is_directory else []))
                except ValueError:
                    continue
                if left < 0 or len(paths) > MAX_MEMBERS:
                    return False
    except Exception:  # zipfile and tarfile raise many different exceptions for damaged archives
        return False
    paths = [parts for parts in paths if _is_wanted(parts)]
    if len({parts[0] for parts in paths}) == 1 and not is_of_platform(paths[0][0]):
        paths = [parts[1:] for parts in paths if parts[1:] != [""]]
    return bool(paths) and all(parts and is_of_platform(parts[0]) for parts in paths)


def _packed(source: Path) -> Tuple[Optional[Path], List[str]]:
    """Returns the archive that holds all submissions (None if `source` is a directory of submissions) and what is beside it."""
    if source.is_file():
        try:
            is_archive = zipfile.is_zipfile(source) or tarfile.is_tarfile(source)
        except Exception:  # is_tarfile() decompresses, which raises many different exceptions for damaged archives
            is_archive = False
        if not is_archive:
            raise UserError(f"'{source}' is neither a directory nor an archive that can be read ({', '.join(ARCHIVES)}): name "
                            "the directory with the submissions, or the .zip that Canvas or Moodle made of all of them")
        return source, []
    entries = [entry for entry in os.scandir(source) if _is_wanted([entry.name])] if source.is_dir() else []
    # Beside those of others, an archive is one student's: it must not be able to hand in for them.
    handed_in = [entry for entry in entries
                 if entry.is_dir() or is_of_platform(entry.name) or entry.name.lower().endswith(ARCHIVES + UNREAD)]
    if len(handed_in) == 1 and handed_in[0].name.lower().endswith(ARCHIVES) and handed_in[0].is_file(follow_symlinks=False) \
            and _is_download(Path(handed_in[0].path)):
        return Path(handed_in[0].path), sorted(shown_name(entry.name)[0] for entry in entries if entry is not handed_in[0])
    return None, []


class Download:
    """The submissions of a course. `directory` is where they are until close() is called."""

    def __init__(self, source: Path) -> None:
        self.source, self.directory = source, source
        self._notes: List[str] = []
        self._scratch: Optional[tempfile.TemporaryDirectory[str]] = None
        archive, beside = _packed(source)
        if archive:
            self._scratch = tempfile.TemporaryDirectory(prefix="shmlab-download-")
            self.directory = self._copy(archive, Path(self._scratch.name))
            self._notes += [f"{name} is not a submission: ignored" for name in beside]

    def close(self) -> None:
        if self._scratch:
            self._scratch.cleanup()

    def submissions(self) -> Tuple[List[Submission], List[str]]:
        """Returns the submissions, sorted by name, and notes on entries that are not submissions."""
        try:
            found, notes = list_submissions(self.directory)
        except UserError as error:
            raise UserError(str(error).replace(str(self.directory), str(self.source))) from None
        return found, self._notes + notes

    def _copy(self, archive: Path, target: Path) -> Path:
        """Copies the members of an archive. Returns the directory with the submissions."""
        when, left = archive.stat().st_mtime, MAX_ALL
        kept: Dict[Path, None] = {}
        try:
            with _members(archive) as members:
                for number, member in enumerate(members):
                    if number >= MAX_MEMBERS:
                        raise UserError(f"{archive} has more than {MAX_MEMBERS} members: unpack it, and name the directory")
                    left -= self._copy_member(member, target, left, kept)
                    if left < 0:
                        raise UserError(f"{archive} unpacks to more than {MAX_ALL >> 30} GiB: unpack it, and name the directory")
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{archive} cannot be unpacked: {error or type(error).__name__}") from None
        for path in kept:  # As for any archive, its time counts and not what it says about its members.
            os.utime(path, (when, when))
        entries = list(os.scandir(target))
        if len(entries) == 1 and entries[0].is_dir() and not is_of_platform(entries[0].name):
            target = Path(entries[0].path)
        self._notes.insert(0, f"{shown_name(archive.name)[0]} was unpacked: it holds all submissions")
        return target

    def _copy_member(self, member: _Member, target: Path, left: int, kept: Dict[Path, None]) -> int:
        """Copies one member. Returns how many bytes it has. What is wrong with it is a note."""
        size, path = 0, target
        try:
            parts = member.parts()
            if not _is_wanted(parts):
                return 0
            path = target.joinpath(*parts)
            (path if member.is_directory else path.parent).mkdir(parents=True, exist_ok=True)
            if member.is_directory:
                return 0
            if member.special:
                raise ValueError(member.special)
            with open(path, "xb") as file:  # It stays if its content cannot be read: its author is to be listed.
                kept[path] = None
                if member.unread:
                    raise ValueError(member.unread)
                with member.open() as content:
                    while chunk := content.read(1 << 20):
                        size += len(chunk)
                        if size > min(left, MAX_MEMBER):
                            file.truncate(0)
                            raise ValueError(f"it has more than {MAX_MEMBER >> 20} MiB")
                        file.write(chunk)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(f"{target}: {error.strerror}; make space, or set TMPDIR to a directory on another disk") from None
            self._notes.append(f"{shown_name(member.name)[0]} was left out: {error.strerror}")
        except Exception as error:  # zipfile and its decompressors raise many different exceptions for damaged archives
            self._notes.append(f"{shown_name(member.name)[0]} was left out: {str(error) or type(error).__name__}")
        return size

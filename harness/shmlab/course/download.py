"""Opens what `make grade FROM=` names: a directory of submissions, or the archive in which Canvas or Moodle packed all of them.

The entries of such an archive are copied to a temporary directory, byte for byte. What students packed themselves stays packed:
archive_reader.py reads it later, in a box.
"""
from __future__ import annotations

import errno
import os
import stat
import tempfile
import zipfile
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from .intake import Submission, is_of_platform, list_submissions, shown_name
from .unpack import IGNORED
from ..labs import UserError

MAX_MEMBERS = 200_000
MAX_MEMBER = 512 << 20  # bytes of one member
MAX_ALL = 16 << 30  # bytes of all members
NAME_BYTES = 255  # of one part of a path


def _parts(member: zipfile.ZipInfo) -> List[str]:
    """Returns the parts of a member's path. Raises ValueError for a path that could lead out of the directory."""
    name = member.filename
    if not member.flag_bits & 0x800:  # No encoding is named, and zipfile assumes cp437: many programs write UTF-8.
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    name = name.replace("\\", "/")
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or name[1:2] == ":" or any(len(os.fsencode(part)) > NAME_BYTES for part in parts):
        raise ValueError("its path leads elsewhere, or is too long")
    return [part for part in parts if part not in ("", ".")]


def _is_wanted(parts: List[str]) -> bool:
    return bool(parts) and parts[0] not in IGNORED and not parts[0].startswith(".")


def _is_download(archive: Path) -> bool:
    """Whether Canvas or Moodle named every entry at the top of an archive, which may also be within one directory."""
    paths = []
    try:
        with zipfile.ZipFile(archive) as members:
            for member in members.infolist():
                try:
                    paths.append(_parts(member) + ([""] if member.is_dir() else []))
                except ValueError:
                    continue
    except Exception:  # zipfile raises many different exceptions for damaged archives
        return False
    paths = [parts for parts in paths if _is_wanted(parts)]
    if len({parts[0] for parts in paths}) == 1 and not is_of_platform(paths[0][0]):
        paths = [parts[1:] for parts in paths if parts[1:] != [""]]
    return bool(paths) and all(parts and is_of_platform(parts[0]) for parts in paths)


def _packed(source: Path) -> Optional[Path]:
    """Returns the archive that holds all submissions; None if `source` is a directory of submissions."""
    if source.is_file():
        if not zipfile.is_zipfile(source):
            raise UserError(f"'{source}' is no directory and no .zip: name the directory with the submissions, or the .zip that "
                            "Canvas or Moodle made of all of them")
        return source
    entries = [entry for entry in os.scandir(source) if _is_wanted([entry.name])] if source.is_dir() else []
    # Beside others, an archive is one student's: it must not be able to hand in for them.
    if len(entries) == 1 and entries[0].name.lower().endswith(".zip") and entries[0].is_file(follow_symlinks=False):
        return Path(entries[0].path) if _is_download(Path(entries[0].path)) else None
    return None


class Download:
    """The submissions of a course. `directory` is where they are until close() is called."""

    def __init__(self, source: Path) -> None:
        self.source, self.directory = source, source
        self._notes: List[str] = []
        self._scratch: Optional[tempfile.TemporaryDirectory[str]] = None
        archive = _packed(source)
        if archive:
            self._scratch = tempfile.TemporaryDirectory(prefix="shmlab-download-")
            self.directory = self._copy(archive, Path(self._scratch.name))

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
            with zipfile.ZipFile(archive) as members:
                if len(members.infolist()) > MAX_MEMBERS:
                    raise UserError(f"{archive} has more than {MAX_MEMBERS} members: unpack it, and name the directory")
                for member in members.infolist():
                    left -= self._copy_member(members, member, target, left, kept)
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

    def _copy_member(self, members: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, left: int, kept: Dict[Path, None]) -> int:
        """Copies one member. Returns how many bytes it has. What is wrong with it is a note."""
        size, path = 0, target
        try:
            parts = _parts(member)
            if not _is_wanted(parts):
                return 0
            path = target.joinpath(*parts)
            (path if member.is_dir() else path.parent).mkdir(parents=True, exist_ok=True)
            if member.is_dir():
                return 0
            if stat.S_ISLNK(member.external_attr >> 16):
                raise ValueError("it is a symbolic link")
            with open(path, "xb") as file:  # It stays if its content cannot be read: its author is to be listed.
                kept[path] = None
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # Others can take gigabytes of memory.
                    raise ValueError("it is compressed in a way that is not read")
                with members.open(member) as content:
                    while chunk := content.read(1 << 20):
                        size += len(chunk)
                        if size > min(left, MAX_MEMBER):
                            file.truncate(0)
                            raise ValueError(f"it has more than {MAX_MEMBER >> 20} MiB")
                        file.write(chunk)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(f"{target}: {error.strerror}; make space, or set TMPDIR to a directory on another disk") from None
            self._notes.append(f"{shown_name(member.filename)[0]} was left out: {error.strerror}")
        except Exception as error:  # zipfile and its decompressors raise many different exceptions for damaged archives
            self._notes.append(f"{shown_name(member.filename)[0]} was left out: {str(error) or type(error).__name__}")
        return size

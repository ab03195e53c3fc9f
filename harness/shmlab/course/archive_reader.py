"""Has an archive read by a process of its own, in a box: see unpack.py. What comes back is data, and is checked."""
from __future__ import annotations

import base64
import binascii
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import List, Optional, Tuple

from ..sandbox import native
from ..sandbox.box import Box, hidden_directories
from ..sandbox.build import SOURCE_LIMIT
from ..sandbox.channel import BoxRefused

PROGRAM = Path(__file__).with_name("unpack.py")
MEMORY_MB = 256
CPU_SECONDS = 5
WALL_SECONDS = 60  # on a busy machine
NAME_BYTES = 255  # of one part of a path


@dataclass
class Unpacked:
    """What is in an archive: the path, size in bytes and content of each source (None: too large), notes, and how many members."""

    sources: List[Tuple[PurePosixPath, int, Optional[bytes]]] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)
    entries: int = 0


def _python() -> str:
    """An interpreter that a program in the box can start: its home directory is hidden there."""
    own = os.path.realpath(sys.executable)
    hidden = any(own.startswith(directory + "/") for directory in hidden_directories())
    return "/usr/bin/python3" if hidden and os.path.exists("/usr/bin/python3") else own


def _read_line(found: Unpacked, line: bytes) -> bool:
    """Adds what one line of the output says. Returns whether it was the last one. Raises ValueError for one that says nothing."""
    said = json.loads(line)
    if not isinstance(said, dict):
        raise ValueError("not an object")
    if isinstance(said.get("note"), str):
        found.notes.append(said["note"])
    elif isinstance(said.get("entries"), int):
        found.entries = max(0, said["entries"])
        return True
    else:
        parts, size, content = said.get("path"), said.get("size"), said.get("content")
        if not isinstance(parts, list) or not parts or not all(isinstance(part, str) and part not in ("", ".", "..") and "/" not in part
                                                               and "\0" not in part for part in parts):
            raise ValueError("not a path")
        if not isinstance(size, int) or size < 0 or not (content is None or isinstance(content, str)):
            raise ValueError("not a source")
        path = PurePosixPath(*parts)
        if any(len(os.fsencode(part)) > NAME_BYTES for part in parts):
            found.notes.append(f"{str(path)[:60]}…: a part of this path has more than {NAME_BYTES} bytes: left out")
        else:
            found.sources.append((path, size, None if content is None else base64.b64decode(content, validate=True)[:SOURCE_LIMIT + 1]))
    return False


def _why(status: Optional[int], timed_out: bool, over_memory: bool) -> str:
    """Why the process did not read all, for people."""
    if over_memory:
        return f"it takes more than {MEMORY_MB} MiB of memory"
    if timed_out or status in (9, 24):  # SIGKILL, SIGXCPU: the box has ended it
        return f"it takes more than {CPU_SECONDS} s of processor time"
    return "the process that read it ended early"


class ArchiveReader:
    """A box in which archives are read, one after the other. It is set up when the first one is."""

    def __init__(self, tier: str) -> None:
        self.tier = tier
        self._box: Optional[Box] = None

    def close(self) -> None:
        if self._box:
            self._box.close()
            self._box = None

    def unpack(self, archive: Path, entries: int) -> Unpacked:
        """Reads an archive, at most so many members of it. What is wrong with it is a note."""
        found = Unpacked()
        name = archive.name.encode("utf-8", "backslashreplace").decode()
        fd = os.open(archive, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if self._box is None or not self._box.reset():
                self.close()
                self._box = Box(self.tier, memory_mb=MEMORY_MB, show=native.shown_for(_python()))
            box = self._box
            box.put(PROGRAM.name, PROGRAM.read_bytes())
            run = box.start([_python(), "-I", "-S", PROGRAM.name, name[-60:], str(entries), str(SOURCE_LIMIT)], stdin=fd,
                            cpu_s=CPU_SECONDS, wall_ms=1000 * WALL_SECONDS, address_mb=4 * MEMORY_MB)
            box.wait(run, WALL_SECONDS + 5)
            if run.machine_full:
                raise BoxRefused("this machine has no memory left")
            last = False
            for line in bytes(run.output[1]).splitlines():
                last = _read_line(found, line)
            if not last:
                found.notes.append(f"{name} cannot be unpacked: {_why(run.status, run.timed_out, run.over_memory)}")
        except (ValueError, binascii.Error):
            found.notes.append(f"{name} cannot be unpacked: the process that read it returned invalid output")
        except BoxRefused as problem:
            self.close()
            found.notes.append(f"{name} was not unpacked, because the box did not work: {problem}; grade it again")
        finally:
            os.close(fd)
        return found

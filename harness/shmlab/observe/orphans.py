"""Proves that no process has an object, and says how to remove it. Nothing is removed here.

That no process was seen to have it proves nothing: some may not be read, and a descriptor can be in a message that nobody has
received. The kernel knows. For a segment it counts the attachments. For a file it grants a write lease only if nobody else
has it open or mapped, see fcntl(2), in whatever namespace. The lease lasts for microseconds; a process that opens the object
just then waits for its end.
"""
from __future__ import annotations

import os

from .objects import (DELETED, MAYBE_REMOVED, ORPHAN, REMOVED, UNSEEN, Object)
from .processes import Scan, command_of, started

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional

    from .objects import Identity

_ATTEMPTS = 5


def decide(scan: Scan, complete: List[str], paths: "Dict[Identity, str]") -> None:
    """Sets the state of each object. `complete` and `paths` come from named_objects()."""
    for identity, item in scan.objects.items():
        if item.kind == "sysv":
            _decide_segment(item, scan)
        elif item.kind in ("posix", "sem", "file"):
            if identity in paths:
                if not item.holders:
                    _decide_unused(item, paths[identity])
            elif item.links == 0 or item.links is None and item.kind != "file" and identity[1] in complete:
                item.state = REMOVED
            elif item.links is None and item.text.endswith(DELETED) and not _is_at(item, item.text):
                item.state = MAYBE_REMOVED
        if item.size is None:
            item.size = max((m.offset + m.end - m.start for h in item.holders.values() for m in h.mappings), default=None)
            item.size_at_least = True


def _is_at(item: Object, path: str) -> bool:
    """Whether a path leads to a mapped file: a name may end in "(deleted)"."""
    try:
        return os.stat(path).st_ino == item.identity[2]
    except OSError:
        return False


def _decide_segment(item: Object, scan: Scan) -> None:
    if item.attached is None:
        return  # no table has it
    seen = sum(len(holder.mappings) for holder in item.holders.values())
    if item.dest:
        item.state = REMOVED
    elif item.attached == 0:
        item.state = ORPHAN
        if creator_lives(item):
            item.notes.append(f"its creator, {item.creator} {command_of(item.creator or 0)}, still runs and may attach it")
        elif _may_remove(item):
            item.remove = _in_its_namespace(item, scan) + f"ipcrm -m {item.identity[2]}"
    elif not item.holders:
        item.state = UNSEEN
    if item.attached > seen:
        item.notes.append(f"{seen} of {item.attached} attachments seen")
    elif item.attached < seen:
        item.notes.append(f"{seen} attachments seen, {item.attached} counted by the kernel: one may be of another IPC namespace")


def creator_lives(item: Object) -> bool:
    """Whether the process that created a segment runs. One that was started later only has its number."""
    since = started(item.creator) if item.creator else None
    return since is not None and (item.since is None or since < item.since + 1)


def _in_its_namespace(item: Object, scan: Scan) -> str:
    """Returns the command that enters the IPC namespace of a segment; empty if it is our own."""
    if item.identity[1] == scan.own_ipc:
        return ""
    pid = scan.ipc_namespaces[item.identity[1]][0]
    return f"nsenter {'' if item.uid is not None else '-U --preserve-credentials '}-i -t {pid} "


def _may_remove(item: Object) -> bool:
    return os.geteuid() == 0 or item.uid in (None, os.geteuid())


def _decide_unused(item: Object, path: str) -> None:
    proved = is_unused(path, item.identity[2])
    item.state = ORPHAN if proved else UNSEEN
    if proved and _may_remove(item):
        item.remove = "rm " + quoted(path)
    elif proved is False:
        item.notes.append("open in a process that could not be seen, or in a message on its way")


def is_unused(path: str, inode: int) -> "Optional[bool]":
    """Whether the kernel says that nobody has a file open or mapped. None if it may not be asked, which only its owner may."""
    import errno
    import fcntl
    import signal
    import time

    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # it is sent to us if somebody opens the file while we have the lease
    try:
        for attempt in range(_ATTEMPTS):
            for access in (os.O_RDONLY, os.O_WRONLY):
                try:
                    fd = os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK)
                    break
                except PermissionError:
                    continue
                except OSError:
                    return None  # unlinked at this moment
            else:
                return None
            try:
                if os.fstat(fd).st_ino != inode:
                    return None
                fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
                fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
                return True
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EBUSY):
                    return None
            finally:
                os.close(fd)
            time.sleep(0.001 * attempt)  # another observer may have it at this moment
        return False
    finally:
        signal.signal(signal.SIGIO, before)


def quoted(path: str) -> str:
    """Returns a path as one word for a shell."""
    if path.isprintable():
        import shlex

        return shlex.quote(path)
    return "$'" + "".join(chr(b) if 32 <= b < 127 and chr(b) not in "\\'" else f"\\{b:03o}" for b in os.fsencode(path)) + "'"

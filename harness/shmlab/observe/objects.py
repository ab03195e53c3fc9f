"""The objects that the observer finds, and what decides the kind and the state of one.

An object is known by its identity: the device and the inode, or for a System V segment the IPC namespace and the shmid. Names
prove nothing: two mount namespaces can have the same name, and the kernel writes "(deleted)" after the name of a semaphore
that exists, because sem_open(3) creates it under another name.
"""
from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing takes longer than reading a hundred processes
    from typing import Dict, FrozenSet, List, Optional, Set, Tuple

    Identity = Tuple[str, str, int]  # a word ("inode" or "sysv"), a device or an IPC namespace, and an inode or a shmid

KINDS = ("sysv", "posix", "sem", "memfd", "anon", "file", "device", "other")

#: The states, in the order of the list.
ORPHAN = "orphan"    # no process has it; this is proved, see orphans.py
REMOVED = "removed"  # it has no name any more and lives as long as a process has it
MAYBE_REMOVED = "removed?"  # the kernel writes "(deleted)", and this user may not ask whether there is another name
UNSEEN = "unseen"    # no process was seen to have it, but one that could not be read may
USED = "used"
STATES = (ORPHAN, REMOVED, MAYBE_REMOVED, UNSEEN, USED)

DELETED = " (deleted)"


class Mapping:
    """One mapping of an object. Addresses and `offset` in bytes; `flags` is like "rw-". The sizes are None if not asked for."""

    __slots__ = ("start", "end", "flags", "offset", "rss", "pss", "swap")

    def __init__(self, start: int, end: int, flags: str, offset: int) -> None:
        self.start, self.end, self.flags, self.offset = start, end, flags, offset
        self.rss: Optional[int] = None
        self.pss: Optional[int] = None
        self.swap: Optional[int] = None


class Holder:
    """One process that has an object: its mappings, and its descriptors as pairs of number and access ("rw").

    `lines` has the mappings as the kernel wrote them: start, end, flags and offset. Most of them nobody asks for.
    """

    __slots__ = ("lines", "descriptors", "_mappings")

    def __init__(self) -> None:
        self.lines: List[Tuple[bytes, bytes, bytes, bytes]] = []
        self.descriptors: List[Tuple[int, str]] = []
        self._mappings: List[Mapping] = []

    @property
    def mappings(self) -> List[Mapping]:
        if len(self._mappings) < len(self.lines):
            self._mappings = [Mapping(int(start, 16), int(end, 16), flags.decode(), int(offset, 16))
                              for start, end, flags, offset in self.lines]
        return self._mappings

    @property
    def access(self) -> FrozenSet[str]:
        """How the process has it: "rw", "ro" … for its mappings; "fd" if it has only a descriptor."""
        return frozenset(access_of(flags.decode()) for _, _, flags, _ in self.lines) or frozenset(["fd"])

    @property
    def may_write(self) -> bool:
        return any(b"w" in flags for _, _, flags, _ in self.lines)

    @property
    def rss(self) -> Optional[int]:
        known = [mapping.rss for mapping in self.mappings if mapping.rss is not None]
        return sum(known) if known else None

    @property
    def pss(self) -> Optional[int]:
        known = [mapping.pss for mapping in self.mappings if mapping.pss is not None]
        return sum(known) if known else None


_ACCESS = {"r--": "ro", "-w-": "wo", "---": "none"}


def access_of(flags: str) -> str:
    """Returns "rw" for "rw-", "ro" for "r--", "rx" for "r-x"."""
    return _ACCESS.get(flags) or flags.replace("-", "")


class Object:
    """One object. What is not known, or may not be asked, is None and never 0.

    `size` and `resident` are in bytes; `size_at_least` says that only mappings of it were seen. `since` is the time of its
    creation in seconds since the Epoch. `links` is the number of its names. `path` is a path that leads to it now, and `text`
    what the kernel wrote in place of its name.
    """

    def __init__(self, identity: Identity, kind: str, name: str) -> None:
        self.identity, self.kind, self.name = identity, kind, name
        self.holders: Dict[int, Holder] = {}
        self.state = USED
        self.text = ""
        self.size: Optional[int] = None
        self.size_at_least = False
        self.resident: Optional[int] = None
        self.since: Optional[int] = None
        self.uid: Optional[int] = None
        self.mode: Optional[int] = None
        self.links: Optional[int] = None
        self.path: Optional[str] = None
        self.remove: Optional[str] = None  # the command that removes it, for an orphan that this user may remove
        self.key: Optional[int] = None     # from here on for segments only
        self.attached: Optional[int] = None
        self.creator: Optional[int] = None
        self.dest = False
        self.huge = False                  # of huge pages, which Shmem does not count
        self.notes: List[str] = []

    def holder(self, pid: int) -> Holder:
        found = self.holders.get(pid)
        if found is None:
            found = self.holders[pid] = Holder()
        return found

    @property
    def access(self) -> Set[str]:
        return {word for holder in self.holders.values() for word in holder.access}

    @property
    def pss(self) -> Optional[int]:
        known = [holder.pss for holder in self.holders.values() if holder.pss is not None]
        return sum(known) if known else None

    @property
    def where(self) -> str:
        """The first part of its identity, in words."""
        return ("IPC namespace " if self.kind == "sysv" else "device ") + self.identity[1]

    @property
    def common(self) -> bool:
        """Whether it belongs to a list of shared memory: a file or device counts only if a process can write to it."""
        if self.kind == "file":
            return any(holder.may_write for holder in self.holders.values())
        return self.kind not in ("device", "other")

    def is_called(self, word: str) -> bool:
        """Whether a user who types this word means it: a name with or without "/", a path, an inode, a shmid or a key."""
        if self.kind == "sysv":
            return word == str(self.identity[2]) or word == self.name
        names = [str(self.identity[2]), self.name, self.name.lstrip("/")]
        if self.kind in ("posix", "sem"):
            names.append("/dev/shm" + self.name)
        if self.kind == "sem":
            names += ["/" + self.name[len("/sem."):], self.name[len("/sem."):]]
        return word in names


def plain(name: str) -> str:
    """Returns a name on one line: what is not printable as an escape."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("utf-8", "surrogateescape").decode("latin-1")
                   .encode("unicode_escape").decode() for c in name)


def without_deleted(name: str) -> str:
    return name[:-len(DELETED)] if name.endswith(DELETED) else name


def device_text(number: int) -> str:
    """Returns a device number as /proc/PID/maps writes it."""
    return f"{os.major(number):02x}:{os.minor(number):02x}"


def internal_devices() -> Dict[str, bool]:
    """Returns the file systems that only the kernel can put files on: those of segments, memfds and anonymous mappings, each with
    whether it is one of huge pages.

    A file of this user cannot be there, whatever its name. A memfd of each page size shows them, see memfd_create(2).
    """
    sizes = [0]
    try:
        for name in os.listdir("/sys/kernel/mm/hugepages"):
            kilobytes = int(re.sub(r"\D", "", name) or 0)
            sizes.append(0x4 | ((kilobytes * 1024).bit_length() - 1) << 26)  # MFD_HUGETLB and the size's logarithm
    except OSError:
        pass
    found = {}
    for flags in sizes:
        try:
            fd = os.memfd_create("shmls", 0x1 | flags)
        except (OSError, AttributeError):
            continue
        found[device_text(os.fstat(fd).st_dev)] = bool(flags)
        os.close(fd)
    return found


def kind_of(device: str, name: str, internal: Dict[str, bool]) -> Tuple[str, str]:
    """Returns the kind of what is mapped or open under this name, and the name to show."""
    if device in internal or not internal and device.startswith("00:"):
        shown = without_deleted(name)
        if shown.startswith("/SYSV"):
            return "sysv", shown
        if shown.startswith("/memfd:"):
            return "memfd", shown[len("/memfd:"):]
        if shown in ("/dev/zero", "/anon_hugepage"):
            return "anon", ""
        if internal:
            return "other", shown.lstrip("/")
    if name.startswith("/dev/shm/") and device.startswith("00:"):
        return named_kind(without_deleted(name)[len("/dev/shm"):])
    if not name.startswith("/"):
        return "other", name
    if name.startswith("/dev/") and not name.startswith("/dev/hugepages"):
        return "device", name
    return "file", without_deleted(name)


def named_kind(name: str) -> Tuple[str, str]:
    """Returns the kind of an object by its name in /dev/shm: sem_open(3) puts "sem." before a semaphore's."""
    return ("sem" if name.startswith("/sem.") else "posix"), name

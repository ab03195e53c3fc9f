"""What the kernel has at one moment: the things that can be shared, who has mapped them, and what is in them."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence, Tuple

from ..explore.fields import Leaf
from ..judging.environment import Environment
from ..judging.require import CheckFailed
from ..results import plain
from ..sandbox import kernel
from ..sandbox.kernel import Mapping, show

MOST_BYTES = 4096  # of a content that is looked at
MOST_TEXT = 24  # characters of a text that are shown
MOST_WORDS = 4  # of a content without a struct

FUTEX_OWNER_DIED, INCONSISTENT = 0x40000000, 0x7FFFFFFF  # in a mutex, before the next owner has it and afterwards

Key = Tuple[str, int]  # kind, and inode number or shmid
Note = Tuple[Key, str]  # what has changed, of which thing


@dataclass
class Item:
    """One thing that can be shared. `facts` are what the kernel tells of it, `fields` what is in it, both ready to be shown."""

    title: str
    facts: Dict[str, str] = field(default_factory=dict)
    fields: Dict[str, str] = field(default_factory=dict)
    named: bool = False


@dataclass
class State:
    """All of it at one moment. `mapped` has the permissions, such as "rw-s", by process and thing; `lines` are lines of maps."""

    items: Dict[Key, Item] = field(default_factory=dict)
    mapped: Dict[Tuple[int, Key], str] = field(default_factory=dict)
    ranges: Dict[int, List[Tuple[Mapping, Key]]] = field(default_factory=dict)

    def at(self, pid: int, address: int) -> Optional[Tuple[Key, int]]:
        """The thing that a process has at an address, and the offset there."""
        for mapping, key in self.ranges.get(pid, []):
            if mapping.start <= address < mapping.end:
                return key, mapping.offset + address - mapping.start
        return None

    def key(self) -> object:
        """What is different if something has changed that a picture shows."""
        return ([(key, item.title, tuple(item.facts.items()), tuple(item.fields.items()), item.named)
                 for key, item in sorted(self.items.items())], sorted(self.mapped.items()))


def shown_leaf(leaf: Leaf, content: bytes) -> Optional[str]:
    """Returns a field's value, ready to be shown; None if the content ends before it, or it has no value to show."""
    raw = content[leaf.offset:leaf.offset + leaf.size if leaf.size else len(content)]
    if len(raw) < leaf.size or not raw:
        return None
    if leaf.kind == "text":
        text = raw.rstrip(b"\0")
        return show(text, MOST_TEXT) if text else '""'
    if leaf.kind == "sem_t":
        return str(int.from_bytes(raw[:4], "little"))
    if leaf.kind == "pthread_mutex_t":  # as glibc lays it out: the lock, a count, the owner's thread id
        lock, owner = (int.from_bytes(raw[at:at + 4], "little") for at in (0, 8))
        if lock & FUTEX_OWNER_DIED or owner == INCONSISTENT:
            return "its owner died"
        return f"locked by {owner}" if lock & 0x3FFFFFFF else "unlocked"
    if leaf.kind in ("signed", "unsigned"):
        return str(int.from_bytes(raw, "little", signed=leaf.kind == "signed"))
    return None


def shown_content(content: bytes, leaves: Sequence[Leaf]) -> Dict[str, str]:
    """Returns the fields of a content with their values. Without leaves: a text, or the first words that are not zero."""
    if leaves and len(content) >= max(leaf.offset + leaf.size for leaf in leaves):
        values = ((leaf.name, shown_leaf(leaf, content)) for leaf in leaves)
        return {name: value for name, value in values if value is not None}
    text = content.rstrip(b"\0")
    if not text:
        return {}
    if all(32 <= byte < 127 or byte in b"\n\t\0" for byte in text) and len(text) > 1:
        return {"": show(text, MOST_TEXT)}
    words: Dict[str, str] = {}
    for at in range(0, len(content) - 7, 8):
        word = int.from_bytes(content[at:at + 8], "little")
        if word and len(words) < MOST_WORDS:
            words[f"+{at}"] = str(word) if word < 1 << 40 else " ".join(
                str(int.from_bytes(content[at + i:at + i + 4], "little")) for i in (0, 4))
    return words


def fields_of(title: str, leaves: Sequence[Leaf]) -> Sequence[Leaf]:
    """Returns the fields of a thing: a named semaphore is one semaphore, all else the struct that the programs share."""
    return [Leaf("value", 0, 4, "sem_t")] if title.startswith("/dev/shm/sem.") else leaves


def _key_of(mapping: Mapping) -> Tuple[Key, str]:
    """What a shared mapping is of: its key, and what to call it if nothing else tells."""
    if mapping.key is not None:
        return ("segment", mapping.inode), f"segment {mapping.inode}"
    if mapping.anonymous:
        return ("anonymous", mapping.inode), "anonymous mapping"
    if mapping.memfd is not None:
        return ("memfd", mapping.inode), f"memfd {mapping.memfd}"
    if mapping.object is not None:
        return ("object", mapping.inode), f"/dev/shm{mapping.object}"
    return ("file", mapping.inode), os.path.basename(mapping.name).replace(" (deleted)", "")


class Camera:
    """Takes a State from the box of an environment.

    @param leaves  the fields of the struct that the lab's programs share
    """

    def __init__(self, environment: Environment, leaves: Sequence[Leaf]) -> None:
        self._environment, self.leaves = environment, leaves
        self._items: Dict[Key, Item] = {}
        self._attached: Dict[int, int] = {}  # how often each segment was attached when it was last looked at
        self._known: Dict[Key, bytes] = {}  # contents, as they were last seen

    def _content(self, pid: int, mapping: Mapping) -> bytes:
        try:
            fd = self._environment.box.open(f"/proc/{pid}/mem")
        except OSError:
            return b""
        try:
            return os.pread(fd, min(mapping.size, MOST_BYTES), mapping.start)
        except OSError:
            return b""
        finally:
            os.close(fd)

    def _maps(self, pid: int) -> List[Mapping]:
        try:
            found = kernel.parse_maps(self._environment.box.read(f"/proc/{pid}/maps"))
        except OSError:
            return []
        return [mapping for mapping in found if mapping.shared and not mapping.name.startswith(self._environment.box.run)]

    def _descriptors(self, pid: int) -> List[Tuple[Key, str, int]]:
        """What a process has open that can be shared: its key, title and size in bytes."""
        found = []
        try:
            directory = self._environment.box.open(f"/proc/{pid}/fd")
        except OSError:
            return []
        try:
            with self._environment.box.as_program():
                for entry in os.listdir(directory):
                    target = os.readlink(entry, dir_fd=directory)
                    kind = "memfd" if target.startswith("/memfd:") else "object" if target.startswith("/dev/shm/") else ""
                    if kind:
                        status = os.stat(entry, dir_fd=directory)
                        title = target.replace(" (deleted)", "").replace("/memfd:", "memfd ")
                        found.append(((kind, status.st_ino), title, status.st_size))
        except OSError:
            pass
        finally:
            os.close(directory)
        return found

    def take(self, pids: Sequence[int]) -> State:
        """Looks at everything that is in the box, and at the mappings of these processes, which are stopped or wait."""
        box, state = self._environment.box, State()
        contents: Dict[Key, bytes] = {}
        now = box.contents()
        for segment in now.segments:
            if segment.nattch == 0 and not segment.removed and self._attached.get(segment.shmid, 1):  # nobody can be asked any more
                contents["segment", segment.shmid] = self._environment.segment_bytes(segment)[:MOST_BYTES]
            self._attached[segment.shmid] = segment.nattch
            facts = {"mode": f"{segment.mode:04o}", "size": str(segment.size), "nattch": str(segment.nattch)}
            title = f"segment {segment.shmid}" + ("" if segment.removed else f", key 0x{segment.key:08x}")
            state.items["segment", segment.shmid] = Item(title, facts, named=not segment.removed)
        for item in now.objects:
            facts = {"mode": f"{item.mode:04o}", "size": str(item.size), "reserved": str(item.reserved)}
            state.items["object", item.inode] = Item(plain(f"/dev/shm{item.name}"), facts, named=True)
            try:
                contents["object", item.inode] = self._environment.bytes_if_there(item.name, MOST_BYTES) or b""
            except CheckFailed:
                pass
        for pid in pids:
            for key, title, size in self._descriptors(pid):
                held = state.items.setdefault(key, Item(plain(title)))
                held.facts["size"] = str(size)
        for pid in pids:
            for mapping in self._maps(pid):
                key, title = _key_of(mapping)
                before = self._items.get(key)  # of one without a name, no more than what was known before
                known = state.items.setdefault(key, Item(before.title if before else plain(title), dict(before.facts) if before else {}))
                if not known.facts:
                    known.facts["mapped"] = f"{mapping.size} bytes"
                state.mapped[pid, key] = mapping.flags
                state.ranges.setdefault(pid, []).append((mapping, key))
                if key not in contents and mapping.flags[0] == "r" and mapping.offset == 0:
                    contents[key] = self._content(pid, mapping)
        self._known = {key: contents.get(key, self._known.get(key, b"")) for key in state.items}
        self._items = state.items
        for key, content in self._known.items():
            known_size = state.items[key].facts.get("size", "")
            content = content[:int(known_size)] if known_size.isdigit() else content
            state.items[key].fields = shown_content(content, fields_of(state.items[key].title, self.leaves))
        return state


def changes(before: State, now: State) -> List[Note]:
    """Returns what has changed between two states, in words, and of which thing."""
    said: List[Note] = []
    for key, item in now.items.items():
        old = before.items.get(key)
        if old is None:
            continue
        if old.named and not item.named:
            said.append((key, "removed: no name any more" if key[0] != "segment" else "removed: freed at the last detach"))
        said += [(key, f"{name} {old.facts[name]} → {value}") for name, value in item.facts.items()
                 if name in old.facts and old.facts[name] != value]
        for name, value in item.fields.items():
            past = old.fields.get(name, '""' if value.startswith('"') else "unlocked" if "lock" in value else "0")
            if past == value:
                continue
            is_text = value.startswith('"')
            said.append((key, f"{name} {value}".strip() if is_text else f"{name} {past} → {value}".strip()))
        said += [(key, f"{name} {old.fields[name]} → 0") for name in old.fields if name not in item.fields and name.startswith("+")]
    for key, item in before.items.items():
        if key not in now.items:
            said.append((key, f"{item.title} is gone"))
    return said

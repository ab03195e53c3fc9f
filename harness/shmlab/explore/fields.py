"""Names for the places in an object: the fields of the program's own struct, from its debug information (DWARF 4 or 5)."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence

from ..sandbox.build import Built
from ..sandbox.debug_info import printed_about

_ENTRY = re.compile(r"^ *<([0-9a-f]+)><([0-9a-f]+)>: Abbrev Number: \d+ \(DW_TAG_(\w+)\)")
_ATTRIBUTE = re.compile(r"^ *<[0-9a-f]+> +DW_AT_(name|type|byte_size|data_member_location|upper_bound|count) *: (?:\(.*?\)(?::|) *)?(.*)")
_SAME = ("typedef", "const_type", "volatile_type", "atomic_type")  # the type that they name says all


@dataclass
class Entry:
    """One entry of .debug_info, as far as it matters here."""

    tag: str
    name: str = ""
    type: int = 0
    size: int = 0
    at: int = 0
    count: int = 0
    inside: List["Entry"] = field(default_factory=list)


def parse(text: str) -> Dict[int, Entry]:
    """What `readelf --debug-dump=info` prints, by the offset of each entry."""
    entries: Dict[int, Entry] = {}
    above: List[Entry] = []
    for line in text.splitlines():
        begins = _ENTRY.match(line)
        if begins:
            depth, entry = int(begins[1], 16), Entry(begins[3])
            entries[int(begins[2], 16)] = entry
            del above[depth:]
            if above:
                above[-1].inside.append(entry)
            above.append(entry)
            continue
        found = _ATTRIBUTE.match(line)
        if not found or not above:
            continue
        entry, (kind, value) = above[-1], (found[1], found[2].strip())
        if kind == "name":
            entry.name = value
        elif kind == "type" and value.startswith("<"):
            entry.type = int(value.strip("<>"), 16)
        elif re.fullmatch(r"\d+|0x[0-9a-f]+", value):
            number = int(value, 0)
            if kind == "byte_size":
                entry.size = number
            elif kind == "data_member_location":
                entry.at = number
            else:
                entry.count = number + (kind == "upper_bound")
    return entries


class Fields:
    """The struct that a program maps: the only one of its own that is not a part of another.

    @param text     what readelf prints
    @param sources  the submission's files: only structs that are defined there are looked into
    """

    def __init__(self, text: str, sources: Sequence[str]) -> None:
        self._entries = parse(text)
        own = set(re.findall(r"\bstruct\s+(\w+)\s*\{", "\n".join(sources)))
        self._own = [entry for entry in self._entries.values() if entry.tag == "structure_type" and entry.name in own and entry.inside]
        parts = {id(self._bare(member.type)) for entry in self._own for member in entry.inside}
        parts |= {id(self._bare(self._bare(member.type).type)) for entry in self._own for member in entry.inside
                  if self._bare(member.type).tag == "array_type"}
        # One with a pointer in it is not what several processes share.
        roots = [entry for entry in self._own if id(entry) not in parts
                 and not any(self._bare(member.type).tag == "pointer_type" for member in entry.inside)]
        self._root: Optional[Entry] = roots[0] if len({entry.name for entry in roots}) == 1 else None

    def _bare(self, at: int) -> Entry:
        entry = self._entries.get(at, Entry("?"))
        for _ in range(20):
            if entry.tag not in _SAME:
                break
            entry = self._entries.get(entry.type, Entry("?"))
        return entry

    def _size(self, entry: Entry) -> int:
        if entry.tag != "array_type":
            return entry.size
        size = self._size(self._bare(entry.type))
        for dimension in entry.inside:
            size *= dimension.count
        return size

    def _path(self, entry: Entry, offset: int) -> str:
        if entry.tag == "array_type" and len(entry.inside) == 1:
            element = self._bare(entry.type)
            size = self._size(element)
            return f"[{offset // size}]{self._path(element, offset % size)}" if size else f"+{offset}"
        if entry in self._own:
            members = [member for member in entry.inside if member.tag == "member" and member.at <= offset]
            if members:
                last = max(members, key=lambda member: member.at)
                return f".{last.name}{self._path(self._bare(last.type), offset - last.at)}"
        return f"+{offset}" if offset else ""

    def name(self, offset: int) -> str:
        """The field at an offset, such as "slot[2].number"; empty if it is not known."""
        root = self._root
        if not root:
            return ""
        last = max((member.at + self._size(self._bare(member.type)) for member in root.inside), default=0)
        endless = root.inside and self._size(self._bare(root.inside[-1].type)) == 0  # bytes[]
        return self._path(root, offset)[1:] if offset < last or endless else ""


def read_fields(tier: str, built: Built, sources: Sequence[str]) -> Fields:
    """The fields of a program that was built with debug information."""
    return Fields(printed_about(built, tier, "readelf", "--debug-dump=info"), sources)

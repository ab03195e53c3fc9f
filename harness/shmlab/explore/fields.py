"""Names for the places in an object: the fields of the program's own struct, from its debug information (DWARF 4 or 5)."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, Iterator, List, Optional, Sequence

from ..sandbox.build import Built
from ..sandbox.source_lines import printed_about

_ENTRY = re.compile(r"^ *<([0-9a-f]+)><([0-9a-f]+)>: Abbrev Number: \d+ \(DW_TAG_(\w+)\)")
_ATTRIBUTE = re.compile(r"^ *<[0-9a-f]+> +DW_AT_(name|type|byte_size|data_member_location|upper_bound|count|encoding) *: "
                        r"(?:\(.*?\)(?::|) *)?(.*)")
_SIGNED = (5, 6)  # DW_ATE_signed, DW_ATE_signed_char
_CHARACTERS = (6, 8)  # DW_ATE_signed_char, DW_ATE_unsigned_char
_OPAQUE = ("sem_t", "pthread_mutex_t", "pthread_cond_t")  # the C library's own structs
MOST_ELEMENTS = 8  # of an array of structs or numbers, that are listed one by one
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
    encoding: int = 0
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
        elif kind == "encoding":
            entry.encoding = int(value.split()[0])
        elif re.fullmatch(r"\d+|0x[0-9a-f]+", value):
            number = int(value, 0)
            if kind == "byte_size":
                entry.size = number
            elif kind == "data_member_location":
                entry.at = number
            else:
                entry.count = number + (kind == "upper_bound")
    return entries


@dataclass(frozen=True)
class Leaf:
    """A field that is no struct: its name, its place in bytes, and what it is: "signed", "unsigned", "text", or a type of _OPAQUE.

    `size` is 0 for an array without a length, which goes to the end of the object.
    """

    name: str
    offset: int
    size: int
    kind: str


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

    def _opaque(self, at: int) -> str:
        """The name of the C library's type that a type is, if it is one of _OPAQUE."""
        entry = self._entries.get(at, Entry("?"))
        for _ in range(20):
            if entry.tag not in _SAME or entry.name in _OPAQUE:
                break
            entry = self._entries.get(entry.type, Entry("?"))
        return entry.name if entry.name in _OPAQUE else ""

    def _leaves(self, at: int, name: str, offset: int) -> Iterator[Leaf]:
        entry, opaque = self._bare(at), self._opaque(at)
        if opaque:
            yield Leaf(name, offset, self._size(entry), opaque)
        elif entry.tag == "array_type" and len(entry.inside) <= 1:
            element, count = self._bare(entry.type), entry.inside[0].count if entry.inside else 0
            if element.tag == "base_type" and element.size == 1 and element.encoding in _CHARACTERS:
                yield Leaf(name, offset, count, "text")
            for i in range(min(count, MOST_ELEMENTS) if element.encoding not in _CHARACTERS or element.size > 1 else 0):
                yield from self._leaves(entry.type, f"{name}[{i}]", offset + i * self._size(element))
        elif entry.tag == "structure_type":
            for member in entry.inside:
                if member.tag == "member":
                    yield from self._leaves(member.type, f"{name}.{member.name}" if name else member.name, offset + member.at)
        elif entry.tag in ("base_type", "enumeration_type") and entry.size in (1, 2, 4, 8):
            yield Leaf(name, offset, entry.size, "signed" if entry.encoding in _SIGNED else "unsigned")

    def leaves(self) -> List[Leaf]:
        """All fields that are no struct, in the order of their offsets; none if the program has no struct of its own."""
        root = self._root
        if not root:
            return []
        found = [leaf for member in root.inside if member.tag == "member"
                 for leaf in self._leaves(member.type, member.name, member.at)]
        return sorted(found, key=lambda leaf: leaf.offset)

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

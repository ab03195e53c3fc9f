"""Replaces the addresses in a recorded call by the names of what is there."""
from __future__ import annotations

import re
from typing import Callable, List, Optional, Sequence

from ..explore.fields import Leaf, read_fields
from ..judging.fixture import LabFixture
from ..sandbox import build as building
from ..sandbox.calls import Call


def shared_fields(fixture: LabFixture) -> List[Leaf]:
    """The fields of the struct that a lab's programs share, if the debug information of one of them tells."""
    sources = [content.decode("utf-8", "replace")
               for content in building.read_sources(fixture.lab, fixture.submission).values()]
    for program in fixture.lab.programs:
        built = building.build(fixture.lab, program, fixture.submission, fixture.tier, fixture.cc, fixture.san)
        leaves = read_fields(fixture.tier, built, sources).leaves()
        if leaves:
            return leaves
    return []


def _field_at(leaves: Sequence[Leaf], offset: int) -> str:
    """The field at an offset. The first one is the memory as a whole, unless a call can only be about the field."""
    return next((leaf.name for leaf in leaves if leaf.offset == offset and (offset or leaf.kind.endswith("_t"))), "")


def shown_call(call: Call, leaves: Sequence[Leaf], offset_of: Callable[[int], Optional[int]]) -> str:
    """Returns a call with names in place of addresses.

    @param offset_of  the offset, in bytes, of an address in the memory that it belongs to; None for what is not shared
    """
    text = str(call)
    if call.name in ("ftok", "shmget"):
        return text

    def name(match: "re.Match[str]") -> str:
        offset = offset_of(int(match[0], 16))
        if offset is None:
            return "…"
        inside = _field_at(leaves, offset)
        return f"&{inside}" if inside else f"memory+{offset}" if offset else "memory"

    return re.sub(r"0x[0-9a-f]{7,}", name, text).replace("mmap(…, ", "mmap(").replace("PROT_READ|PROT_WRITE", "rw")

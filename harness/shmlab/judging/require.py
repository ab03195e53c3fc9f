"""Fails a check with a message: what was expected, and what the kernel showed."""
from __future__ import annotations

from typing import List, Sequence

from ..sandbox.kernel import Object, show


class CheckFailed(AssertionError):
    """A check failed. `expected` says what should have been, `saw` what was seen instead, in lines."""

    def __init__(self, expected: str, saw: Sequence[object]) -> None:
        super().__init__(expected)
        self.expected = expected
        self.saw = _lines(list(saw)) or ["there is nothing"]


def _lines(item: object) -> List[str]:
    """Formats what a check saw as lines. The classes of kernel.py have a property `line` for it."""
    if isinstance(item, (list, tuple)):
        return [line for part in item for line in _lines(part)]
    if isinstance(item, bytes):
        return [show(item)]
    return str(getattr(item, "line", item)).splitlines()


def require(condition: object, expected: str, *saw: object) -> None:
    """Fails the check unless the condition holds.

    @param expected  what should have been, as a clause: "the program ends with exit status 0"
    @param saw       what was seen instead: text, bytes, objects of kernel.py, or lists of these
    """
    if not condition:
        raise CheckFailed(expected, saw)


def first_difference(got: bytes, wanted: bytes) -> int:
    """Where two texts first differ; if one is the beginning of the other, where that ends."""
    return next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))


def require_bytes(got: bytes, wanted: bytes, what: str) -> None:
    """Fails the check unless the bytes are equal; the message shows where they first differ."""
    if got == wanted:
        return
    at = first_difference(got, wanted)
    start = max(0, at - 20)
    dots = "… " if start else ""
    raise CheckFailed(f"{what}: {dots}{show(wanted[start:])} ({len(wanted)} bytes)",
                      [f"{dots}{show(got[start:])} ({len(got)} bytes)", f"the first difference is at byte {at}"])


def require_object(item: Object) -> Object:
    """Fails the check unless a name in /dev/shm is an object: it may be a symbolic link or a named pipe, for example."""
    require(not item.kind, f"{item.name} is a shared memory object, as shm_open() creates one", item)
    return item


def decimal_mode(mode: int, *meant: int, umask: int = 0) -> List[str]:
    """What to say of a mode whose octal digits C has read as a decimal number; nothing of any other."""
    for number in meant:
        decimal = int(f"{number:o}")
        if mode != number & ~umask and mode in (decimal & ~umask, decimal & 0o777 & ~umask):
            return [f"{decimal} without a leading 0 is a decimal number in C: as a mode it is {decimal:04o}"]
    return []

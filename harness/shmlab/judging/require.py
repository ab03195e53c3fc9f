"""Says what a check found wrong: what was expected, and what the kernel showed."""
from __future__ import annotations

from typing import List, Sequence

from ..sandbox.kernel import Object, show


class CheckFailed(AssertionError):
    """A requirement that does not hold: what was expected, and what was seen instead, line by line."""

    def __init__(self, expected: str, saw: Sequence[object]) -> None:
        super().__init__(expected)
        self.expected = expected
        self.saw = _lines(list(saw)) or ["there is nothing"]


def _lines(item: object) -> List[str]:
    """What a check saw, as lines: things of the kernel know their own line."""
    if isinstance(item, (list, tuple)):
        return [line for part in item for line in _lines(part)]
    if isinstance(item, bytes):
        return [show(item)]
    return str(getattr(item, "line", item)).splitlines()


def require(condition: object, expected: str, *saw: object) -> None:
    """Fails the check unless the condition holds. `saw` may be text, bytes, or anything from kernel.py."""
    if not condition:
        raise CheckFailed(expected, saw)


def require_bytes(got: bytes, wanted: bytes, what: str) -> None:
    """Fails the check unless the bytes are the same; shows where they first differ."""
    if got == wanted:
        return
    at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
    start = max(0, at - 20)
    dots = "… " if start else ""
    raise CheckFailed(f"{what}: {dots}{show(wanted[start:])} ({len(wanted)} bytes)",
                      [f"{dots}{show(got[start:])} ({len(got)} bytes)", f"the first difference is at byte {at}"])


def require_object(item: Object) -> Object:
    """What has an object's name may be a link to a file, say, which shm_open() does not follow, or a named pipe."""
    require(not item.kind, f"{item.name} is an object of shared memory, as shm_open() makes one", item)
    return item

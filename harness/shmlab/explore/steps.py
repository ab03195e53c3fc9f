"""The kinds of steps, from native/explore/steps.def, and how one is printed."""
from __future__ import annotations

import errno
import os
import re
import struct
from dataclasses import dataclass
from typing import List, Tuple

from ..sandbox.native import NATIVE

_DEFINITIONS = re.findall(r"^(STEP|CALL|WRAP)\((\w+)\)", (NATIVE / "explore" / "steps.def").read_text(encoding="utf-8"), re.M)

#: Names of the kinds, by index.
KINDS: Tuple[str, ...] = tuple(name for kind, name in _DEFINITIONS if kind != "WRAP")

#: What the linker replaces.
WRAPPED: Tuple[str, ...] = tuple(name for kind, name in _DEFINITIONS if kind != "STEP")

TEXT = 64
_STEP = struct.Struct(f"=BBBBiQqQIiQQ{TEXT}s")  # struct step in control.h
SIZE = _STEP.size

ORDERS = ("relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst")
CREAT, EXCL, TRUNC = os.O_CREAT, os.O_EXCL, os.O_TRUNC
IPC_CREAT, IPC_EXCL = 0o1000, 0o2000
LOCKS = {0: "F_RDLCK", 1: "F_WRLCK", 2: "F_UNLCK"}


@dataclass(frozen=True)
class Step:
    """One step of one process, as native/explore/control.h has it."""

    process: int
    kind: str
    waits: bool
    order: str
    error: int
    where: int
    result: int
    offset: int
    size: int
    file: int
    before: int
    after: int
    text: str

    @property
    def is_access(self) -> bool:
        return self.kind in ("load", "store", "update")


def parse_step(raw: bytes) -> Step:
    process, call, waits, atomic, error, where, result, offset, size, file, before, after, text = _STEP.unpack(raw)
    name = KINDS[call] if call < len(KINDS) else "?"
    order = ORDERS[atomic - 1] if 0 < atomic <= len(ORDERS) else ""
    return Step(process, name, bool(waits), order, error, where, result, offset, size, file, before, after,
                text.split(b"\0", 1)[0].decode("utf-8", "replace"))


def parse_steps(raw: bytes) -> List[Step]:
    return [parse_step(raw[at:at + SIZE]) for at in range(0, len(raw) - SIZE + 1, SIZE)]


def _error(step: Step) -> str:
    return f" = {errno.errorcode.get(step.error, step.error)}" if step.error else ""


def describe(step: Step, place: str) -> str:
    """A step in a few words. `place`: the object, with the offset in it."""
    kind = step.kind
    if step.is_access:
        order = f" {step.order}" if step.order else ""
        if step.size > 8:
            return f"{kind} {step.size} bytes {place}"
        if step.waits:
            return f"load {place}: still the same, others may run"
        if kind == "load":
            return f"load{order} {place}: {step.before}"
        return f"{kind}{order} {place}: {step.before} → {step.after}"
    if kind == "visible":
        return f"{step.after} at {place} becomes visible"
    if kind == "fence":
        return f"fence {step.order}"
    if kind == "start":
        return "starts"
    if kind == "end":
        return "ends" if step.result == 0 else (
            f"is killed by signal {os.WTERMSIG(step.result)}" if os.WIFSIGNALED(step.result)
            else f"ends with status {os.WEXITSTATUS(step.result)}")
    words = step.text
    if kind in ("shm_open", "open"):
        words += "".join(f", {name}" for bit, name in ((CREAT, "O_CREAT"), (EXCL, "O_EXCL"), (TRUNC, "O_TRUNC")) if step.size & bit)
    elif kind == "shmget":
        flags = [name for bit, name in ((IPC_CREAT, "IPC_CREAT"), (IPC_EXCL, "IPC_EXCL")) if step.size & bit]
        words += ", ".join(["", str(step.before), *flags])
    elif kind == "shmctl":
        words = f"{place}, {words}"
    elif kind in ("ftruncate", "posix_fallocate", "munmap"):
        words = f"{place}, {step.size}" if place else str(step.size)
    elif kind == "fcntl":
        words = f"{place}, {LOCKS.get(step.after, step.after)}"
    elif kind in ("nanosleep", "clock_nanosleep", "usleep", "sleep", "poll", "select"):
        words = f"{step.after / 1e6:g} ms"
    elif kind == "syscall":
        words = f"futex {'wait' if step.before in (0, 9) else 'wake'} {place}"
    elif not words:
        words = place
    suffix = ": waits" if step.waits else _error(step)
    return f"{kind}({words}){suffix}"

"""Reads the ring buffer in which the spy (native/spy/) records the calls of a run, and formats them like strace(1)."""
from __future__ import annotations

import errno
import os
import re
import struct
from dataclasses import dataclass, replace
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from ..labs import ROOT
from . import kernel
from .kernel import show

_ASKED = os.environ.get("SHMLAB_RECORDS", "")
CAPACITY = min(max(64, int(_ASKED)), 10_000_000) if _ASKED.isdecimal() else 8192  # records that a ring has room for

# The same layout as struct ring and struct record in spy.h.
_HEAD = struct.Struct("<QQQ104x")
RECORDED_TEXT = 47  # bytes of a string that the spy records at most; a zero byte follows
_RECORD = struct.Struct("<QQQiiHHiqQ5q48s")


def _read_definitions() -> List[Tuple[str, List[str]]]:
    text = (ROOT / "harness" / "native" / "spy" / "calls.def").read_text(encoding="ascii")
    return [(name, words.split()) for name, words in re.findall(r'^CALL\((\w+), "(.*)"\)', text, re.M)]


DEFINITIONS = _read_definitions()
WRAPPED = [name for name, _ in DEFINITIONS if name not in ("start", "end", "store")]
WRAPPED += ["mmap64", "ftruncate64", "posix_fallocate64", "fallocate64", "open64", "openat64", "fcntl64", "_Exit"]

_SAME = 24  # what follows in a record, after its number and its two times, is the same if the call is

_WITH_BYTES = ("read", "write", "send", "recv", "sendmsg", "recvmsg")  # their text is what was read or written
_SHOWN_BYTES = 16  # of that

INJECTED, FOREIGN, FAILED, HAS_BYTES, NAMESPACE_SHIFT = 1, 2, 4, 16, 5
SET_KNOWN = 1 << 30  # in the last number of a shmctl(): it and the number before it tell what IPC_SET was given or IPC_STAT stored;
# in the last one of a wait() or waitpid(): the rest is the status that it has stored

_FLAGS: Dict[str, Sequence[Tuple[int, str]]] = {
    "oflag": ((0o100, "O_CREAT"), (0o200, "O_EXCL"), (0o1000, "O_TRUNC"), (0o2000, "O_APPEND"),
              (0o4000, "O_NONBLOCK"), (0o2000000, "O_CLOEXEC")),
    "semflag": ((0o100, "O_CREAT"), (0o200, "O_EXCL")),
    "shmflg": ((0o1000, "IPC_CREAT"), (0o2000, "IPC_EXCL")),
    "shmatflg": ((0o10000, "SHM_RDONLY"), (0o20000, "SHM_RND"), (0o40000, "SHM_REMAP")),
    "msflag": ((1, "MS_ASYNC"), (2, "MS_INVALIDATE"), (4, "MS_SYNC")),
    "prot": ((1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")),
    "mapflag": ((0x10, "MAP_FIXED"), (0x20, "MAP_ANONYMOUS"), (0x4000, "MAP_NORESERVE"), (0x8000, "MAP_POPULATE")),
}
_FUTEX = {0: "FUTEX_WAIT", 1: "FUTEX_WAKE", 9: "FUTEX_WAIT_BITSET", 10: "FUTEX_WAKE_BITSET"}
_BASE = {"oflag": ("O_RDONLY", "O_WRONLY", "O_RDWR", "3"), "mapflag": ("0", "MAP_SHARED", "MAP_PRIVATE",
                                                                       "MAP_SHARED_VALIDATE")}
_FCNTL = {1: "F_GETFD", 2: "F_SETFD", 3: "F_GETFL", 4: "F_SETFL", 5: "F_GETLK", 6: "F_SETLK", 7: "F_SETLKW",
          1033: "F_ADD_SEALS", 1034: "F_GET_SEALS"}
_COMMANDS = {0: "IPC_RMID", 1: "IPC_SET", 2: "IPC_STAT"}
_SEMCTL = {**_COMMANDS, 11: "GETPID", 12: "GETVAL", 13: "GETALL", 14: "GETNCNT", 15: "GETZCNT", 16: "SETVAL", 17: "SETALL"}


def _format_flags(kind: str, value: int) -> str:
    words = [_BASE[kind][value & 3]] if kind in _BASE else []
    rest = value & ~3 if kind in _BASE else value
    for bit, name in _FLAGS[kind]:
        if rest & bit:
            words.append(name)
            rest &= ~bit
    if rest or not words:
        words.append(f"{rest:04o}" if kind == "shmflg" else f"{rest:#x}" if rest else "0")
    return "|".join(words)


def _format_number(kind: str, value: int) -> str:
    if kind in _FLAGS:
        return _format_flags(kind, value)
    if kind == "shmcmd":
        return _COMMANDS.get(value, str(value))
    if kind == "semcmd":
        return _SEMCTL.get(value, str(value))
    if kind == "fcntlcmd":
        return _FCNTL.get(value, str(value))
    if kind == "oct":
        return f"{value & 0xFFFF:04o}"
    if kind == "key":
        return f"0x{value & 0xFFFFFFFF:08x}" if value else "IPC_PRIVATE"
    if kind == "hex":
        return f"{value:#x}"
    if kind == "ptr":
        return f"{value & 0xFFFFFFFFFFFFFFFF:#x}" if value else "NULL"
    return str(value)


@dataclass(frozen=True)
class Call:
    """One recorded call.

    `error` is an errno value, 0 for success. `injected` means that the check changed the call's outcome, `failed` that the
    call failed. `where` is the return address, relative to the executable's base address; `place` is its source line, such
    as "file.c:31", once it is known. `began_ns` is the time before the call and `time_ns` after it, both of CLOCK_MONOTONIC.
    """

    sequence: int
    time_ns: int
    pid: int
    name: str
    arguments: Tuple[int, ...]
    text: str
    result: int
    error: int
    injected: bool
    foreign: bool
    failed: bool
    where: int
    place: str = ""
    began_ns: int = 0
    tid: int = 0
    namespace: int = 0  # tells the pid namespace of `pid` from others; 0 if it is not known

    @property
    def wait_status(self) -> Optional[int]:
        """The status that a successful wait() or waitpid() has stored; None for any other call."""
        at = {"wait": 1, "waitpid": 3}.get(self.name)
        return self.arguments[at] & ~SET_KNOWN if at and self.arguments[at] & SET_KNOWN and not self.failed else None

    @property
    def sizes(self) -> List[int]:
        """The arguments that are sizes, in bytes."""
        # The address that mmap() is asked for is not recorded.
        kinds = [kind for kind in dict(DEFINITIONS)[self.name] if kind != "text" and (self.name, kind) != ("mmap", "ptr")]
        return [number for kind, number in zip(kinds, self.arguments) if kind == "size"]

    def __str__(self) -> str:
        words, numbers = [], list(self.arguments)
        for kind in dict(DEFINITIONS)[self.name]:
            if kind == "text":
                words.append(show(os.fsencode(self.text), 48))
            elif self.name == "mmap" and kind == "ptr":
                words.append("…")
            elif numbers:
                words.append(_format_number(kind, numbers.pop(0)))
        if self.name in ("shm_open", "open", "openat") and not self.arguments[self.name == "openat"] & 0o100:
            words.pop()
        if self.name == "sem_open" and not self.arguments[0] & 0o100:
            del words[2:]
        if self.name == "semctl" and self.arguments[2] in (0, 11, 12, 14, 15):  # these take no fourth argument
            words.pop()
        if self.text and self.name in _WITH_BYTES:
            words[1] += f" = {show(os.fsencode(self.text), _SHOWN_BYTES)}"
        if self.name == "shmctl" and self.arguments[4] & SET_KNOWN and self.arguments[1] == 2:
            size, nattch, mode = self.arguments[3], self.arguments[4] >> 32, self.arguments[4] & 0o777
            words[-1] = f"{{size {size}, nattch {nattch}, mode {mode:04o}}}"
        elif self.name == "shmctl" and self.arguments[4] & SET_KNOWN:  # what it hands over says more than where it lies
            uid, gid = self.arguments[3] & 0xFFFFFFFF, self.arguments[3] >> 32 & 0xFFFFFFFF
            words[-1] = f"{{uid {uid}, gid {gid}, mode {self.arguments[4] & 0o777:04o}}}"
        if self.wait_status is not None:
            number, name = kernel.exit_status_of(self.wait_status), kernel.signal_of(self.wait_status)
            words[self.name == "waitpid"] = f"{{{name}}}" if name else f"{{exit status {number}}}"
        if self.name == "syscall" and self.arguments[0] == kernel.FUTEX_CALLS.get(os.uname().machine):
            words[0], words[2] = "SYS_futex", _FUTEX.get(self.arguments[2] & 0x7F, words[2])
        outcome = ""
        if self.name not in ("exit", "_exit", "abort", "start", "end", "store"):
            address = self.name in ("mmap", "mremap", "shmat", "sem_open") and not self.failed
            outcome = f" = {self.result:#x}" if address else f" = {self.result}"
            if self.name == "ftok" and not self.failed:
                outcome = f" = 0x{self.result & 0xFFFFFFFF:08x}"
        if self.error:
            outcome += f" {errno.errorcode.get(self.error, self.error)}"
        note = "   ← made to fail by this check" if self.failed else "   ← cut short by this check"
        note = note if self.injected else ""
        return f"{self.name}({', '.join(words)}){outcome}{note}"


class Ring:
    """The ring buffer of one run: a file that the box's programs map.

    The harness reads the file and does not map it: if a program truncated it, an access would kill the harness with SIGBUS.
    """

    def __init__(self, directory: int, name: str = "ring", capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=directory)
        os.fchmod(self._fd, 0o666)
        os.ftruncate(self._fd, _HEAD.size + capacity * _RECORD.size)
        os.pwrite(self._fd, _HEAD.pack(capacity, 0, 0), 0)
        self._complete: List[Call] = []
        self._next = 0  # the first record that was not complete at the last read()

    def close(self) -> None:
        os.close(self._fd)

    def _head(self) -> Tuple[int, ...]:
        head = os.pread(self._fd, _HEAD.size, 0)
        return _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0, 0)

    @property
    def injected(self) -> int:
        """How many calls the spy has made fail, including those whose records are lost."""
        return self._head()[2]

    def read(self) -> Tuple[List[Call], int]:
        """Returns the records, oldest first, and how many older ones were overwritten.

        The programs can write to the ring, so records that make no sense are skipped.
        """
        total = self._head()[1]
        oldest = max(0, total - self.capacity)
        self._complete = [call for call in self._complete if oldest < call.sequence <= total]
        # A complete record does not change until the ring wraps around, so it is read only once. From the first incomplete
        # record on, everything is read again by the next call.
        after_gap: List[Call] = []
        complete, last, last_slot = True, None, b""
        for number, slot in self._slots(max(oldest, self._next), total):
            # A program that polls fills the ring with the same call. To copy it takes a tenth of the time.
            if last and slot[_SAME:] == last_slot[_SAME:] and slot[:8] == (number + 1).to_bytes(8, "little"):
                call = _again(last, number + 1, *struct.unpack_from("<QQ", slot, 8))
            else:
                call = _parse(slot, number + 1)
            last, last_slot = call, slot
            complete = complete and call is not None
            if complete:
                self._next = number + 1
            if call:
                (self._complete if complete else after_gap).append(call)
        return self._complete + after_gap, oldest

    def _slots(self, begin: int, end: int) -> Iterator[Tuple[int, bytes]]:
        """The records of these numbers, as they are in the ring."""
        while begin < end:
            first = begin % self.capacity
            count = min(end - begin, self.capacity - first)
            block = os.pread(self._fd, count * _RECORD.size, _HEAD.size + first * _RECORD.size)
            for i in range(count):
                yield begin + i, block[i * _RECORD.size:(i + 1) * _RECORD.size]
            begin += count


def _again(call: Call, sequence: int, time_ns: int, began_ns: int) -> Call:
    """The same call at another time."""
    copied = Call.__new__(Call)
    copied.__dict__.update(call.__dict__, sequence=sequence, time_ns=time_ns, began_ns=began_ns)
    return copied


def _parse(slot: bytes, sequence: int) -> Optional[Call]:
    """Returns the call in a slot; None if it is not written yet or makes no sense."""
    raw = _RECORD.unpack(slot) if len(slot) == _RECORD.size else (0,)
    if raw[0] != sequence or not 0 <= raw[5] < len(DEFINITIONS):
        return None
    _, time_ns, began_ns, pid, tid, call, flags, error, result, where, *arguments, text = raw
    name = DEFINITIONS[call][0]
    text = text[:min(max(result, 0), RECORDED_TEXT)] if flags & HAS_BYTES else text.split(b"\0", 1)[0]
    return Call(sequence, time_ns, pid, name, tuple(arguments), os.fsdecode(text), result, error,
                bool(flags & INJECTED), bool(flags & FOREIGN), bool(flags & FAILED), where, "", began_ns, tid, flags >> NAMESPACE_SHIFT)


def with_places(calls: Iterable[Call], places: Dict[int, str]) -> List[Call]:
    """Returns the calls with `place` set to the source line of their return address, where it is known."""
    return [replace(call, place=places.get(call.where, "")) for call in calls]

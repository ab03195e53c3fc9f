"""Runs lines of one size through a pair of programs in a box, and measures how long that takes."""
from __future__ import annotations

import fcntl
import json
import os
import platform
import signal
import socket
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from ..labs import PEERS, SOLUTIONS, Lab, UserError
from ..sandbox import build, native
from ..sandbox.box import Box
from ..sandbox.channel import BoxedProcess

CAPACITY = 1 << 18  # bytes in the rings, and in the pipes and sockets if the machine grants them
MOST_BYTES = 1 << 24  # in one run
STILL_SECONDS = 1.0  # without any progress, after which a pair hangs
LONGEST_SECONDS = 5.0  # for one run
F_SETPIPE_SZ = 1031


class Wrong(Exception):
    """What a pair did wrong; the text is the end of a sentence that begins with its name."""


@dataclass(frozen=True)
class Way:
    """One way for lines from a sender to a receiver.

    `kind` is ring, stream, buffered, socket, queue or copy. For a ring, `programs` are the two executables; `own` if they are
    the student's, and then files of the box like any other.
    """

    name: str
    kind: str
    programs: Dict[str, Path] = field(default_factory=dict)
    own: bool = False


def compiled(lab: Lab, submission: Path, tier: str, cc: str) -> Dict[str, Path]:
    """Compiles the programs of a submission without the recorder. Raises UserError with the compiler's first error."""
    try:
        sources = build.read_sources(lab, submission)
        wanted = []
        for program in lab.programs:
            command = build.compile_command(program, cc, False)
            wanted.append(build.Compilation(program, command, build.target_of(command, cc, b"", sources)))
        build.compile_missing(wanted, sources, tier)
        for one in wanted:
            error = json.loads((one.target / f"{one.program}.json").read_text(encoding="utf-8"))["error"] if not one.is_missing else "?"
            if error is not None:
                raise build.BuildProblem(error)
    except build.BuildProblem as problem:
        lines = str(problem).splitlines()
        first = next((line for line in lines if " error: " in line), lines[0] if lines else "it cannot be compiled")
        raise UserError(f"{first}; `make check LAB={lab.number}` shows all") from None
    return {one.program: one.target / one.program for one in wanted}


def reference(lab: Lab, tier: str) -> Dict[str, Path]:
    """Returns the programs of the fast pair: in the students' edition finished ones, else a variant of the solution, compiled."""
    if not SOLUTIONS.is_dir():
        made = {program: PEERS / platform.machine() / "glibc" / f"{lab.name}_fast" / program for program in lab.programs}
        for path in made.values():
            if not path.exists():
                raise UserError(f"there is no fast {path.name} for this machine ({platform.machine()}) in harness/peers/")
        return {program: native.unpacked(path) for program, path in made.items()}
    from .. import gallery

    with tempfile.TemporaryDirectory() as scratch:
        patch = next(patch for patch in gallery.variants() if (patch.lab, patch.name) == (lab, gallery.FAST))
        return compiled(lab, patch.apply(Path(scratch)), tier, native.host_compiler())


def lines(size: int, count: int) -> bytes:
    """Returns so many different lines of `size` bytes, newlines included."""
    if size == 8:
        return b"".join(b"%07x\n" % number for number in range(count))
    end = b"." * (size - 8) + b"\n"
    return b"".join(b"%07x" % number + end for number in range(count))


def difference(size: int, count: int, wanted: bytes, arrived: bytes) -> str:
    """Describes how what has arrived differs from what was sent, as the end of a sentence."""
    got = arrived.split(b"\n")[:-1]
    sent = wanted.split(b"\n")[:-1]
    same = next((i for i, pair in enumerate(zip(got, sent)) if pair[0] != pair[1]), min(len(got), len(sent)))
    where = f"line {same + 1} of {count}, of {size} bytes"
    if sorted(got) == sorted(sent):
        return f"reorders: {where}, is another one"
    missing = len(set(sent) - set(got))
    if missing and set(got) <= set(sent):
        return f"loses {missing} of {count} lines of {size} bytes, the first of them line {same + 1}"
    return f"changes what it carries: {where}, is not what was sent"


class Runs:
    """One box, with the programs of all ways, and the input for each size."""

    def __init__(self, tier: str, processors: List[int], ways: List[Way]) -> None:
        self.box = Box(tier, executes=False, processors=processors)
        self._number = os.getpid() % 1000 * 100000
        self._inputs: Dict[Tuple[int, int], Tuple[int, bytes]] = {}
        self._output = os.memfd_create("output", os.MFD_CLOEXEC)
        os.truncate(self._output, MOST_BYTES)
        self.names: List[str] = []
        self.box.claimed = lambda: set(self.names)
        for way in ways:
            for name, path in way.programs.items() if way.own else ():
                self.box.put(name, path.read_bytes(), 0o755)

    def close(self) -> None:
        self.box.close()
        for fd, _ in self._inputs.values():
            os.close(fd)
        os.close(self._output)

    def input(self, size: int, count: int) -> Tuple[int, bytes]:
        """Returns a file with so many lines, open, and its content."""
        if (size, count) not in self._inputs:
            content = lines(size, count)
            fd = os.memfd_create("input", os.MFD_CLOEXEC)
            with os.fdopen(os.dup(fd), "wb") as file:
                file.write(content)
            self._inputs[size, count] = fd, content
        return self._inputs[size, count]

    # ---- starting

    def _racer(self, *words: object, **options: object) -> BoxedProcess:
        return self.box.start(["race", *map(str, words)], image=native.bench_program("race"), **options)  # type: ignore[arg-type]

    def _ring(self, way: Way, program: str, *words: str, **options: object) -> BoxedProcess:
        image = None if way.own else way.programs[program]
        return self.box.start([f"./{program}", *words], image=image, **options)  # type: ignore[arg-type]

    def _start_receiver(self, way: Way, out: int) -> Tuple[Optional[BoxedProcess], int]:
        """Starts what receives, and waits until it sleeps. Returns it, and the descriptor that its sender writes to, or -1."""
        self._number += 1
        if way.kind == "ring":
            self.names[:] = [f"/shmlab-race-{self._number}"]
            return self._ring(way, "ring_recv", self.names[0], stdout=out), -1
        if way.kind == "queue":
            return self._racer("recv", "queue", self._number, stdout=out), -1
        if way.kind == "copy":
            return None, out
        if way.kind == "socket":
            ours, theirs = socket.socketpair()
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CAPACITY)
            reading, writing = theirs.detach(), ours.detach()
        else:
            reading, writing = os.pipe()
            try:
                fcntl.fcntl(writing, F_SETPIPE_SZ, CAPACITY)
            except OSError:
                pass  # it has what the machine's limit leaves: 64 KiB
        try:
            return self._racer("recv", stdin=reading, stdout=out), writing
        finally:
            os.close(reading)

    def _start_sender(self, way: Way, source: int, to: int) -> BoxedProcess:
        if way.kind == "ring":
            return self._ring(way, "ring_send", self.names[0], str(CAPACITY), stdin=source)
        if way.kind == "queue":
            return self._racer("send", "queue", self._number, stdin=source)
        if way.kind == "copy":
            return self._racer("copy", stdin=source, stdout=to)
        return self._racer("send", "buffered" if way.kind == "buffered" else "stream", stdin=source, stdout=to)

    def _sleeps(self, program: Optional[BoxedProcess]) -> bool:
        try:
            return program is None or self.box.read(f"/proc/{program.pid}/stat").rsplit(b")", 1)[1].split()[0] == b"S"
        except OSError:
            return True  # it has ended

    # ---- waiting

    def _finish(self, way: Way, programs: List[BoxedProcess], progress: int, what: str) -> None:
        """Waits until programs have ended with exit status 0. Raises Wrong if not: after a second without progress, or at the end."""
        began = moved = time.monotonic()
        seen = -1
        ended: List[BoxedProcess] = []  # in their order: one that fails may be why the next one does

        def all_have_ended() -> bool:
            ended.extend(one for one in programs if one.status is not None and one not in ended)
            return len(ended) == len(programs)

        while not self.box.pump(all_have_ended, 0.05):
            failed = next((one for one in ended if one.status), None)
            now, at = time.monotonic(), os.lseek(progress, 0, os.SEEK_CUR) if progress >= 0 else 0
            moved, seen = (now, at) if at != seen else (moved, seen)
            if failed is None and now - moved < STILL_SECONDS and now - began < LONGEST_SECONDS:
                continue
            self.box.stop()
            if failed is not None:
                raise Wrong(self._ending(failed))
            raise Wrong(f"hangs: {what}" if now - moved >= STILL_SECONDS else f"takes longer than {LONGEST_SECONDS:.0f} s: {what}")
        for one in ended:
            self.box.wait(one, 1.0)
            if one.status:
                raise Wrong(self._ending(one))

    @staticmethod
    def _ending(program: BoxedProcess) -> str:
        name, said = program.argv[0].replace("./", ""), program.output[2].decode("utf-8", "replace").strip().splitlines()
        assert program.status is not None
        killed, text = program.status & 0x7F, said[0][:200] if said else ""
        how = f"was ended by {signal.Signals(killed).name}" if killed else f"ended with exit status {program.status >> 8}"
        return f"fails: {name} {how}" + (f" and said “{text}”" if text else "")

    # ---- measuring

    def carry(self, way: Way, size: int, count: int) -> float:
        """Sends lines from a file through a way to a file, and compares. Returns the seconds from the sender's start to both ends.

        Raises Wrong if not all arrive unchanged and in order, or nothing moves for a second.
        """
        source, wanted = self.input(size, count)
        os.pwrite(self._output, bytes(len(wanted)), 0)
        source, out = os.open(f"/proc/self/fd/{source}", os.O_RDONLY), os.open(f"/proc/self/fd/{self._output}", os.O_RDWR)
        try:
            receiver, to = self._start_receiver(way, out)
            try:
                self.box.pump(lambda: self._sleeps(receiver), STILL_SECONDS, tick=0.0005)
                began = time.monotonic()
                programs = [self._start_sender(way, source, to)] + ([receiver] if receiver else [])
            finally:
                if to not in (-1, out):
                    os.close(to)
            self._finish(way, programs, out, f"lines of {size} bytes do not all arrive")
            took = time.monotonic() - began
            arrived = os.pread(self._output, min(os.lseek(out, 0, os.SEEK_CUR), MOST_BYTES), 0)
        finally:
            os.close(source)
            os.close(out)
        if arrived != wanted:
            raise Wrong(difference(size, count, wanted, arrived))
        return took

    def ping(self, way: Way, size: int, count: int) -> float:
        """Sends one line at a time. Returns the median of the seconds until it has come out. Raises Wrong as carry() does."""
        into, feed = os.pipe()
        back, out = os.pipe()
        try:
            receiver, to = self._start_receiver(way, out)
            try:
                self._start_sender(way, into, to)
            finally:
                if to not in (-1, out):
                    os.close(to)
            pinger = self._racer("ping", count, size, stdin=back, stdout=feed)
        finally:
            for fd in (into, feed, back, out):
                os.close(fd)
        try:
            self._finish(way, [pinger], -1, f"a line of {size} bytes, sent alone, does not come out")
        finally:
            self.box.stop()
        return float(pinger.output[2].split()[0]) / 1e9

    def floors(self, processors: List[int], sizes: List[int]) -> Dict[str, float]:
        """Measures the lower bounds: nanoseconds by name, "line" for a round trip, and the sizes of the copies."""
        program = self._racer("floors", *(processors if len(processors) == 2 else (-1, -1)), *sizes)
        if not self.box.wait(program, LONGEST_SECONDS) or program.status:
            return {}
        return {name: float(value) for name, value in (line.split() for line in program.output[1].decode().splitlines())}

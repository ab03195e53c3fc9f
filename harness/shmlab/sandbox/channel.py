"""Communicates with pid 1 of a box: commands, answers and events, and the pipes of the programs that it started.

Messages are SOCK_SEQPACKET packets; their format is in native/box/messages.c.
"""
from __future__ import annotations

import array
import os
import select
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple

EXIT_EXEC = 127  # of a child of pid 1 that could not execute its program: see native/box/box.h
OUTPUT_LIMIT = 4 << 20  # bytes that a program may write to stdout, and as many to stderr


class BoxRefused(Exception):
    """The box could not be set up or stopped working; the text says at which step and why."""


@dataclass
class BoxedProcess:
    """A program that the box has started.

    `output` has what it wrote to descriptors 1 and 2. `status` is its wait status, None while it runs. `cpu` and `wall` are
    in seconds. `machine_full` means that all were killed because the machine had no memory left, `flooded` that it wrote more
    than OUTPUT_LIMIT and was killed.

    Of a recorded program: `injected` means that one of its calls was made to fail; `records` is how many it has written, None if
    it did not end by itself; `asked_again` means that something but the recorder has asked the box for the rules.
    """

    pid: int
    argv: List[str]
    output: Dict[int, bytearray] = field(default_factory=lambda: {1: bytearray(), 2: bytearray()})
    status: Optional[int] = None
    cpu: float = 0.0
    peak_kib: int = 0
    wall: float = 0.0
    timed_out: bool = False
    over_memory: bool = False
    machine_full: bool = False
    flooded: bool = False
    stdin: int = -1
    injected: bool = False
    records: Optional[int] = None
    asked_again: bool = False
    trusted: bool = False  # it is the harness's own
    pipes: Dict[int, int] = field(default_factory=dict)  # our end of the pipe -> the program's descriptor, 1 or 2


class Channel:
    """The harness's end of the socket to pid 1, and the state that its messages report.

    `programs` are those that were started, by pid; `events` the reports of stopped processes; `orphans` the pids of ended
    processes that pid 1 waited for because their parent had ended before them.
    """

    def __init__(self) -> None:
        self.programs: Dict[int, BoxedProcess] = {}
        self.events: List[Tuple[str, ...]] = []
        self.orphans: Set[int] = set()
        self._socket, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._socket, self._theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 19)

    # ---- messages

    def _receive(self, timeout: float) -> Tuple[Tuple[str, ...], List[int]]:
        """Returns the next message of pid 1 and its descriptors. Raises BoxRefused if none comes within `timeout` seconds."""
        self._socket.settimeout(timeout)
        try:
            raw, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(16), socket.MSG_CMSG_CLOEXEC)
        except socket.timeout:
            raise BoxRefused(f"no answer for {timeout:.0f} s") from None
        except OSError as error:
            raise BoxRefused(str(error)) from None
        if not raw:
            raise BoxRefused("it ended")
        fds = [fd for _, kind, data in ancillary if kind == socket.SCM_RIGHTS for fd in array.array("i", data)]
        return tuple(raw.decode("utf-8", "replace").split(" ")), fds

    def _handle(self, words: Tuple[str, ...]) -> None:
        if words[0] == "exited":
            program = self.programs.get(int(words[1]))
            if program:
                program.status = int(words[2])
                program.cpu, program.peak_kib = int(words[3]) / 1e6, int(words[4])
                program.wall = int(words[5]) / 1e6
                program.timed_out, program.over_memory = words[6] == "1", words[7] == "1"
                program.machine_full = words[7] == "2"
        elif words[0] in ("injected", "recorded", "asked-again"):
            told = self.programs.get(int(words[1]))
            if told and words[0] == "recorded":
                told.records = int(words[2])
            elif told:
                told.injected = told.injected or words[0] == "injected"
                told.asked_again = told.asked_again or words[0] == "asked-again"
        elif words[0] == "orphan":
            self.orphans.add(int(words[1]))
        elif words[0] == "stopped":
            self.events.append(words)

    def _ask(self, *fields: object, fds: Sequence[int] = ()) -> Tuple[Tuple[str, ...], List[int]]:
        """Sends a command and returns the answer of pid 1 and its descriptors. Handles the events that come before it.

        Raises OSError if the command failed, BoxRefused if there is no answer.
        """
        raw = b"".join(os.fsencode(str(part)) + b"\0" for part in fields)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._socket.settimeout(10.0)
            self._socket.sendmsg([raw], ancillary)
        except OSError as error:
            raise BoxRefused(f"it does not listen: {error}") from None
        while True:
            words, answered = self._receive(20.0)
            if words[0] == "=":
                if words[1] == "failed":
                    raise OSError(int(words[2]), os.strerror(int(words[2])), str(fields[1]))
                return words[2:], answered
            self._handle(words)

    def kill(self, pid: int, number: int) -> None:
        """Sends a signal to a process of the box. Does nothing if the process has ended."""
        try:
            self._ask("kill", pid, int(number))
        except ProcessLookupError:
            pass

    # ---- pipes

    def close_stdin(self, program: BoxedProcess) -> None:
        if program.stdin >= 0:
            os.close(program.stdin)
            program.stdin = -1

    def _forget(self, program: BoxedProcess) -> None:
        for fd in [*program.pipes, program.stdin]:
            if fd >= 0:
                os.close(fd)
        program.pipes.clear()
        program.stdin = -1
        self.programs.pop(program.pid, None)

    def _read_rest(self, program: BoxedProcess) -> None:
        """Reads what a program that has ended left in its pipes. A child may hold them open, so the end of file is not waited for."""
        for fd in list(program.pipes):
            self._drain(fd, program)

    def _drain(self, fd: int, program: BoxedProcess) -> None:
        """Reads what a pipe contains now, and closes it at its end, or if the program has written more than OUTPUT_LIMIT."""
        number = program.pipes[fd]
        output = program.output[number]
        try:
            while len(output) <= OUTPUT_LIMIT:
                chunk = os.read(fd, 1 << 16)
                if not chunk:
                    break
                output += chunk
        except BlockingIOError:
            return
        os.close(fd)
        del program.pipes[fd]
        if len(output) > OUTPUT_LIMIT:
            del output[OUTPUT_LIMIT:]
            program.flooded = True
            if program.status is None:
                self.kill(program.pid, signal.SIGKILL)

    def pump(self, until: Callable[[], bool], timeout: float, tick: float = 60.0, to_write: Sequence[int] = ()) -> bool:
        """Handles events and output until a condition holds. Returns False if it does not within `timeout` seconds.

        @param until     the condition, tested after each event and at least every `tick` seconds
        @param to_write  descriptors to write to; that one becomes writable is also an event
        """
        end = time.monotonic() + timeout
        while not until():
            left = end - time.monotonic()
            if left <= 0:
                return False
            owner = {fd: program for program in self.programs.values() for fd in program.pipes}
            ready, _, _ = select.select([self._socket.fileno(), *owner], to_write, [], min(left, tick))
            # The message comes first: _drain() may send a kill command, and waiting for the answer would consume the message.
            if self._socket.fileno() in ready:
                self._handle(self._receive(1.0)[0])
            for fd in ready:
                if fd in owner:
                    self._drain(fd, owner[fd])
        return True

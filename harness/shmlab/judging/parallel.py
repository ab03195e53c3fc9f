"""Runs the checks of a session in several processes, and reports them as if one had run them, in their order.

The processes are forked once the checks are collected, so they find everything loaded. Which portion is next is a number
in a pipe: whoever reads it has it. Each sends what pytest reports; a check of which nothing came, because its process
has ended, is run again by the parent.
"""
from __future__ import annotations

import ctypes
import os
import pickle
import select
import signal
import socket
import struct
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import pytest

from ..sandbox import box
from ..labs import UserError
from .fixture import LabFixture

_NUMBER = struct.Struct("<I")  # of a portion; and the length of a message
_kept: Optional[socket.socket] = None


def fork() -> int:
    """Like os.fork(), but the child ends when its parent has gone, and at an interrupt.

    The parent hears of an interrupt that comes meanwhile when it has forked: Python would lose one that falls into what
    its modules do at a fork.
    """
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:
                os._exit(1)
            for number in signal.SIGINT, signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


class _Sender:
    """In a child: takes the place of everybody who would show or write down a report."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.reports = config, []  # type: ignore[var-annotated]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.reports.append(self.config.hook.pytest_report_to_serializable(config=self.config, report=report))


def _work(session: pytest.Session, portions: Sequence[Sequence[int]], numbers: int, to: int) -> None:
    """Runs one portion after the other until none is left."""
    plugins = session.config.pluginmanager
    for name in "terminalreporter", "capturemanager":
        plugins.unregister(name=name)
    sender = _Sender(session.config)
    plugins.register(sender)
    while len(number := os.read(numbers, _NUMBER.size)) == _NUMBER.size:
        portion = portions[_NUMBER.unpack(number)[0]]
        for index, following in zip(portion, [*portion[1:], None]):
            item, after = session.items[index], None if following is None else session.items[following]
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            message = pickle.dumps((index, sender.reports))
            sender.reports = []
            with os.fdopen(os.dup(to), "wb") as pipe:
                pipe.write(_NUMBER.pack(len(message)) + message)
    LabFixture.close_spare()


def _start(session: pytest.Session, portions: Sequence[Sequence[int]], numbers: int) -> Tuple[int, int]:
    """Forks a process that works. Gives its pid and the pipe on which it sends."""
    ours, theirs = os.pipe()
    pid = fork()
    if pid:
        os.close(theirs)
        return pid, ours
    try:
        null = os.open("/dev/null", os.O_RDWR)
        for fd in 0, 1, 2:
            os.dup2(null, fd)
        pin_to_processor()
        _work(session, portions, numbers, theirs)
        os._exit(0)
    except BaseException:  # a forked child must not fall back into its parent's code; the parent runs what is missing
        os._exit(70)


def pin_to_processor() -> None:
    """Keeps this process and its boxes to one processor that no other harness keeps to, if there is one.

    They take turns: whoever starts a program waits for it. On one processor a turn costs no call from one to the other.
    The programs still run on all that this process may use, see box.PROCESSORS.
    """
    global _kept
    if _kept or len(box.PROCESSORS) < 2:
        return
    here = ctypes.CDLL(None).sched_getcpu()  # where the kernel has found room for us
    for processor in sorted(box.PROCESSORS, key=lambda number: (number < here, number)):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            # A name that is nobody's any more as soon as this process has ended, however it did; see unix(7).
            claim.bind(f"\0shmlab keeps to processor {processor}")
            os.sched_setaffinity(0, {processor})
        except OSError:
            claim.close()
            continue
        _kept = claim
        return


def number_of_jobs(word: Optional[str]) -> int:
    """How many processes to use: what was asked for, else one a processor."""
    if not word:
        return len(box.PROCESSORS)
    if not word.isdigit() or not 1 <= int(word) <= 256:
        raise UserError(f"JOBS={word} is no number of things to do at a time: 1 to 256")
    return int(word)


def run(session: pytest.Session, portions: Sequence[Sequence[int]], jobs: int) -> Iterator[pytest.TestReport]:
    """Runs all of the session's items, and gives the reports that came from other processes, in the items' order.

    @param portions  indices of items, those together that one process shall run
    """
    hook = session.config.hook
    reader, writer = os.pipe()
    os.write(writer, b"".join(_NUMBER.pack(number) for number in range(len(portions))))
    os.close(writer)
    children: Dict[int, int] = {}  # pipe -> pid
    heard: Dict[int, bytearray] = {}
    reports: Dict[int, List[Any]] = {}
    shown = 0

    def tell() -> Iterator[pytest.TestReport]:
        nonlocal shown
        while shown in reports:
            item = session.items[shown]
            hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            for data in reports.pop(shown):
                report = hook.pytest_report_from_serializable(config=session.config, data=data)
                hook.pytest_runtest_logreport(report=report)
                yield report
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            shown += 1

    try:
        for _ in range(min(jobs, len(portions))):
            pid, pipe = _start(session, portions, reader)
            children[pipe], heard[pipe] = pid, bytearray()
        while children:
            for pipe in select.select(list(children), [], [])[0]:
                chunk = os.read(pipe, 1 << 20)
                message = heard[pipe]
                message += chunk
                while len(message) >= 4 and len(message) >= 4 + (length := _NUMBER.unpack_from(message)[0]):
                    index, found = pickle.loads(bytes(message[4:4 + length]))
                    reports[index] = found
                    del message[:4 + length]
                yield from tell()
                if not chunk:
                    os.close(pipe)
                    os.waitpid(children.pop(pipe), 0)
    finally:
        os.close(reader)
        for pid in children.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    while shown < len(session.items):
        hook.pytest_runtest_protocol(item=session.items[shown], nextitem=None)
        shown += 1
        yield from tell()

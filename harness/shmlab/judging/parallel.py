"""Runs the checks of a session in several processes, and reports them in order, as if one process had run them.

The worker processes are forked after the checks are collected, so they need not import or collect anything. The parent
writes the number of each portion of checks to a pipe, and each worker reads the next number when it is free. The workers
send pytest's reports to the parent. If a worker ends early, the parent runs the checks that have no report.
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

_NUMBER = struct.Struct("<I")  # the number of a portion, or the length of a message
_processor_claim: Optional[socket.socket] = None  # keeps other harnesses off the processor that this one is pinned to


def fork() -> int:
    """Like os.fork(), but the child is killed when its parent ends, and ends at SIGINT and SIGTERM.

    Both signals are blocked during the fork: Python would lose an exception raised in the functions that run at a fork.
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
    """In a worker: collects the reports, serialized, in place of the plugins that show them or write them to a file."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.reports: List[Any] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.reports.append(self.config.hook.pytest_report_to_serializable(config=self.config, report=report))


def _run_portions(session: pytest.Session, portions: Sequence[Sequence[int]], numbers: int, to: int) -> None:
    """In a worker: runs one portion after the other until none is left.

    @param numbers  the pipe with the numbers of the portions
    @param to       the pipe for the reports
    """
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


def _start_worker(session: pytest.Session, portions: Sequence[Sequence[int]], numbers: int) -> Tuple[int, int]:
    """Forks a worker. Returns its pid and the pipe that its reports come from."""
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
        _run_portions(session, portions, numbers, theirs)
        os._exit(0)
    except BaseException:  # a forked child must not return into its parent's code; the parent runs what is missing
        os._exit(70)


def pin_to_processor() -> None:
    """Pins this process and pid 1 of its boxes to one processor that no other harness is pinned to, if there is one.

    The two take turns, as the harness waits for each answer; on one processor, no turn needs an inter-processor interrupt.
    The programs still run on all processors that this process may use, see box.PROCESSORS.
    """
    global _processor_claim
    if _processor_claim or len(box.PROCESSORS) < 2:
        return
    here = ctypes.CDLL(None).sched_getcpu()  # tried first, as the kernel chose it
    for processor in sorted(box.PROCESSORS, key=lambda number: (number < here, number)):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            # An abstract socket name is released as soon as this process ends, however it ends; see unix(7).
            claim.bind(f"\0shmlab keeps to processor {processor}")
            os.sched_setaffinity(0, {processor})
        except OSError:
            claim.close()
            continue
        _processor_claim = claim
        return


def number_of_jobs(word: Optional[str]) -> int:
    """Returns how many processes to use: the number in `word`, or one per processor if it is empty."""
    if not word:
        return len(box.PROCESSORS)
    if not word.isdigit() or not 1 <= int(word) <= 256:
        raise UserError(f"JOBS={word} is not a number of parallel jobs: write a number from 1 to 256")
    return int(word)


def run(session: pytest.Session, portions: Sequence[Sequence[int]], jobs: int) -> Iterator[pytest.TestReport]:
    """Runs all of the session's items, and yields the reports of the workers, in the order of the items.

    @param portions  for each portion, the indices of the items that one worker runs one after the other
    @param jobs      how many workers to start at most
    """
    hook = session.config.hook
    reader, writer = os.pipe()
    os.write(writer, b"".join(_NUMBER.pack(number) for number in range(len(portions))))
    os.close(writer)
    children: Dict[int, int] = {}  # pipe -> pid
    buffers: Dict[int, bytearray] = {}  # pipe -> what was read from it and is not a whole message yet
    reports: Dict[int, List[Any]] = {}  # index of an item -> its reports, serialized
    reported = 0  # how many items

    def report_in_order() -> Iterator[pytest.TestReport]:
        nonlocal reported
        while reported in reports:
            item = session.items[reported]
            hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            for data in reports.pop(reported):
                report = hook.pytest_report_from_serializable(config=session.config, data=data)
                hook.pytest_runtest_logreport(report=report)
                yield report
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            reported += 1

    try:
        for _ in range(min(jobs, len(portions))):
            pid, pipe = _start_worker(session, portions, reader)
            children[pipe], buffers[pipe] = pid, bytearray()
        while children:
            for pipe in select.select(list(children), [], [])[0]:
                chunk = os.read(pipe, 1 << 20)
                buffer = buffers[pipe]
                buffer += chunk
                while len(buffer) >= 4 and len(buffer) >= 4 + (length := _NUMBER.unpack_from(buffer)[0]):
                    index, found = pickle.loads(bytes(buffer[4:4 + length]))
                    reports[index] = found
                    del buffer[:4 + length]
                yield from report_in_order()
                if not chunk:
                    os.close(pipe)
                    os.waitpid(children.pop(pipe), 0)
    finally:
        os.close(reader)
        for pid in children.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    while reported < len(session.items):
        hook.pytest_runtest_protocol(item=session.items[reported], nextitem=None)
        reported += 1
        yield from report_in_order()

"""What a picture shows: lanes for processes, and a row for each thing that happened."""
from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import List, Optional, Tuple

from ..sandbox import kernel
from .state import Note, State

MOST_ROWS = 120
MOST_THREADS = 6  # that have a lane of their own
LONGEST_PATTERN = 3  # rows that are recognised when they repeat
REPETITIONS = 3  # from which on they are folded
HIDDEN_CALLS = ("end", "exit", "_exit", "abort")  # the end of the process says more
TIMED_OUT = (errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR)


def ending(status: int) -> Tuple[str, bool]:
    """What a wait status says, and whether it is a failure."""
    name, number = kernel.signal_of(status), kernel.exit_status_of(status)
    return (f"killed by {name}", True) if name else (f"exit status {number}", number != 0)


@dataclass
class Lane:
    """One process, or several of one program or parent that ran one after the other; or one thread of a process, but its first.

    `pids` is empty if the picture has none.
    """

    name: str
    pids: List[int]
    root: int  # index of the lane of the program that has forked it, or of itself
    ended: bool = False
    thread: int = 0  # its id; 0 for a process

    @property
    def about(self) -> str:
        """Its pids, for people."""
        return ("process " if len(self.pids) == 1 else "processes ") + ", ".join(map(str, self.pids)) if self.pids else ""


@dataclass
class Row:
    """One thing that happened.

    `kind` is "call", "end" (of a process), "user" (an action of a scenario), "fold" (of rows that were like others) or "note".
    `lane` is -1 where it is about no process. `waited_from` is the row after which the process slept until this call returned,
    `woken_by` the row that woke it, `woken_for` what by, such as a semaphore's name. `notes` are what has changed since the row
    before; `state` is what the kernel then had.
    """

    lane: int
    kind: str
    text: str
    place: str = ""
    failed: bool = False
    timed_out: bool = False
    waited_from: Optional[int] = None
    woken_by: Optional[int] = None
    woken_for: str = ""
    notes: List[Note] = field(default_factory=list)
    state: Optional[State] = None
    seconds: float = 0.0
    folded: int = 0


@dataclass
class Trace:
    """All that a picture shows. `mode` is said in it: see MODES."""

    title: str
    mode: str
    lanes: List[Lane] = field(default_factory=list)
    rows: List[Row] = field(default_factory=list)

    def place_thread(self, lane: int, pid: int, tid: int) -> Tuple[int, str]:
        """Returns the lane of a thread of a process that has a lane, and how its texts begin.

        A process's first thread has the lane of the process. So have others if there are many, and their texts name them.
        """
        if tid in (0, pid):
            return lane, ""
        threads = {one.thread: i for i, one in enumerate(self.lanes) if one.thread}
        if tid not in threads and len(threads) < MOST_THREADS:
            threads[tid] = len(self.lanes)
            self.lanes.append(Lane(f"thread {tid} of {self.lanes[lane].name}", [], self.lanes[lane].root, thread=tid))
        return (threads[tid], "") if tid in threads else (lane, f"thread {tid}: ")

    def replace(self, first: int, count: int, fold: Row) -> None:
        """Puts one row in the place of some that follow each other."""
        self.rows[first:first + count] = [fold]
        for row in self.rows:
            for name in ("waited_from", "woken_by"):
                number = getattr(row, name)
                if number is not None and number >= first:
                    setattr(row, name, number - count + 1 if number >= first + count else None)


#: What each mode is, for people.
MODES = {
    "stepped": "stepped: after each call the kernel state was read, while all processes were stopped or asleep",
    "free": "free: the programs ran at full speed; a call that wakes others is shown when it began, any other when it returned; "
            "times in ms",
    "schedule": "a schedule: the explorer ran one process at a time, in the order shown",
}


def _what(row: Row) -> Tuple[object, ...]:
    return row.lane, row.kind, row.text, row.place, row.failed


def _fold_repetitions(trace: Trace) -> None:
    """Puts rows that repeat, one alone or a few in turn, together; not where the kernel's state has changed."""
    at = 0
    while at < len(trace.rows):
        for length in range(1, LONGEST_PATTERN + 1):
            pattern = [_what(row) for row in trace.rows[at:at + length]]
            end = at + length
            while [_what(row) for row in trace.rows[end:end + length]] == pattern and all(
                    row.kind == "call" and not row.notes and row.waited_from is None for row in trace.rows[end:end + length]):
                end += length
            times = (end - at) // length - 1
            if times + 1 >= REPETITIONS:
                last = trace.rows[end - 1]
                lane = last.lane if len({row.lane for row in trace.rows[at:end]}) == 1 else -1
                text = f"the same again, {times} times" if length == 1 else f"these {length} calls again, {times} times"
                trace.replace(at + length, end - at - length, Row(lane, "fold", text, state=last.state, seconds=last.seconds,
                                                                  folded=times * length))
                at += length
                break
        at += 1


def shortened(trace: Trace, most: int = MOST_ROWS) -> Trace:
    """Folds what repeats. If there are more than `most` rows then, those in the middle are left out, and a row says so."""
    _fold_repetitions(trace)
    if len(trace.rows) > most:
        first, last = most * 2 // 3, most - most * 2 // 3 - 1
        gone = len(trace.rows) - first - last
        trace.replace(first, gone, Row(-1, "fold", f"{gone} rows are left out here", state=trace.rows[first + gone - 1].state, folded=gone))
    return trace

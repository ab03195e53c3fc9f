"""What a picture shows: lanes for processes, and a row for each thing that happened."""
from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import List, Optional, Tuple

from ..sandbox import kernel
from .state import Note, State

MOST_ROWS = 120
HIDDEN_CALLS = ("end", "exit", "_exit", "abort")  # the end of the process says more
TIMED_OUT = (errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR)


def ending(status: int) -> Tuple[str, bool]:
    """What a wait status says, and whether it is a failure."""
    name, number = kernel.signal_of(status), kernel.exit_status_of(status)
    return (f"killed by {name}", True) if name else (f"exit status {number}", number != 0)


@dataclass
class Lane:
    """One process, or several of one program or parent that ran one after the other. `pids` is empty if the picture has none."""

    name: str
    pids: List[int]
    root: int  # index of the lane of the program that has forked it, or of itself
    ended: bool = False

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


#: What each mode is, for people.
MODES = {
    "stepped": "stepped: each process was stopped after each call, and the kernel asked, while all others were stopped or asleep",
    "free": "free: the programs ran as fast as they could; a call that wakes others stands where it began, any other where it "
            "returned; times in ms",
    "schedule": "a schedule: the explorer ran one process at a time, in the order shown",
}


def shortened(trace: Trace, most: int = MOST_ROWS) -> Trace:
    """Returns a trace with at most `most` rows: those in the middle are left out, and a row says so."""
    if len(trace.rows) <= most:
        return trace
    first, last = most * 2 // 3, most - most * 2 // 3 - 1
    gone = len(trace.rows) - first - last
    tail = trace.rows[-last:]
    for row in tail:
        for name in ("waited_from", "woken_by"):
            number = getattr(row, name)
            if number is not None:
                setattr(row, name, number if number < first else number - gone + 1 if number >= first + gone else None)
    fold = Row(-1, "fold", f"{gone} rows are left out here", state=trace.rows[first + gone - 1].state, folded=gone)
    trace.rows = [*trace.rows[:first], fold, *tail]
    return trace

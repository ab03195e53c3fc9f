"""Tells a program that pauses for a moment, and then goes on with its work, from one that polls."""
from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Set, Tuple

if TYPE_CHECKING:
    from .program import Program

PAUSE_SECONDS = 1.0  # a right program that simulates work pauses for less, between two steps
POLLS, POLL_SECONDS = 20, 0.1  # so many pauses, for so long, in which nothing changes: it polls
# A program that was found to poll does so in every check.
AGAIN_SECONDS, AGAIN_POLLS, AGAIN_POLL_SECONDS = 0.15, 5, 0.02


class Pauses:
    """What the looks at one program have shown of its pauses: sleeps that time alone ends, as in nanosleep(2).

    A pause is not a wait for another process: what comes after it may be the next step. But a program that pauses again
    and again, while neither its objects nor its output change, polls. So does one that pauses for longer than work takes.
    """

    found: Set[Path] = set()  # programs that poll, in this run

    def __init__(self, program: "Program") -> None:
        self.program = program
        self.seen = False  # whether it has paused at all
        self.woken = 0  # how often it was seen to wake up by itself
        self.polls = False
        self._last = -1  # how often it had slept when it paused last
        self._since: Tuple[float, int] = (0.0, 0)  # when this row of pauses began, and how often it had slept then
        self._traces: Optional[Tuple[object, ...]] = None

    def begin(self) -> None:
        """A new wait begins: what was before does not count."""
        self._traces = None

    def note(self, sleeps: int) -> bool:
        """The program pauses now, and has slept so often so far. Gives whether it polls."""
        fixture, now = self.program.fixture, time.monotonic()
        self.seen = True
        if 0 <= self._last < sleeps:
            self.woken += sleeps - self._last
        self._last = sleeps
        traces = fixture.traces()
        if traces != self._traces:
            self._traces, self._since = traces, (now, sleeps)
        known = self.program.built.path in self.found
        seconds, row = now - self._since[0], sleeps - self._since[1]
        most, polls, least = (AGAIN_SECONDS, AGAIN_POLLS, AGAIN_POLL_SECONDS) if known else (PAUSE_SECONDS, POLLS, POLL_SECONDS)
        self.polls = seconds >= most or (row >= polls and seconds >= least)
        if self.polls:
            self.found.add(self.program.built.path)
        return self.polls

    def awake(self) -> None:
        """It does something else: the sleeps from here on are not pauses."""
        self._last = -1

"""Tells a program that pauses for a moment, and then goes on with its work, from one that polls."""
from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Set, Tuple

from ..sandbox.kernel import Blocked
from .require import CheckFailed

if TYPE_CHECKING:
    from .program import Program

# Interposed libraries for calls that sleep for a time, see native/interpose/sleeps.h.
NO_TIME = ("short_sleep",)  # for runs in which nothing is looked at that a shorter sleep could change
HELD = ("held_sleep",)  # for runs in which the check decides how long a sleep is

PAUSE_SECONDS = 1.0  # a right program that simulates work pauses for less, between two steps
POLLS, POLL_SECONDS = 20, 0.1  # so many pauses, for so long, in which nothing changes: it polls
SLOW_SECONDS = 0.1
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
        self.longest = 0.0  # seconds, of what it asked for
        self.polls = False
        self._last = -1  # how often it had slept when it paused last
        self._since: Tuple[float, int] = (0.0, 0)  # when this row of pauses began, and how often it had slept then
        self._progress: Optional[Tuple[object, ...]] = None

    def begin(self) -> None:
        """A new wait begins: what was before does not count."""
        self._progress = None

    def note(self, call: Blocked) -> bool:
        """The program pauses now, in this call. Gives whether it polls."""
        fixture, now, sleeps = self.program.fixture, time.monotonic(), self.program.state().sleeps
        self.seen = True
        self.longest = max(self.longest, self._asked_for(call, sleeps))
        if 0 <= self._last < sleeps:
            self.woken += sleeps - self._last
        self._last = sleeps
        progress = fixture.progress()
        if progress != self._progress:
            self._progress, self._since = progress, (now, sleeps)
        known = self.program.built.path in self.found
        seconds, row = now - self._since[0], sleeps - self._since[1]
        most, polls, least = (AGAIN_SECONDS, AGAIN_POLLS, AGAIN_POLL_SECONDS) if known else (PAUSE_SECONDS, POLLS, POLL_SECONDS)
        self.polls = max(seconds, self.longest) >= most or (row >= polls and seconds >= least)
        if self.polls:
            self.found.add(self.program.built.path)
        return self.polls

    def _asked_for(self, call: Blocked, sleeps: int) -> float:
        """For how long the program has asked to sleep, in seconds; 0 where that cannot be told."""
        words = call.arguments
        if call.name == "poll":
            return (words[2] & 0xFFFFFFFF) / 1000
        at = {"nanosleep": 0, "clock_nanosleep": 2, "ppoll": 2, "select": 4, "pselect6": 4}.get(call.name)
        if at is None or call.name == "clock_nanosleep" and words[1]:  # a moment, not a duration
            return 0.0
        raw = self.program.peek(words[at], 16)
        # Only if it was in this very sleep all the time was the memory what the call was given.
        if raw is None or self.program.blocked() != call or self.program.state().sleeps != sleeps:
            return 0.0
        seconds, parts = struct.unpack("=qq", raw)
        return float(seconds + parts / (1e6 if call.name == "select" else 1e9))

    @property
    def text(self) -> str:
        """What was seen of it, for people."""
        asked = f", {self.longest:.3g} s at a time" if self.longest else ""
        if self.woken > 1:
            return f"{asked}; it woke up {self.woken:,} times by itself while this check looked"
        sleeps = self.program.state().sleeps
        if sleeps > POLLS:
            return f"{asked}; it has gone to sleep {sleeps:,} times so far"
        return asked + (": it polls, and no other process wakes it" if self.polls else "")

    def require_none(self) -> None:
        """For a lab in which a process that waits is woken by another: fails the check if it polls, and seldom looks.

        Each of its waits takes so long that no check comes to an end with it.
        """
        if self.polls and self.longest >= SLOW_SECONDS:
            raise CheckFailed(f"{self.program.name} waits until another process wakes it, and does not poll",
                              self.program.describe_state())

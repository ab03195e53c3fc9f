"""`make explore` and `make replay`: the same schedules as in the checks, with more time, or one of them at leisure."""
from __future__ import annotations

import inspect
import re
import sys
import time
from typing import Callable, Iterator, Optional, Sequence

from ..labs import UserError
from .ends import Progress, RawEnd
from .search import SearchContext, Search, split_schedule


def explores(check: Callable[..., object]) -> bool:
    """Whether a check runs schedules: it calls a function whose name begins with explore_."""
    return any(name.startswith("explore_") for name in inspect.unwrap(check).__code__.co_names)


def say(text: str = "", end: str = "\n") -> None:
    """Prints past pytest, which has not captured this stream if it was told so."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


class LongSearch(Search):
    """A search with a higher bound, until its time is over; it tells how far it has come."""

    seconds_wanted = 60.0
    more_preemptions = 1

    def __init__(self, fixture: SearchContext, name: str, commands: Sequence[Sequence[object]], preemptions: int, deaths: int,
                 weak: bool = False) -> None:
        super().__init__(fixture, name, commands, preemptions + self.more_preemptions, deaths, 1 << 40, self.seconds_wanted, weak=weak)
        self._began = time.monotonic()
        self.on_progress = self._show

    def _show(self, progress: Progress) -> None:
        rate = progress.schedules / max(0.001, time.monotonic() - self._began)
        if sys.stdout.isatty():
            say(f"\r  {progress.schedules} schedules, {rate:.0f}/s, now with {progress.preemptions} preemptions, "
                f"{progress.planned} planned   ", end="")

    def ends(self) -> Iterator[RawEnd]:
        say(f"{self.name}: " + " | ".join(re.sub(r"/shmlab-[0-9a-f]{8}", "/NAME", " ".join(words)) for words in self.commands))
        self._began = time.monotonic()
        yield from super().ends()
        rate = f", {self.figures.schedules / max(0.001, self.figures.seconds):.0f}/s" if self.figures else ""
        say(f"\r  {self.summary}{rate}      ")


class Replay(Search):
    """One schedule of one scenario; all others are passed over."""

    wanted = ""

    def __init__(self, fixture: SearchContext, name: str, commands: Sequence[Sequence[object]], preemptions: int, deaths: int,
                 weak: bool = False) -> None:
        scenario, choices = split_schedule(self.wanted)
        self.is_wanted = scenario == name
        super().__init__(fixture, name, commands, preemptions, deaths, replay=choices, weak=weak)

    def ends(self) -> Iterator[RawEnd]:
        if not self.is_wanted:
            return
        found = False
        for end in super().ends():
            found = True
            say()
            for line in self.listing(end).lines():
                say(line, end="" if sys.stdin.isatty() else "\n")
                if sys.stdin.isatty():
                    sys.stdin.readline()
            yield end
        if not found:
            say(f"  {self.summary}")


def chosen(explore: Optional[str], schedule: Optional[str]) -> Optional[type]:
    """What every_schedule() makes, if not the search of a check. Raises UserError for what is no number or schedule."""
    if schedule:
        try:
            split_schedule(schedule)
        except ValueError as error:
            raise UserError(str(error)) from None
        Replay.wanted = schedule
        return Replay
    if explore:
        try:
            LongSearch.seconds_wanted = float(explore)
        except ValueError:
            raise UserError(f"'{explore}' is not a number of seconds") from None
        return LongSearch
    return None

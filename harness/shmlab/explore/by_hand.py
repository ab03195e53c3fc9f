"""`make explore` and `make replay`: the same schedules as in the checks, with more time, or one of them at leisure."""
from __future__ import annotations

import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Sequence

from ..labs import UserError
from ..sandbox.box import Box
from ..sandbox.build import Built
from ..sandbox.channel import BoxRefused
from .ends import Progress, RawEnd
from .search import MOST_SECONDS, Search, SearchContext, split_schedule

DEBUG_SECONDS = 3600.0  # for whoever looks at a process with gdb


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
    debugged = ""  # the letter of the process that gdb shows

    def __init__(self, fixture: SearchContext, name: str, commands: Sequence[Sequence[object]], preemptions: int, deaths: int,
                 weak: bool = False) -> None:
        scenario, choices = split_schedule(self.wanted)
        self.is_wanted = scenario == name
        index = ord(self.debugged) - ord("A") if self.debugged and self.is_wanted else -1
        if index >= len(commands):
            last = chr(ord("A") + len(commands) - 1)
            say(f"error: GDB={self.debugged}: the processes that this schedule starts are A to {last}")
            index = -1
        seconds = DEBUG_SECONDS if index >= 0 else MOST_SECONDS
        super().__init__(fixture, name, commands, preemptions, deaths, seconds=seconds, replay=choices, weak=weak)
        if index >= 0:
            self.options += ["--debug", str(index)]
            sources = fixture.submission / fixture.lab.name
            self.on_start = lambda built: debug(fixture.box, next(one for one in built if one.program == commands[index][0]), sources)

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


def debug(box: Box, built: Built, sources: Path) -> None:
    """Runs gdb on the process that waits for it. It is in main() when the schedule first gives it the turn.

    Whenever another process has the turn, the next step takes until it is given back.
    """
    waiting: List[int] = []

    def found() -> bool:
        waiting.extend(process.pid for process in box.processes() if process.state == "T")
        return bool(waiting)

    if not box.pump(found, 10, tick=0.01):
        raise BoxRefused("no process waits for the debugger")
    first = ["set pagination off", "handle SIGSTOP nostop noprint nopass", "tbreak main", "continue"]
    command = ["gdb", "-q", "-iex", "set sysroot /", "-d", str(sources), *(word for one in first for word in ("-ex", one)),
               str(built.path), "-p", str(outer_pid(box, waiting[0]))]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for gdb
    try:
        subprocess.run(command)
    finally:
        signal.signal(signal.SIGINT, before)
        box.kill(waiting[0], signal.SIGCONT)  # if gdb was left before the end


def outer_pid(box: Box, pid: int) -> int:
    """The number that a process of the box has here."""
    namespace = os.readlink(f"{pid}/ns/pid", dir_fd=box.proc_fd)
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{entry}/ns/pid") == namespace and re.search(
                    rf"^NSpid:.*\t{pid}$", Path(f"/proc/{entry}/status").read_text(encoding="ascii", errors="replace"), re.M):
                return int(entry)
        except OSError:
            continue  # it is another user's, or has ended
    raise BoxRefused(f"process {pid} of the box is not visible from outside")


def chosen(explore: Optional[str], schedule: Optional[str], debugged: Optional[str]) -> Optional[type]:
    """What every_schedule() makes, if not the search of a check. Raises UserError for what is no number or schedule."""
    if debugged and not schedule:
        raise UserError("GDB=… needs a schedule: `make replay LAB=13 SCHEDULE=… GDB=A`")
    if debugged and not re.fullmatch("[A-H]", debugged):
        raise UserError(f"GDB={debugged} is not a process: name it by its letter in the verdict, such as GDB=A")
    if debugged and not shutil.which("gdb"):
        raise UserError("gdb is not installed: `sudo apt-get install gdb`")
    Replay.debugged = debugged or ""
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

"""Tells during a wait that what it waits for will not come: a program spins, or all look again and again at what does not change."""
from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Optional, Tuple

from ..sandbox.kernel import Blocked, Process, ProcessState, parse_blocked, parse_status
from .limits import WaitLimits

if TYPE_CHECKING:
    from .fixture import LabFixture
    from .program import Program

WAKE_UPS_FROM_SLEEP = 200  # the same for one that sleeps for a time, as a right program may between two steps
WAKE_UPS = 12  # of a process, in which nothing changes: at 100 ms each, more than the second in which a peer's end is noticed


class Hang:
    """What the looks during one wait have shown. None of it depends on how fast the machine is, or on what else it does."""

    def __init__(self, fixture: "LabFixture", *programs: "Program") -> None:
        self.fixture, self.busy = fixture, WaitLimits.busy(*programs)
        self._cpu: Dict[int, float] = {}  # by process, at the first look
        self._sleeps: Dict[int, int] = {}  # by process, when something changed last
        self._progress: Optional[Tuple[object, ...]] = None

    def seen(self, processes: List[Process]) -> str:
        """Gives the begin of a sentence if it is a hang, else nothing."""
        for process in processes:
            spent = process.cpu - self._cpu.setdefault(process.pid, process.cpu)
            if process.state == "R" and spent >= self.busy:
                return f"after {spent:.1f} s of processor time"
        return "when each had woken up many times and nothing had changed," if self._nothing_changes(processes) else ""

    def _nothing_changes(self, processes: List[Process]) -> bool:
        states = {process.pid: self._state(process.pid) for process in processes}
        # Whoever is stopped in between, and resumed, has gone on.
        progress = (*self.fixture.progress(), *(program.resumed for program in self.fixture.history))
        if progress != self._progress or set(states) != set(self._sleeps):
            self._progress, self._sleeps = progress, {pid: state.sleeps if state else 0 for pid, state in states.items()}
            return False
        woken = False
        for pid, state in states.items():
            if state is None or state.phase == "runs":
                return False
            if state.phase == "waits":
                times, call = state.sleeps - self._sleeps[pid], self._blocked(pid)
                enough = call is not None and times >= (WAKE_UPS_FROM_SLEEP if call.pauses else WAKE_UPS)
                if not enough and not (call and call.has_no_end):
                    return False
                woken = woken or enough
        return woken

    def _state(self, pid: int) -> Optional[ProcessState]:
        """None for a process that is gone, or that has more than one thread."""
        try:
            if len(self.fixture.box.list(f"/proc/{pid}/task")) > 1:
                return None
            return parse_status(self.fixture.box.read(f"/proc/{pid}/status"))
        except OSError:
            return None

    def _blocked(self, pid: int) -> Optional[Blocked]:
        """The system call in which a process waits."""
        try:
            return parse_blocked(self.fixture.box.read(f"/proc/{pid}/syscall"))
        except OSError:
            return None

"""Runs a scenario call by call: each process is stopped after each call, so that what the kernel shows belongs to that call."""
from __future__ import annotations

import os
import re
import signal
import time
from typing import Dict, List, Optional, Sequence, Set, Tuple

from ..judging.fixture import LabFixture
from ..judging.program import Program
from ..sandbox import kernel
from ..sandbox.calls import Call, with_places
from ..sandbox.source_lines import source_lines
from .naming import shared_fields, shown_call
from .recorded import order_of
from .rows import HIDDEN_CALLS, TIMED_OUT, Lane, Row, Trace, ending
from .scenario import Action, unescape
from .state import Camera, State, changes
from .waiting import waits_for

EVERY_CALL = ["stop * 0 a"]  # the recorder's rule, see native/spy/spy.c
MOST_SECONDS = 20.0  # of a scenario
SPIN_SECONDS = 0.5  # of processor time without a call, after which a process spins
SLOW_SECONDS = 5.0  # after which a process that neither stops nor sleeps is left alone
LOOKS_ASLEEP = 6  # in a row, after which a process sleeps
SAME_CALLS = 2  # how often a process may make the same call without any change before it only polls
IDLE_ROUNDS = 40  # how often processes that poll go on after the last action, until nothing more is expected
_WAKES = {"wait": "its end", "waitpid": "its end", "waitid": "its end", "accept": "connect", "recvmsg": "sendmsg"}
_WHAT = re.compile(r"\w+\((?:SYS_futex, )?&([\w.\[\]]+)")  # what a call waits for, as a row names it
_WAKING = re.compile(r"sem_post|pthread_(mutex_unlock|cond_signal|cond_broadcast|cond_wait)|syscall.*FUTEX_WAKE.* = [1-9]")
_MAY_SLEEP = re.compile(r"wait|(?<!un)(?<!try)(?<!f)lock$|read|recv|accept|sleep|syscall")
ENDED = "has ended"


class _Process:
    """One process of the scenario, while it runs."""

    def __init__(self, pid: int, lane: int, program: Program, killed_at: Tuple[str, int] = ("", 0)) -> None:
        self.pid, self.lane, self.program, self.killed_at = pid, lane, program, killed_at
        self.stopped = self.idle = self.asleep = self.spins = self.ended = False
        self.slept_after = 0  # the row that was the last one when it went to sleep
        self.seen: Dict[object, int] = {}  # its calls since something has changed


class Stepper:
    """Runs one scenario. `trace` has what happened, also after an exception."""

    def __init__(self, fixture: LabFixture, title: str) -> None:
        self.fixture = fixture
        self.trace = Trace(title, "stepped")
        self._processes: Dict[int, _Process] = {}
        self._state = self._before = State()
        self._calls_seen = 0
        self._pending: Dict[int, List[Call]] = {}  # calls by process that no row shows yet
        self._began = time.monotonic()
        self._places: List[Tuple[int, Call]] = []  # row, and the call that it shows
        self._last_rows: Dict[int, int] = {}  # by lane
        self._camera = Camera(fixture, shared_fields(fixture))
        self._programs: Dict[str, List[Program]] = {}  # by name, in the order of their start
        self._current: Optional[int] = None
        self._just_stopped: Set[int] = set()

    # ---- rows

    def _add(self, row: Row) -> int:
        state = self._camera.take([pid for pid, process in self._processes.items() if not process.ended])
        row.state, row.notes = state, changes(self._state, state)
        news = state.key() != self._state.key() or row.kind in ("user", "end")
        self._state = state
        row.seconds = time.monotonic() - self._began
        self.trace.rows.append(row)
        if news:
            for process in self._processes.values():
                process.seen.clear()
                process.idle = False
        return len(self.trace.rows) - 1

    def _shown(self, call: Call) -> str:
        def offset_of(address: int) -> Optional[int]:
            found = self._state.at(call.pid, address) or self._before.at(call.pid, address)
            return found[1] if found else None

        return shown_call(call, self._camera.leaves, offset_of)

    def _call_row(self, process: _Process, call: Call) -> None:
        if call.name in HIDDEN_CALLS:
            return
        key = (call.name, call.where, call.error, call.result if call.name not in ("mmap", "shmat") else 0)
        process.seen[key] = process.seen.get(key, 0) + 1
        self._before = self._state
        lane, thread = self.trace.place_thread(process.lane, call.pid, call.tid)
        waited = self._last_rows.get(lane) if self._has_slept(process, call) else None
        row = Row(lane, "call", "", failed=call.failed, waited_from=waited)
        row.timed_out = call.failed and call.error in TIMED_OUT
        number = self._add(row)
        row.text = " ".join(process.program.started.argv) if call.name == "start" else thread + self._shown(call)
        if waited is not None and not row.timed_out:
            self._find_waker(row, (waited if self._has_threads(call.pid) else process.slept_after) + 1)
        self._last_rows[lane], process.asleep = number, False
        self._places.append((number, call))
        if process.seen.get(key, 0) > SAME_CALLS and not row.notes:
            self._fold(number)
            process.idle = True

    def _has_threads(self, pid: int) -> bool:
        return any(call.pid == pid != call.tid for _, call in self._places)

    def _has_slept(self, process: _Process, call: Call) -> bool:
        """Whether a process slept in a call. Of several threads each may: then another one's call has ended in between."""
        if not self._has_threads(call.pid) and call.tid in (0, call.pid):
            return process.asleep
        last = self._places[-1][1] if self._places else call
        return bool(_MAY_SLEEP.search(call.name)) and last.tid != call.tid and last.time_ns > call.began_ns

    def _find_waker(self, row: Row, first: int) -> None:
        """Notes what woke the call of the last row, among the rows from `first` on: what names the same thing, or the last."""
        rows = self.trace.rows
        named = _WHAT.match(row.text)
        others = [i for i in range(first, len(rows) - 1) if rows[i].kind == "user" or
                  rows[i].lane != row.lane and rows[i].kind != "fold"]
        same = [i for i in others if named and _WAKING.match(rows[i].text) and f"&{named[1]}" in re.split(r"[(,) ]+", rows[i].text)]
        row.woken_by = next(reversed(same or others), None)
        if row.woken_by is not None:
            row.woken_for = named[1] if named else _WAKES.get(row.text.partition("(")[0], "")

    def _fold(self, number: int) -> None:
        """Puts the last row together with those of before that are like it."""
        row = self.trace.rows.pop()
        assert number == len(self.trace.rows)
        self._places = [(at, call) for at, call in self._places if at != number]
        last = self.trace.rows[-1]
        if last.kind == "fold":
            last.folded += 1
            last.seconds = row.seconds
            last.text = f"the same again, {last.folded} times"
        else:
            self.trace.rows.append(Row(row.lane, "fold", "the same again", state=row.state, seconds=row.seconds, folded=1))
        self._last_rows[row.lane] = len(self.trace.rows) - 1

    def _user(self, text: str, lane: int = -1) -> None:
        self._add(Row(lane, "user", text))

    # ---- processes

    def _lane(self, name: str, pid: int, root: Optional[int] = None) -> int:
        """The lane of a new process: that of one that has ended, if it is of the same program or parent and there are several."""
        lanes = self.trace.lanes
        for i, lane in enumerate(lanes):
            if lane.ended and (lane.name == name and len(lanes) > 1 if root is None else lane.root == root and i != root):
                lane.ended = False
                lane.pids.append(pid)
                return i
        lanes.append(Lane(name, [pid], len(lanes) if root is None else root))
        return len(lanes) - 1

    def _known(self, pid: int) -> _Process:
        """The process with a pid; a new one is a child of one that is known."""
        if pid not in self._processes:
            parents = {process.pid: process.parent for process in self.fixture.box.processes()}
            above = parents.get(pid, 0)
            while above and above not in self._processes:
                above = parents.get(above, 0)
            parent = self._processes.get(above) or list(self._processes.values())[-1]
            root = self.trace.lanes[parent.lane].root
            lane = self._lane(f"child of {self.trace.lanes[parent.lane].name}", pid, root)
            self._processes[pid] = _Process(pid, lane, parent.program)
        return self._processes[pid]

    def _has_ended(self, process: _Process) -> bool:
        own = process.program.started
        if process.pid == own.pid:
            return own.status is not None
        try:
            state = kernel.parse_status(self.fixture.box.read(f"/proc/{process.pid}/status"))
        except OSError:
            return True
        return state is None or state.phase == "ended"

    def _stopped_now(self) -> List[int]:
        return [int(event[1]) for event in self.fixture.box.events if event[0] == "stopped"]

    def _other_thread_runs(self, pid: int) -> bool:
        """Whether a thread of a process, but its first one, is ready to run."""
        try:
            others = [name for name in self.fixture.box.list(f"/proc/{pid}/task") if name != str(pid)]
            states = [kernel.parse_status(self.fixture.box.read(f"/proc/{pid}/task/{name}/status")) for name in others]
        except OSError:
            return True  # one of them has just ended: look again
        return any(state is not None and state.phase == "runs" for state in states)

    def _await_rest(self, process: _Process) -> None:
        """Waits until a process is stopped, has ended, sleeps or spins."""
        process.spins, looks, sleeps, used = False, 0, -1, process.program.cpu_seconds(process.pid)

        def at_rest() -> bool:
            nonlocal looks, sleeps
            if process.pid in self._stopped_now() or self._has_ended(process):
                return True
            state = process.program.state(process.pid)
            runs = state.phase == "runs" or self._other_thread_runs(process.pid)
            looks = looks + 1 if not runs and state.phase == "waits" and state.sleeps == sleeps else 0
            sleeps = state.sleeps
            if looks < LOOKS_ASLEEP:
                process.spins = runs and process.program.cpu_seconds(process.pid) > used + SPIN_SECONDS
                return process.spins
            call = process.program.blocked(process.pid)
            if call is None or call.pauses:
                looks = 0
                return False
            if not process.asleep:
                process.asleep, process.slept_after = True, len(self.trace.rows) - 1
            return True

        self.fixture.box.pump(at_rest, SLOW_SECONDS, tick=0.0005)

    def _collect(self, first: Optional[_Process] = None) -> None:
        """Makes rows of what has happened: calls of processes that have stopped, ends of others. `first` comes first."""
        pids = list(dict.fromkeys(self._stopped_now()))
        self.fixture.box.events[:] = [event for event in self.fixture.box.events if event[0] != "stopped"]
        self._just_stopped = set(pids)
        for call in self.fixture.read_calls():
            if call.sequence > self._calls_seen:
                self._calls_seen = call.sequence
                self._pending.setdefault(call.pid, []).append(call)
        if first and first.pid in pids:
            self._show_calls(first)
        for process in list(self._processes.values()):  # before the calls that waited for it
            if not process.ended and self._has_ended(process):
                self._show_calls(process)
                self._end(process)
        for pid in pids:
            self._show_calls(self._known(pid))

    def _show_calls(self, process: _Process) -> None:
        """Makes rows of the calls of a process that has stopped or ended."""
        process.stopped = process.pid in self._just_stopped
        for call in sorted(self._pending.pop(process.pid, []), key=order_of):  # of several threads one may have woken another
            self._call_row(process, call)
            if call.wait_status is not None:
                self._tell_status(call.result, call.wait_status)
            if call.name == "fork" and call.result > 0:  # its child is about to stop, too
                self.fixture.box.pump(lambda: call.result in self._stopped_now(), 1.0, tick=0.01)

    def _tell_status(self, pid: int, status: int) -> None:
        """Adds to the row of a child's end what its parent has learnt from wait(2)."""
        process = self._processes.get(pid)
        rows = [row for row in self.trace.rows if process and row.kind == "end" and row.lane == process.lane]
        if rows and rows[-1].text == ENDED:
            rows[-1].text, rows[-1].failed = ending(status)

    def _end(self, process: _Process) -> None:
        process.ended = self.trace.lanes[process.lane].ended = True
        process.stopped = False
        text, failed = ENDED, False
        started = process.program.started
        if process.pid == started.pid and started.status is not None:
            self.fixture.box.wait(started, 0)
            text, failed = ending(started.status)
            printed, said = bytes(started.output[1]), started.output[2].decode("utf-8", "replace").strip()
            text += f", printed {kernel.show(printed, 40)}" if printed else ""
            text += f": {said.splitlines()[0]}" if said else ""
        self._add(Row(process.lane, "end", text, failed=failed))

    # ---- the run

    @property
    def _over(self) -> bool:
        return time.monotonic() - self._began > MOST_SECONDS or len(self.trace.rows) > 400

    def _go_on(self, rounds: int = 0) -> None:
        """Lets one process after the other go on until all have ended, sleep, or only poll."""
        while not self._over:
            living = [process for process in self._processes.values() if not process.ended]
            ready = [process for process in living if process.stopped and not process.idle]
            if not ready and rounds:
                ready = [process for process in living if process.stopped]
                rounds -= 1
            if ready:
                process = next((one for one in ready if one.pid == self._current), ready[0])
                self._current = process.pid
                name, number = process.killed_at
                if name and sum(call.name == name and call.pid == process.pid for call in self.fixture.read_calls()) >= number:
                    self._user(f"kill -9, at its {name}() number {number}", process.lane)
                    self.fixture.box.kill(process.pid, signal.SIGKILL)
                    process.killed_at = "", 0
                process.stopped = False
                self.fixture.box.kill(process.pid, signal.SIGCONT)
                self._await_rest(process)
                for other in living:  # whom it has woken
                    if other is not process and not other.stopped and not other.ended and not other.spins:
                        self._await_rest(other)
                self._collect(process)
            else:
                # Who sleeps until a time is over goes on by itself.
                timed = [process for process in living if process.asleep and not self._sleeps_for_ever(process)]
                if not timed or not rounds or not self._await_any(living):
                    return
                for process in timed:
                    self._await_rest(process)
                self._collect()

    def _await_any(self, living: Sequence[_Process]) -> bool:
        """Waits until one of the processes has stopped or ended. Returns False if none does within 3 s."""
        return self.fixture.box.pump(lambda: bool(self._stopped_now()) or any(map(self._has_ended, living)), 3.0, tick=0.002)

    def _sleeps_for_ever(self, process: _Process) -> bool:
        call = process.program.blocked(process.pid)
        return call is not None and (call.has_no_end or call.name in ("accept", "recvmsg", "connect"))

    def perform(self, actions: Sequence[Action]) -> Trace:
        """Performs the actions. Afterwards nothing of the scenario runs any more."""
        fixture = self.fixture
        try:
            for action in actions:
                if self._over:
                    break
                self._act(action)
                self._go_on()
            self._go_on(IDLE_ROUNDS)
            self._finish()
        finally:
            fixture.stop()
        return self.trace

    def _act(self, action: Action) -> None:
        fixture, words = self.fixture, list(action.words)
        text = " ".join([action.name, *words])
        if action.name == "start":
            self._start(action)
        elif action.name in ("touch", "write"):
            fixture.file(words[0], unescape(words[1]) if len(words) > 1 else b"")
            os.chmod(words[0], 0o666, dir_fd=fixture.box.work_fd)  # the programs may have another user
            self._user(text)
        elif action.name == "segment":
            content = unescape(words[3])
            fixture.make_segment(fixture.ftok(words[0], int(words[1], 0)), content, int(words[2]), 0o640)
            self._user("another process creates a segment and ends")
        elif action.name == "object":
            content = unescape(words[2])
            fixture.make_object(words[0], content.ljust(int(words[1]), b"\0"))
            self._user("another process creates an object and ends")
        elif action.name == "rm":
            if words[0].startswith("/"):
                fixture.unlink_object(words[0])
            else:
                os.unlink(words[0], dir_fd=fixture.box.work_fd)
            self._user(text)
        else:
            started = self._programs[words[0]]
            program = next((program for program in reversed(started) if program.started.status is None), started[-1])
            process = self._processes[program.pid]
            shown = {"type": f"input arrives: {kernel.show(unescape(words[-1]))}", "close": "its input ends", "kill": "kill -9",
                     "interrupt": "Ctrl-C"}
            self._user(shown[action.name], process.lane)
            if action.name == "type":
                fixture.box.feed(program.started, unescape(words[1]), 2.0)
            elif action.name == "close":
                program.close_input()
            else:
                fixture.box.kill(program.pid, signal.SIGINT if action.name == "interrupt" else signal.SIGKILL)
            if not process.stopped:
                self._await_rest(process)
            self._collect(process)

    def _start(self, action: Action) -> None:
        name, words = action.words[0], list(action.words[1:])
        built = self.fixture._built(name, reference=False)
        program = self.fixture._start(built, words, name, b"" if action.stays_open or action.text else None, 0o022, EVERY_CALL, True)
        self._programs.setdefault(name, []).append(program)
        lane = self._lane(name, program.pid)
        process = self._processes[program.pid] = _Process(program.pid, lane, program, action.killed_at)
        if action.text:
            self.fixture.box.feed(program.started, action.text, 2.0)
        if not action.stays_open:
            program.close_input()
        self._await_rest(process)
        self._collect(process)

    def _finish(self) -> None:
        """Says who still runs, for whom or what it waits, and what is left behind."""
        for process in self._processes.values():
            if not process.ended:
                doing = "spins: it runs and makes no call" if process.spins else (
                    f"still waits {self._waits_for(process)}" if process.asleep else "still polls")
                self._add(Row(process.lane, "note", doing, failed=True,
                              waited_from=self._last_rows.get(process.lane) if process.asleep else None))
        left = [item.title for item in self._state.items.values() if item.named]
        self._add(Row(-1, "note", "left behind: " + ", ".join(left) if left else "nothing is left behind"))
        self._find_places()

    def _waits_for(self, process: _Process) -> str:
        def name_of(pid: int) -> str:
            other = self._processes.get(pid)
            if other is None:
                return f"process {pid}"
            name = f"{self.trace.lanes[other.lane].name} (process {pid})"
            return "itself" if other is process else f"{name}, which has ended," if other.ended else name

        parents = {each.pid: each.parent for each in self.fixture.box.processes() if each.pid in self._processes}
        blocked = process.program.blocked(process.pid)
        return waits_for(blocked, process.pid, self._state, self._camera.leaves, parents, name_of)

    def _find_places(self) -> None:
        by_program: Dict[str, List[Tuple[int, Call]]] = {}
        for number, call in self._places:
            program = self._known(call.pid).program
            by_program.setdefault(program.built.program, []).append((number, call))
        for rows in by_program.values():
            built = self._known(rows[0][1].pid).program.built
            found = source_lines(built, self.fixture.tier, sorted({call.where for _, call in rows if call.name != "start"}))
            for (number, _), call in zip(rows, with_places([call for _, call in rows], found)):
                self.trace.rows[number].place = call.place

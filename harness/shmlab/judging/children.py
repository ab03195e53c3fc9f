"""For checks of programs with children: what the recorded calls tell of a failure's cause, and when a parent waits."""
from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING, Callable, List, Optional, Tuple

from ..sandbox.calls import Call
from .limits import STOP_SECONDS, WALL_SECONDS
from .require import CheckFailed, require

if TYPE_CHECKING:
    from .fixture import LabFixture
    from .program import Program
    from .run import Run

FORKS = ("fork", "vfork")
WAITS = ("wait", "waitpid", "waitid")
WNOHANG = 1

MOST_SHOWN = 6  # calls up to the one that names the cause

Cause = Tuple[str, List[str], List[Call]]


def tells_cause(check: Callable[["LabFixture"], None]) -> Callable[["LabFixture"], None]:
    """A check whose failure is told as its cause, where the recorded calls name one. Every check then says the same."""

    @functools.wraps(check)
    def judged(lab: "LabFixture") -> None:
        try:
            check(lab)
        except CheckFailed as failure:
            program = lab.subject
            cause = program and not lab.stopped_at_todo and cause_of(program)
            if not program or not cause:
                raise
            expected, saw, shown = cause
            program.calls = shown
            raise CheckFailed(expected, saw) from failure

    return judged


def cause_of(program: "Program") -> Optional[Cause]:
    """What was expected and what was seen, if the calls of a program that fails name the cause."""
    calls = program.calls or program.recorded()
    own = [call for call in calls if call.pid == program.pid]
    if not own or any(call.injected and call.failed for call in calls):
        return None
    vforks = [call for call in calls if call.name == "vfork"]
    if vforks:
        return ("the child is made by fork(), which copies the memory of its parent",
                ["vfork() was called: its child copies nothing, it runs in the parent's own memory,",
                 "and the parent is suspended until the child has ended or has executed another program",
                 "call fork() instead"], _up_to(vforks[0], calls))
    # A child made by a call that is not recorded (clone, say) tells nothing of its parent.
    children = {call.result for call in own if call.name == "fork" and call.result > 0}
    parents = [call for call in calls if call.pid in children and call.name in (*FORKS, *WAITS)
               and not (call.name in FORKS and call.result == 0)]
    if parents:
        return ("a child ends, with _exit(), when its own work is done",
                ["a child called fork() or waitpid() itself: it did not end, and continued in its parent's code"],
                _up_to(parents[0], [call for call in calls if call.pid in (program.pid, parents[0].pid)]))
    status = program.started.status
    if nothing_is_lost(program) and not any(call.name == "fork" for call in calls) and (
            program.spins if status is None else os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0):
        return "the program calls fork() once for each child", ["fork() was never called"], calls
    return None


def nothing_is_lost(program: "Program") -> bool:
    """Whether all calls are still recorded: only then what is missing among them was not called."""
    return [call.sequence for call in program.fixture.read_calls()[:1]] == [1]


def _up_to(call: Call, calls: List[Call]) -> List[Call]:
    """The last calls before this one, and itself."""
    return [other for other in calls if other.sequence <= call.sequence][-MOST_SHOWN:]


def wait_for_children(program: "Program", count: int) -> List[int]:
    """Waits until so many children are stopped where the rules say. Tells of a parent that waits before it has forked all."""
    try:
        return program.wait_stopped(count)
    except CheckFailed as failure:
        early = waits_before_fork(program, count)
        if not early:
            raise
        raise CheckFailed("all children are forked before any is waited for", [early]) from failure


def waits_before_fork(program: "Program", count: int) -> str:
    """Which child is waited for before which is forked; empty if none is."""
    calls = [call for call in program.calls or program.recorded() if call.pid == program.pid]
    if any(call.injected for call in calls) or not nothing_is_lost(program):
        return ""
    forked: List[int] = []
    waited = 0  # which child has been waited for first, and when
    for call in calls:
        if call.name == "fork" and call.result > 0:
            if waited:
                return f"child {waited} is waited for before child {len(forked) + 1} is forked"
            forked.append(call.result)
        elif call.name in WAITS and not call.failed and not waited and not _found_none(call):
            waited = _which(call, forked)
    blocked = program.blocked() if program.started.status is None else None
    if blocked and blocked.waits_for_child and 0 < len(forked) < count:
        # wait4(2) has the pid first, waitid(2) a kind and then the pid.
        first = next((forked.index(pid) + 1 for pid in blocked.arguments[:2] if pid in forked), 0)
        return f"child {first or len(forked)} is waited for before child {len(forked) + 1} is forked"
    return ""


def _found_none(call: Call) -> bool:
    """Whether a wait may have told of no child, as none had ended."""
    return bool(call.arguments[3] & WNOHANG) if call.name == "waitid" else call.result == 0


def _which(call: Call, forked: List[int]) -> int:
    """The number of the child that a wait has told of, from 1."""
    pid = call.arguments[1] if call.name == "waitid" else call.result
    return forked.index(pid) + 1 if pid in forked else len(forked)


def require_parent_waits(program: "Program", children: str = "its child is") -> List[str]:
    """Waits until a program whose children are stopped has nothing to do but to wait for them. Tells of a sleep before.

    That is so when it is in a system call that time alone does not end, such as waitpid(), or when it has asked for them
    without waiting. One that sleeps for a time in their place goes on by itself.
    """
    before = max((call.sequence for call in program.recorded()), default=0)
    seen: List[Tuple[int, int]] = []
    slept: List[str] = []

    def waits() -> bool:
        if program.started.status is not None:
            return True
        call, state = program.blocked(), program.state()
        if call and call.waits_for_child:
            return True
        asked = [call for call in program.recorded() if call.sequence > before and call.pid == program.pid and call.name in WAITS]
        if len(asked) > 1:
            return True
        if call and call.pauses:
            slept[:] = ["/proc/PID/syscall shows that the parent slept for a time before it waited for a child"]
        if not call or call.number < 0 or call.pauses or state.phase != "waits":
            seen.clear()
            return False
        seen.append((call.number, state.sleeps))
        return seen.count(seen[-1]) >= 20

    came = program.fixture.poll(waits, max(STOP_SECONDS, WALL_SECONDS))
    require(program.started.status is None, f"{program.name} does not end while {children} stopped",
            program.wait().ending if program.started.status is not None else [])
    require(came, f"{program.name} waits for its children, in waitpid() for example, while {children} stopped",
            program.describe_state())
    return slept


def come_to_their_ends(*started: Tuple["Program", int]) -> List["Run"]:
    """Runs programs to their ends, each given with the number of its children, which its rules stop at their ends.

    None of them ends before all have done their work, unless a parent waits for one before it forks the next. So a parent
    that looks too early finds all that there will be: whether it waits for them is another check's matter. With held_sleep
    that holds for one that sleeps first, too.
    """
    fixture = started[0][0].fixture
    box = fixture.box

    programs, held, looked = [program for program, _ in started], 0, 0.0

    def take_stopped() -> int:
        found = len(box.events)
        box.events[:] = [event for event in box.events if event[0] != "stopped"]
        return found - len(box.events)

    def have_worked() -> bool:
        nonlocal held
        held += take_stopped()
        return held >= sum(count for program, count in started if program.started.status is None)

    def have_ended() -> bool:
        nonlocal looked
        if take_stopped() or time.monotonic() > looked + 0.02:  # there may be some that came late, or that sleep
            stopped = [process.pid for process in box.processes() if process.state == "T"]
            if stopped:
                programs[0].resume(*stopped)
            looked = time.monotonic()
        return all(program.started.status is not None for program in programs)

    fixture.pump(have_worked, STOP_SECONDS, 0.05, programs)  # at most until all sleep
    end, before = time.monotonic() + WALL_SECONDS, -1
    while not fixture.pump(have_ended, end - time.monotonic(), 0.02, programs) and box.stuck \
            and programs[0].resumed > before:
        before = programs[0].resumed  # all were stopped for a moment
    return [program.wait() for program, _ in started]


AFTER_A_WAIT = [(name, 1) for name in WAITS]  # where said_by_children() has a program stopped


def said_by_children(program: "Program") -> bytes:
    """What is on stderr when all children have ended, and the parent has only just come back from its first wait for one.

    A parent that waits by a call which is not recorded is not stopped: then it may be the parent's words, too.
    """
    try:
        program.wait_stopped()
    except CheckFailed:
        if program.started.status is None:
            raise
    box = program.fixture.box
    program.fixture.poll(lambda: all(process.pid == program.pid or process.state == "Z" for process in box.processes()), STOP_SECONDS)
    program.printed()  # takes in what there is
    return bytes(program.started.output[2])

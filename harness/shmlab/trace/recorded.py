"""Makes a trace of what has run already: of a check, as the recorder has it, or of a schedule of the explorer."""
from __future__ import annotations

from functools import partial
from typing import Dict, List, Optional, Tuple

from ..explore.ends import RawEnd
from ..explore.listing import Listing, short
from ..judging.fixture import LabFixture
from ..judging.program import Program
from ..sandbox.calls import Call
from ..sandbox.source_lines import source_lines
from .naming import shared_fields, shown_call
from .rows import HIDDEN_CALLS, TIMED_OUT, Lane, Row, Trace, ending

MOST_ROWS = 400  # that are made; a picture shows fewer

#: Calls that may wake another process: what they do is done before they return. Of all others the return is what counts.
_WAKING = ("sem_post", "pthread_mutex_unlock", "pthread_cond_signal", "pthread_cond_broadcast", "kill", "close", "sendmsg", "flock",
           "fcntl", "syscall", "write")
MAP_PRIVATE = 2


def order_of(call: Call) -> int:
    """When a call had its effect, in nanoseconds, as far as the record tells: a wake-up stands before what it woke."""
    return call.began_ns if call.name in _WAKING else call.time_ns


def _ending(program: Program) -> Row:
    status = program.started.status
    if status is None:
        return Row(0, "note", "still ran when the check ended", failed=True)
    text, failed = ending(status)
    said = bytes(program.started.output[2]).decode("utf-8", "replace").strip().splitlines()
    return Row(0, "end", text + (f": {said[0]}" if said else ""), failed=failed)


def trace_of_check(fixture: LabFixture, calls: List[Call], title: str, verdict: List[str]) -> Trace:
    """Returns the trace of the programs that a check has started since it last emptied its box.

    @param calls    all that the recorder has, see Environment.read_calls()
    @param verdict  what the check says, in lines
    """
    trace = Trace(title, "free")
    programs = {program.pid: program for program in fixture.history if program.since == fixture.since}
    lane_of: Dict[int, int] = {}
    parents: Dict[int, int] = {call.result: call.pid for call in calls if call.name in ("fork", "vfork") and call.result > 0}

    def lane(pid: int) -> Optional[int]:
        if pid not in lane_of:
            parent = parents.get(pid)
            if pid not in programs and (parent is None or lane(parent) is None):
                return None
            root = len(trace.lanes) if pid in programs else lane_of[parent or 0]
            name = programs[pid].name if pid in programs else f"child of {trace.lanes[root].name}"
            lane_of[pid] = len(trace.lanes)
            trace.lanes.append(Lane(name, [pid], root))
        return lane_of[pid]

    ranges: Dict[int, List[Tuple[int, int]]] = {}  # start and size of the shared memory that each process has mapped
    leaves = shared_fields(fixture)

    def offset_of(pid: int, address: int) -> Optional[int]:
        while pid not in ranges and pid in parents:
            pid = parents[pid]
        return next((address - start for start, size in reversed(ranges.get(pid, [])) if start <= address < start + size), None)

    shown = sorted((call for call in calls if call.name not in HIDDEN_CALLS), key=order_of)[-MOST_ROWS:]
    places: Dict[int, str] = {}
    for program in programs.values():
        # Its own calls and its children's only: another program has something else at the same offset.
        mine = [call for call in shown if call.name != "start" and program.pid in (call.pid, parents.get(call.pid))]
        found = source_lines(program.built, fixture.tier, sorted({call.where for call in mine}))
        places.update({call.sequence: found.get(call.where, "") for call in mine})
    began = shown[0].began_ns if shown else 0
    lost = fixture.lost_calls()
    if lost:
        trace.rows.append(Row(-1, "note", f"{lost} older calls were not kept: SHMLAB_RECORDS={2 * (lost + len(calls))} keeps more"))
    for call in shown:
        number = lane(call.pid)
        if number is None:
            continue
        if not call.failed and (call.name == "shmat" or call.name == "mmap" and call.arguments[2] & 3 != MAP_PRIVATE):
            size = call.arguments[0] if call.name == "mmap" else 1 << 20  # a segment's size is not in the record
            ranges.setdefault(call.pid, []).append((call.result, size))
        text = " ".join(programs[call.pid].started.argv) if call.name == "start" and call.pid in programs else \
            shown_call(call, leaves, partial(offset_of, call.pid))
        number, thread = trace.place_thread(number, call.pid, call.tid)
        row = Row(number, "call", thread + short(text), places.get(call.sequence, ""), call.failed,
                  call.failed and call.error in TIMED_OUT, seconds=(order_of(call) - began) / 1e9)
        trace.rows.append(row)
    for pid, program in programs.items():
        number = lane(pid)
        if number is None:
            continue
        end = _ending(program)
        end.lane = number
        last = max((i for i, row in enumerate(trace.rows) if row.lane == number), default=len(trace.rows) - 1)
        trace.rows.insert(last + 1, end)
    trace.rows += [Row(-1, "note", short(line), failed=True) for line in verdict]
    return trace


def trace_of_schedule(end: RawEnd, listing: Listing, commands: List[str], title: str, verdict: List[str]) -> Trace:
    """Returns the trace of one schedule.

    @param commands  the command of each process, as the check has it
    @param verdict   what the check says of its end, in lines
    """
    trace = Trace(title, "schedule")
    for i, command in enumerate(commands):
        trace.lanes.append(Lane(f"{chr(ord('A') + i)}: {short(command)}", [], i))
    for process in end.processes[len(commands):]:
        trace.lanes.append(Lane(f"{process.letter}: child of {chr(ord('A') + process.root)}", [], process.root))
    asleep: Dict[int, int] = {}
    for step in end.steps:
        text, place = listing.cell(step)
        row = Row(step.process, "end" if step.kind == "end" else "call", text, place, failed=bool(step.error) or (
            step.kind == "end" and step.result != 0), timed_out=step.error in TIMED_OUT)
        if step.waits:
            asleep[step.process] = len(trace.rows)
        elif step.process in asleep:
            row.waited_from = asleep.pop(step.process)
        trace.rows.append(row)
    for line in listing.standstill():
        trace.rows.append(Row(-1, "note", line, failed=True))
    trace.rows += [Row(-1, "note", short(line), failed=True) for line in verdict]
    return trace

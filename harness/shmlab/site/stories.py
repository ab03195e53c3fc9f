"""The stories of the stepper: small models of processes that share memory, and all schedules of each.

docs/play/stories.json has the models. docs/theme/stepper.js runs the same models in the page; a test compares the two.

A story has memory, processes and ends. A line of a process is one step: it may run if its `when` holds. An expression is
a number, a name (of a register, of memory, or `me`, `stuck`, `died`, `drained`), or an operator with two expressions.
An action of a schedule is one letter: A is the next step of process A; a is the oldest store leaving A's store buffer;
the letters from X on kill a process.
"""
from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Callable, Iterator, List, Mapping, Optional, Tuple

from ..labs import ROOT

STORIES = ROOT / "docs" / "play" / "stories.json"
FOUND = STORIES.with_name("found.json")

Ops = List[List[Any]]


@dataclass(frozen=True)
class Line:
    """One step of a process."""

    code: str
    when: Any
    do: Ops
    found: str = ""  # what the explorer calls this step, as a regular expression

    @property
    def words(self) -> str:
        """The code on one line."""
        return " ".join(self.code.split())


@dataclass(frozen=True)
class Process:
    """One process where it is now."""

    name: str
    lines: Tuple[Line, ...]
    registers: Mapping[str, int]
    next: int = 0
    end: str = ""  # how it ended; empty while it lives
    asleep: str = ""  # the name of what it sleeps at
    buffer: Tuple[Tuple[str, int], ...] = ()  # stores that no other process sees yet, oldest first


@dataclass(frozen=True)
class State:
    """All processes, the memory, and who sleeps at what, in the order in which they went to sleep."""

    memory: Mapping[str, int]
    processes: Tuple[Process, ...]
    sleepers: Tuple[Tuple[str, int], ...] = ()
    kills: int = 0


OPERATORS: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "==": lambda a, b: int(a == b), "!=": lambda a, b: int(a != b),
    "<": lambda a, b: int(a < b), "and": lambda a, b: int(bool(a) and bool(b))}


@dataclass(frozen=True)
class Variant:
    """One way to write the processes of a story."""

    ident: str
    title: str
    mistake: str  # LAB/NAME in harness/mistakes/ of the same bug; empty if it is right
    start: State
    weak: bool
    robust: Tuple[str, ...]
    ends: Tuple[Tuple[Any, str, str], ...]

    def value(self, state: State, expression: Any, index: Optional[int] = None) -> int:
        """Returns the value of an expression; in a process, also of its registers."""
        if isinstance(expression, int):
            return expression
        if isinstance(expression, list):
            operator, left, right = expression
            return OPERATORS[operator](self.value(state, left, index), self.value(state, right, index))
        if expression == "stuck":
            return int(any(not process.end for process in state.processes))
        if expression == "died":
            return int(any(process.end.startswith("SIG") and process.end != "SIGKILL" for process in state.processes))
        if index is not None:
            process = state.processes[index]
            if expression == "me":
                return index + 1
            if expression == "drained":
                return int(not process.buffer)
            if expression in process.registers:
                return process.registers[expression]
        return state.memory[expression]

    def actions(self, state: State) -> str:
        """Returns the actions that are possible now."""
        possible = ""
        for index, process in enumerate(state.processes):
            if not process.end and not process.asleep and self.value(state, process.lines[process.next].when, index):
                possible += process.name
            if process.buffer:
                possible += process.name.lower()
        for index, process in enumerate(state.processes):
            if possible and not process.end and state.kills:
                possible += "XYZ"[index]
        return possible

    def act(self, state: State, action: str) -> State:
        """Returns the state after an action."""
        if action in "XYZ":
            return self._kill(state, "XYZ".index(action))
        index = next(i for i, process in enumerate(state.processes) if process.name == action.upper())
        process = state.processes[index]
        if action.islower():
            (name, value), *left = process.buffer
            state = replace(state, memory={**state.memory, name: value})
            return self._with(state, index, buffer=tuple(left))
        line = process.lines[process.next]
        state = self._with(state, index, next=process.next + 1)
        for op in line.do:
            state = self._do(state, index, op)
        process = state.processes[index]
        return self._with(state, index, end="ended") if process.next >= len(process.lines) and not process.end else state

    def _kill(self, state: State, index: int) -> State:
        memory = {name: -value if name in self.robust and value == index + 1 else value for name, value in state.memory.items()}
        sleepers = tuple(pair for pair in state.sleepers if pair[1] != index)
        state = replace(state, memory=memory, sleepers=sleepers, kills=state.kills - 1)
        return self._with(state, index, end="SIGKILL", asleep="")

    def _with(self, state: State, index: int, **changes: Any) -> State:
        processes = list(state.processes)
        processes[index] = replace(processes[index], **changes)
        return replace(state, processes=tuple(processes))

    def _do(self, state: State, index: int, op: List[Any]) -> State:
        word, rest = op[0], op[1:]
        process = state.processes[index]
        if word == "load":
            stored = [value for name, value in process.buffer if name == rest[1]]
            value = stored[-1] if stored else state.memory[rest[1]]
            return self._with(state, index, registers={**process.registers, rest[0]: value})
        if word == "set":
            return self._with(state, index, registers={**process.registers, rest[0]: self.value(state, rest[1], index)})
        if word == "store":
            value = self.value(state, rest[1], index)
            if self.weak:
                return self._with(state, index, buffer=(*process.buffer, (rest[0], value)))
            return replace(state, memory={**state.memory, rest[0]: value})
        if word == "if":
            for inner in rest[1] if self.value(state, rest[0], index) else rest[2]:
                state = self._do(state, index, inner)
            return state
        if word == "jump":
            return self._with(state, index, next=rest[0])
        if word == "again":
            return self._with(state, index, next=process.next - 1)
        if word == "sleep":
            return self._with(replace(state, sleepers=(*state.sleepers, (rest[0], index))), index, asleep=rest[0])
        if word == "wake":
            woken = next((pair for pair in state.sleepers if pair[0] == rest[0]), None)
            if woken is None:
                return state
            state = replace(state, sleepers=tuple(pair for pair in state.sleepers if pair != woken))
            return self._with(state, woken[1], asleep="")
        if word in ("die", "end"):
            return self._with(state, index, end=rest[0] if rest else "ended")
        raise ValueError(f"stories.json: unknown operation {word}")

    def end(self, state: State) -> Tuple[bool, str]:
        """Returns whether an end is wrong, and what to say about it."""
        for condition, kind, text in self.ends:
            if self.value(state, condition):
                return kind == "bad", text.format(**state.memory)
        raise ValueError("stories.json: an end without a text")

    def play(self, schedule: str) -> State:
        """Returns the state after a schedule. Fails if an action is not possible."""
        state = self.start
        for at, action in enumerate(schedule):
            if action not in self.actions(state):
                raise ValueError(f"{self.ident}: action {at}, {action}, is not possible")
            state = self.act(state, action)
        return state

    def schedules(self, state: Optional[State] = None, before: str = "") -> Iterator[Tuple[str, State]]:
        """Yields every schedule with its end, one after the other."""
        state = self.start if state is None else state
        possible = self.actions(state)
        for action in possible:
            yield from self.schedules(self.act(state, action), before + action)
        if not possible:
            yield before, state


@dataclass(frozen=True)
class Story:
    """A story with its variants, the wrong one first."""

    ident: str
    lab: str
    title: str
    goal: str
    about: str
    show: Tuple[str, ...]
    words: Mapping[str, Mapping[str, str]]  # for values of memory that stand for something, such as the owner of a mutex
    variants: Tuple[Variant, ...]

    def shown(self, name: str, state: State) -> str:
        """Returns a value in memory as the page shows it."""
        value = str(state.memory[name])
        return self.words.get(name, {}).get(value, value)


def _lines(variants: Mapping[str, Any], variant: Mapping[str, Any],
           wanted: Mapping[str, Any]) -> Tuple[Tuple[Line, ...], Mapping[str, int]]:
    """Returns the lines and registers of a process; `as` takes the lines of another one, `like` those of another variant."""
    source = wanted
    while "lines" not in source:
        if "like" in source:
            variant = variants[source["like"]]
            source = next(one for one in variant["processes"] if one["name"] == source["name"])
        else:
            source = next(one for one in variant["processes"] if one["name"] == source["as"])
    lines = tuple(Line(line["code"], line.get("when", 1), line["do"], line.get("found", "")) for line in source["lines"])
    return lines, {**source.get("set", {}), **wanted.get("set", {})}


def stories() -> List[Story]:
    """Reads the stories."""
    found = []
    for raw in json.loads(STORIES.read_text(encoding="utf-8")):
        by_ident = {variant["id"]: variant for variant in raw["variants"]}
        variants = []
        for variant in raw["variants"]:
            processes = tuple(Process(one["name"], *_lines(by_ident, variant, one)) for one in variant["processes"])
            variants.append(Variant(variant["id"], variant["title"], variant.get("mistake", ""),
                                    State(raw["memory"], processes, kills=raw.get("kills", 0)), raw.get("weak", False),
                                    tuple(variant.get("robust", raw.get("robust", ()))),
                                    tuple((condition, kind, text) for condition, kind, text in raw["ends"])))
        found.append(Story(raw["id"], raw["lab"], raw["title"], raw["goal"], raw["about"], tuple(raw["show"]), raw.get("words", {}),
                           tuple(variants)))
    return found

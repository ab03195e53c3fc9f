"""Reads the scenario of a lab: what a user types for it, one action on a line; harness/scenarios/ has one file for each lab.

    touch FILE                            creates an empty file
    write FILE TEXT                       creates a file with a content
    segment FILE PROJECT SIZE TEXT        another process makes a System V segment
    object /NAME SIZE TEXT                another process makes an object
    start [--open] [--input TEXT] [--killed-at CALL:N] PROGRAM [ARGUMENT...]
    type PROGRAM TEXT                     writes to the input of a program that was started with --open
    close PROGRAM                         ends that input
    kill PROGRAM                          SIGKILL
    interrupt PROGRAM                     SIGINT, which Ctrl-C sends
    rm FILE|/NAME                         removes a file or an object

Of several processes of one program, the last one that has not ended is meant. Words are quoted as in the shell; TEXT knows the
escapes of printf(1). After each action, the programs run until all of them have ended or wait.
"""
from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

from ..labs import ROOT, Lab, UserError

SCENARIOS = ROOT / "harness" / "scenarios"

#: How many words follow each action, at least and at most.
_WORDS: Dict[str, Tuple[int, int]] = {
    "touch": (1, 1), "write": (2, 2), "segment": (4, 4), "object": (3, 3), "start": (1, 40), "type": (2, 2), "close": (1, 1),
    "kill": (1, 1), "interrupt": (1, 1), "rm": (1, 1)}


@dataclass(frozen=True)
class Action:
    """One line of a scenario. Of `start` only: `stays_open`, `text` for its input, and the call at which it is killed."""

    name: str
    words: Tuple[str, ...]
    stays_open: bool = False
    text: bytes = b""
    killed_at: Tuple[str, int] = ("", 0)


def unescape(text: str) -> bytes:
    """Returns the bytes that a text stands for, with escapes such as \\n."""
    return text.encode("utf-8").decode("unicode_escape").encode("latin-1")


def _parse(words: List[str], lab: Lab) -> Action:
    name, rest = words[0], words[1:]
    if name not in _WORDS:
        raise ValueError(f"'{name}' is not an action: use one of {', '.join(_WORDS)}")
    stays_open, text, killed_at = False, b"", ("", 0)
    while name == "start" and rest and rest[0].startswith("--"):
        option = rest.pop(0)
        if option == "--open":
            stays_open = True
        elif option == "--input" and rest:
            text = unescape(rest.pop(0))
        elif option == "--killed-at" and rest and rest[0].partition(":")[2].isdigit():
            call, _, number = rest.pop(0).partition(":")
            killed_at = call, int(number)
        else:
            raise ValueError(f"'{option}' is not an option of start, or lacks its value")
    least, most = _WORDS[name]
    if not least <= len(rest) <= most:
        raise ValueError(f"'{name}' needs {least} words" + (f" to {most}" if most > least else ""))
    if name in ("start", "type", "close", "kill", "interrupt") and rest[0] not in lab.programs:
        raise ValueError(f"'{rest[0]}' is not a program of lab {lab.number}: {', '.join(lab.programs)}")
    return Action(name, tuple(rest), stays_open, text, killed_at)


def read_scenario(lab: Lab, path: Path) -> List[Action]:
    """Returns the actions of a scenario file. Raises UserError, with file and line, for a line that is not an action."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; the scenario of a lab is in {SCENARIOS.relative_to(ROOT)}/") from None
    actions = []
    for number, line in enumerate(lines, 1):
        try:
            words = shlex.split(line, comments=True)
            if words:
                actions.append(_parse(words, lab))
        except ValueError as error:
            raise UserError(f"{path}:{number}: {error}") from None
    return actions


def scenario_of(lab: Lab) -> Path:
    """The file with the scenario of a lab."""
    return SCENARIOS / f"{lab.name}.txt"

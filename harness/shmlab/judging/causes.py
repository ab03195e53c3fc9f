"""Orders the failures of a lab by how near they are to their cause, and finds those that have the same one.

Two failures have the same cause if the same was expected and seen, apart from what differs from one run to the next; or
if both stopped at the same TODO, at the same compiler's error, or were killed by the same signal after the same call.
"""
from __future__ import annotations

import re
from typing import Dict, List, Tuple

from ..results import ERROR, PASSED, Outcome

COMPILES, FINISHED = "the program compiles", "the program is finished"  # what a check expects of an unfinished program
SANITIZERS = "the sanitizers have nothing to report"  # see program.py

#: How a message begins that tells of a hang: see LabFixture.in_time().
_LATE = r"(?:within [\d.]+ s|after [\d.]+ s of processor time|when (?:all slept|each had woken up) [^,\n]*,)"

#: What differs from one run to the next, and what stands in its place when two messages are compared.
_MASKS = [
    (r"/shmlab-[0-9a-f]{8}\b", "NAME"), (r"\b0x[0-9a-f]+\b", "HEX"), (r"\b[0-9a-f]{8,16}-[0-9a-f]{8,16}\b", "ADDRESSES"),
    (r"\bprocess(es)? \d+", "process"), (r"\[\d+\]", "[PID]"), (r"\b(pid|shmid|inode|cpid|lpid) \d+", r"\1"),
    (r"==\d+==", "==PID=="), (rf"\b{_LATE}", "LATE"),
    (r"\b\d+(\.\d+)? m?s\b", "TIME"),
]
_SIGNAL = re.compile(r"(\w+) was killed by (SIG\w+)")
_HANG = re.compile(rf"^{_LATE} (it had not ended|it did not)$", re.M)
_PREPARATION = ("(this check had ", "(before these steps, this check had ")  # begin the line that tells what the check did


def _masked(text: str) -> str:
    for pattern, word in _MASKS:
        text = re.sub(pattern, word, text)
    return text


def key(outcome: Outcome) -> Tuple[str, ...]:
    """Returns what is equal for failures that have the same cause."""
    if outcome.expected == COMPILES:
        return (outcome.expected, *outcome.saw)
    todo = re.match(r"\w+\.c stopped at its TODO \d+", "".join(outcome.saw[:1])) if outcome.expected == FINISHED else None
    if todo:
        return (outcome.expected, todo.group())
    if outcome.expected == SANITIZERS:
        return (outcome.expected, *map(_masked, outcome.saw))
    killed = _SIGNAL.search("\n".join(outcome.saw))
    if killed and outcome.calls:
        return (killed.group(), _masked(outcome.calls[-1]))
    # Each line once: the same may be said about any number of processes.
    if _HANG.search("\n".join(outcome.saw)):  # the same hang, wherever a check met it
        return ("hang", *dict.fromkeys(_masked(line) for line in outcome.saw[1:] if not line.startswith(_PREPARATION)),
                *(_masked(line) for line in outcome.calls[-1:]))
    return (_masked(outcome.expected),
            *dict.fromkeys(_masked(line) for line in outcome.saw if not line.startswith(_PREPARATION)))


def distance(outcome: Outcome) -> int:
    """Returns how far a failure is from its cause; the message of the nearest says most about it."""
    text = "\n".join([outcome.expected, *(line for line in outcome.saw if not line.startswith(_PREPARATION))])
    if outcome.status == ERROR:
        return 9  # nothing in the program can change it
    if outcome.expected == COMPILES:
        return 0
    if outcome.expected == FINISHED:
        return 1
    if outcome.expected == SANITIZERS:
        return 2
    if "usage:" in outcome.expected:
        return 8
    if "this check made it fail" in text or "this check made them fail" in text:
        return 7
    if _SIGNAL.search(text) and "SIGKILL" not in text:
        return 3
    if _HANG.search(text):
        return 5
    if re.search(r"/proc/|/dev/shm|\bkey 0x|\brw-[sp]\b|\bmode 0|\bnattch\b|\bobject\b|\bsegment\b|\bmapping", text):
        return 4
    if re.search(r"\bonly \d+ did", text):
        return 5
    return 6


def title(outcome: Outcome) -> str:
    """Returns the heading of a failure's message: the check's sentence, unless the failure says nothing about it."""
    if any(line.endswith("it had not ended") for line in outcome.saw):
        return "The program does not end."
    return {COMPILES: "The program cannot be built.", FINISHED: "The program stops at a TODO."}.get(
        outcome.expected, outcome.sentence)


class Causes:
    """The causes of the failures of one lab, numbered in the order in which they were met."""

    def __init__(self) -> None:
        self._numbers: Dict[Tuple[str, ...], int] = {}
        self._groups: Dict[int, List[Outcome]] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, outcome: Outcome) -> int:
        """Returns the number of a failure's cause: a new one, or that of an earlier failure. 0 for a check that passed."""
        if outcome.status == PASSED:
            return 0
        number = self._numbers.setdefault(key(outcome), len(self._numbers) + 1)
        self._groups.setdefault(number, []).append(outcome)
        return number

    def nearest_first(self) -> List[Tuple[int, List[Outcome]]]:
        """Returns each cause's number and failures, the cause whose failure is nearest to it first."""
        return sorted(self._groups.items(), key=lambda item: (min(map(distance, item[1])), item[0]))

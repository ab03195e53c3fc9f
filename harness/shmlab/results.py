"""The outcome of each check, as a data class and in JSON files."""
from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List

from .labs import Lab, all_labs
from .sandbox import native

PASSED, FAILED, ERROR = "passed", "failed", "error"

MAX_LINES, MAX_CHARACTERS = 40, 400


def plain(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Returns untrusted text as one line that is safe to print: not longer than `limit`, escapes for what is not printable."""
    cut = text[:limit] + ("…" if len(text) > limit else "")
    return re.sub(r"[^ -~]", lambda c: c[0] if c[0].isprintable() else c[0].encode("unicode_escape").decode(), cut)


def plain_lines(lines: List[str]) -> List[str]:
    """Like plain(), for at most MAX_LINES lines; one more line says how many were left out."""
    more = [f"(and {len(lines) - MAX_LINES} more lines)"] if len(lines) > MAX_LINES else []
    return [plain(line) for line in lines[:MAX_LINES]] + more


@dataclass
class Outcome:
    """One check's outcome.

    `status` is PASSED, FAILED or ERROR, which means that the harness failed and not the program. `expected` and `saw` are
    the message, `calls` the program's last calls, `read` where to read on, `by_hand` commands that reproduce the failure.
    `explored` has the number of schedules that were run, by the bound of the search: see explored_text(). `picture` (SVG) and
    `picture_text` show what the programs did, where a course is graded, for the first check of a lab that fails.
    """

    lab: str
    check: str
    sentence: str
    points: int
    status: str = PASSED
    expected: str = ""
    saw: List[str] = field(default_factory=list)
    calls: List[str] = field(default_factory=list)
    read: str = ""
    by_hand: str = ""
    seconds: float = 0.0
    explored: Dict[str, int] = field(default_factory=dict)
    picture: str = ""
    picture_text: List[str] = field(default_factory=list)

    def make_plain(self) -> None:
        """Makes the texts safe to print: they may contain text from the program, its files or the compiler."""
        self.expected, self.by_hand = plain(self.expected, 1000), plain(self.by_hand, 4000)
        self.saw, self.calls = plain_lines(self.saw), plain_lines(self.calls)

    @property
    def score(self) -> int:
        return self.points if self.status == PASSED else 0


def explored_text(explored: Dict[str, int]) -> str:
    """Returns how much was explored, for people: "762 schedules with at most 2 preemptions"."""
    return "; ".join(f"{count:,} schedule{'' if count == 1 else 's'} with {bound}" for bound, count in explored.items())


def totals(outcomes: List[Outcome]) -> Dict[str, List[int]]:
    """Returns the score and the maximum of each lab, by its name."""
    found: Dict[str, List[int]] = {}
    for outcome in outcomes:
        lab = found.setdefault(outcome.lab, [0, 0])
        lab[0] += outcome.score
        lab[1] += outcome.points
    return found


def write_whole(path: Path, text: str) -> None:
    """Writes a file atomically and durably: after a crash it has its old or its new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")  # another machine may write the same
    try:
        with open(scratch, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError as error:  # of a write, it has no name of the file
        scratch.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


def write_json(path: Path, outcomes: List[Outcome], tier: str) -> None:
    """Writes all outcomes to one file, as a JSON object with the members version, tier, labs and checks."""
    labs = {lab: {"score": score, "maximum": maximum} for lab, (score, maximum) in totals(outcomes).items()}
    data = {"version": 1, "tier": tier, "labs": labs,
            "checks": [{**asdict(outcome), "score": outcome.score} for outcome in outcomes]}
    write_whole(path, json.dumps(data, indent=1) + "\n")


# ---- the last outcomes of a student's labs, for `make hint` and the next step


def _kept_path(lab: Lab) -> Path:
    return native.build_directory() / "results" / f"{lab.name}.json"


def keep(outcomes: List[Outcome], tier: str) -> None:
    """Keeps the outcomes of each lab of which all checks ran, in build/results/."""
    for lab in all_labs():
        mine = [outcome for outcome in outcomes if outcome.lab == lab.name]
        if mine and len(mine) == len(lab.checks()):
            try:
                write_json(_kept_path(lab), mine, tier)
            except OSError:
                pass  # the verdict counts without them


def kept(lab: Lab) -> List[Dict[str, Any]]:
    """Returns the outcomes of a lab's last complete run, as in the JSON file; an empty list if there are none."""
    try:
        checks = json.loads(_kept_path(lab).read_text(encoding="utf-8"))["checks"]
        known = {check.name for check in lab.checks()}
        return [check for check in checks if check["check"] in known and {"status", "expected", "saw", "read"} <= set(check)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def is_finished(checks: List[Dict[str, Any]]) -> bool:
    """Returns whether these outcomes are of a lab with full points."""
    return bool(checks) and all(check["status"] == PASSED for check in checks)

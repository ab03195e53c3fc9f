"""What machines read: the outcome of each check, as data and as a JSON file."""
from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Dict, List

PASSED, FAILED, ERROR = "passed", "failed", "error"

MOST_LINES, MOST_CHARACTERS = 40, 400


def plain(text: str, most: int = MOST_CHARACTERS) -> str:
    """A stranger's text as one line for terminals and reports: escapes for what does not print, cut with "…"."""
    cut = text[:most] + ("…" if len(text) > most else "")
    return re.sub(r"[^ -~]", lambda c: c[0] if c[0].isprintable() else c[0].encode("unicode_escape").decode(), cut)


def plain_lines(lines: List[str]) -> List[str]:
    """The same for several lines; what is too much of them is counted."""
    more = [f"(and {len(lines) - MOST_LINES} lines more)"] if len(lines) > MOST_LINES else []
    return [plain(line) for line in lines[:MOST_LINES]] + more


@dataclass
class Outcome:
    """One check's outcome. `error` as status means that the harness, not the program, went wrong."""

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

    def make_plain(self) -> None:
        """Whatever of it comes from the program, its files, its names or its compiler can now be printed safely."""
        self.expected, self.by_hand = plain(self.expected, 1000), plain(self.by_hand, 4000)
        self.saw, self.calls = plain_lines(self.saw), plain_lines(self.calls)

    @property
    def score(self) -> int:
        return self.points if self.status == PASSED else 0


def totals(outcomes: List[Outcome]) -> Dict[str, List[int]]:
    """Score and maximum of each lab, by its name."""
    found: Dict[str, List[int]] = {}
    for outcome in outcomes:
        lab = found.setdefault(outcome.lab, [0, 0])
        lab[0] += outcome.score
        lab[1] += outcome.points
    return found


def write_whole(path: Path, text: str) -> None:
    """Writes a file whole or not at all, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with open(scratch, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)


def write_json(path: Path, outcomes: List[Outcome], tier: str) -> None:
    """Writes all outcomes into one file."""
    labs = {lab: {"score": score, "maximum": maximum} for lab, (score, maximum) in totals(outcomes).items()}
    data = {"version": 1, "tier": tier, "labs": labs,
            "checks": [{**asdict(outcome), "score": outcome.score} for outcome in outcomes]}
    write_whole(path, json.dumps(data, indent=1) + "\n")

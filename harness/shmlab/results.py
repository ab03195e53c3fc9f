"""What machines read: the outcome of each check, as data and as a JSON file."""
from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Dict, List

PASSED, FAILED, ERROR = "passed", "failed", "error"


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

"""Measures the rings of students who asked for it: the board on the course's page, `race = on` in the course file.

A student takes part with a line such as `Nickname: swift` in the comment at the top of ring_send.c. Only rings with all points
of lab 18 are measured, and each run compares all that arrives.
"""
from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..labs import Lab, UserError
from ..race import command as race
from ..results import PASSED, plain
from ..sandbox import native
from .cohort import Grader

Record = Dict[str, Any]
SIZES = (8, 64, 1024)  # bytes in the lines that the board shows
_NICKNAME = re.compile(r"Nickname:\s*(\S[^\n*]{0,23})")
_HEAD = 2000  # bytes in which the comment at the top ends


def nickname(sources: Path) -> str:
    """Returns under which name a student takes part; empty if in none."""
    try:
        with open(sources / "ring_send.c", encoding="utf-8", errors="replace") as file:
            found = _NICKNAME.search(file.read(_HEAD))
    except OSError:
        return ""
    return plain(found[1].strip()) if found else ""


def measure(out: Path, labs: List[Lab], students: List[Record], grader: Grader, before: Optional[Record]) -> List[Record]:
    """Returns the entries of `race` in results.json, the fastest first. A ring that was measured before is not measured again."""
    lab = next((lab for lab in labs if lab.number == race.LAB), None)
    known = {(one["student"], one["sources"]): one for one in (before or {}).get("race", [])}
    entries: List[Record] = []
    for student in students if lab else ():
        assert lab is not None
        sources = out / "students" / student["folder"] / "labs" / lab.name
        name, checks = nickname(sources), student["labs"][lab.name]["checks"]
        if not name or not checks or any(state != PASSED for state in checks.values()):
            continue
        key = native.fingerprint(*(path.read_bytes() for path in sorted(sources.glob("*.[ch]"))))
        entry = known.get((student["folder"], key))
        if entry is None:
            print(f"race: {student['name']}", file=sys.stderr)
            entry = {"student": student["folder"], "sources": key, **_one(lab, sources.parent, grader)}
        entries.append({**entry, "nickname": name})
    return sorted(entries, key=lambda one: (bool(one["wrong"]), one["ratio"].get("64", 0.0), one["nickname"]))


def _one(lab: Lab, submission: Path, grader: Grader) -> Record:
    """Measures one ring. Times differ from day to day, so the order is by the ratio to the fast pair in the same rounds."""
    try:
        found = race.run(lab, submission, grader.tier, grader.cc)
    except UserError as error:
        return {"ns": {}, "ratio": {}, "wrong": str(error)}
    mine, fast = found.carried.get(race.YOURS), found.carried.get(race.FAST)
    if mine is None or fast is None:
        return {"ns": {}, "ratio": {}, "wrong": found.wrong.get(race.YOURS, "was not measured")}
    return {"ns": {str(size): round(statistics.median(mine[size]) * 1e9, 1) for size in SIZES}, "wrong": "",
            "ratio": {str(size): round(statistics.median(a / b for a, b in zip(mine[size], fast[size])), 2) for size in SIZES}}

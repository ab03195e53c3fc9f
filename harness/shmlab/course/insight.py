"""What the points of a course tell: how each lab and check went, and what changed since the run before."""
from __future__ import annotations

import statistics
from typing import Any, Dict, List, Optional

from .exports import MISSING, rounded
from ..results import PASSED

Record = Dict[str, Any]


def how_it_went(lab: Record, students: List[Record]) -> Record:
    """Returns the numbers of a lab, of those who handed it in.

    `histogram` counts the programs with less than a tenth of the points, less than two tenths, and so on; the last of its eleven
    numbers counts those with all points. Each check has the number of programs that `passed` it.
    """
    records = [student["labs"][lab["name"]] for student in students]
    tried = [record for record in records if record["state"] != MISSING]
    histogram = [0] * 11
    for record in tried:
        share = record["score"] / lab["maximum"] if lab["maximum"] else 0
        histogram[min(10, max(0, int(10 * share + 1e-9)))] += 1
    return {"tried": len(tried), "median": rounded(statistics.median(record["score"] for record in tried)) if tried else None,
            "histogram": histogram,
            "checks": [{**check, "passed": sum(record["checks"][check["name"]] == PASSED for record in tried)} for check in lab["checks"]]}


def changes(before: Optional[Record], students: List[Record]) -> List[Record]:
    """Returns each lab of each student whose points or checks differ from those of the run before; if none does, what differed last.

    A student or a lab that was not in that run has no entry: all of it would be new. Nor has one that is not in this one.
    """
    found: List[Record] = []
    known = {student["folder"]: student for student in before["students"]} if before else {}
    for student in students:
        old = known.get(student["folder"])
        for name, lab in student["labs"].items():
            then = old["labs"].get(name) if old else None
            checks = [{"check": check, "before": then["checks"][check], "now": state} for check, state in lab["checks"].items()
                      if then and then["checks"].get(check, state) != state]
            if then and (checks or then["score"] != lab["score"]):
                found.append({"student": student["name"], "folder": student["folder"], "lab": name, "before": then["score"],
                              "now": lab["score"], "checks": checks})
    now = {(student["folder"], name) for student in students for name in student["labs"]}
    return found or [one for one in (before or {}).get("changes", []) if (one["folder"], one["lab"]) in now]

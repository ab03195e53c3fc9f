"""Grades one submission inside Gradescope's container and writes the result in Gradescope's format.

    python3 -m shmlab.course.autograde SUBMISSION RESULTS.JSON

The container holds a single submission and is discarded afterwards. If it allows no namespaces, the container itself
is what isolates the programs. Gradescope applies the deadlines.
"""
from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Dict

from ..sandbox import tiers
from . import cohort, exports
from .course_file import Course, read_course
from .intake import Submission
from ..labs import ROOT, find
from ..results import write_whole


def autograde(source: Path, target: Path) -> None:
    """Grades the submission in the directory `source` and writes Gradescope's results.json to `target`."""
    course = read_course(ROOT / "course.ini", tables=False) if (ROOT / "course.ini").exists() else Course()
    chosen = (ROOT / "labs.txt").read_text(encoding="utf-8").split() if (ROOT / "labs.txt").exists() else []
    if chosen:
        course.labs = [find(word) for word in chosen]
    course.due.clear()
    with tempfile.TemporaryDirectory() as scratch:
        grader = cohort.Grader(tiers.choose_tier(None), "cc", False, jobs=1)
        grader.prepare()
        (student,) = cohort.take_in([Submission("submission", "submission", [source])], course.labs, Path(scratch), grader)
        cohort.grade_all(cohort.pending_batches([student], 1), grader, lambda batch, labs: None)
        details = {lab.name: cohort.outcomes(student, lab) for lab in student.labs}
        record = exports.record_of(student, course, details, {})
        data = exports.gradescope(record, details, course)
        data["output"] = "\n".join(filter(None, [data["output"], tiers.describe_tier(grader.tier).split(";")[0]]))
        write_whole(target, json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    try:
        autograde(Path(sys.argv[1]), Path(sys.argv[2]))
    except Exception as error:
        # Without this file Gradescope reports only that the autograder failed.
        failure: Dict[str, object] = {"score": 0, "visibility": "visible",
                                      "output": f"the autograder itself failed: {type(error).__name__}: {error}"}
        write_whole(Path(sys.argv[2]), json.dumps(failure) + "\n")
        raise

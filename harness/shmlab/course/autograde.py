"""Inside Gradescope's container: grades the one submission that is there and writes the result in Gradescope's form.

    python3 -m shmlab.course.autograde SUBMISSION RESULTS.JSON

The container holds one submission and is thrown away, so it is what contains the programs, where it allows no
namespaces. Deadlines are Gradescope's own business.
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
    of = read_course(ROOT / "course.ini") if (ROOT / "course.ini").exists() else Course()
    chosen = (ROOT / "labs.txt").read_text(encoding="utf-8").split() if (ROOT / "labs.txt").exists() else []
    if chosen:
        of.labs = [find(word) for word in chosen]
    of.due.clear()
    with tempfile.TemporaryDirectory() as scratch:
        grader = cohort.Grader(tiers.choose_tier(None), "cc", False, jobs=1)
        grader.prepare()
        (student,) = cohort.take_in([Submission("submission", "submission", [source])], of.labs, Path(scratch), grader)
        cohort.grade_all(cohort.units_to_do([student], 1), grader, lambda unit, labs: None)
        details = {lab.name: cohort.outcomes(student, lab) for lab in student.labs}
        record = exports.record_of(student, of, details, {})
        data = exports.gradescope(record, details, of)
        data["output"] = "\n".join(filter(None, [data["output"], tiers.describe_tier(grader.tier).split(";")[0]]))
        write_whole(target, json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    try:
        autograde(Path(sys.argv[1]), Path(sys.argv[2]))
    except Exception as error:
        # Without this file Gradescope only says that the autograder failed.
        trouble: Dict[str, object] = {"score": 0, "output": f"the autograder has a problem of its own: "
                                      f"{type(error).__name__}: {error}", "visibility": "visible"}
        write_whole(Path(sys.argv[2]), json.dumps(trouble) + "\n")
        raise

"""With `attempt = best` the best of what several runs found counts; without it the last."""
import os
from datetime import datetime

import pytest
from grading import grade, results
from test_results_directory import put

from shmlab import labs
from shmlab.labs import UserError

LAB = labs.find("05")


@pytest.fixture
def course(tmp_path):
    """Grades what each student hands in, at a time; returns the lab's record of each."""
    def run(attempt, *words, **handed_in):
        for name, (origin, time) in handed_in.items():
            put(tmp_path / "in", name, origin=origin)
            for path in (tmp_path / "in" / name).rglob("*.c"):
                moment = datetime.fromisoformat(time).timestamp()
                os.utime(path, (moment, moment))
        (tmp_path / "course.ini").write_text(f"[course]\nlabs = 05\nlate per day = 40\nattempt = {attempt}\n[due]\n05 = 2026-03-10\n")
        done = grade(tmp_path / "in", tmp_path / "out", "--course", str(tmp_path / "course.ini"), *words)
        assert done.returncode == 0, done.stderr
        run.stderr = done.stderr
        return {student["name"]: student["labs"][LAB.name] for student in results(tmp_path / "out")["students"]}

    run.source, run.out = tmp_path / "in", tmp_path / "out"
    return run


def test_the_best_attempt_counts_with_its_own_time(course):
    right, skeleton = labs.SOLUTIONS, labs.LABS
    first = course("best", ada=(right, "2026-03-10 12:00"), ben=(skeleton, "2026-03-10 12:00"))
    assert (first["ada"]["score"], first["ben"]["score"]) == (10, 0)
    second = course("best", ada=(skeleton, "2026-03-10 13:00"), ben=(right, "2026-03-11 12:00"))
    assert (second["ada"]["score"], second["ben"]["score"]) == (10, 6)
    assert second["ada"]["handed_in"] == "2026-03-10 12:00:00" and second["ada"]["state"] == "graded"
    assert second["ada"]["notes"] == ["an earlier attempt counts because it has more points than the last one (10 instead of 0)"]
    assert second["ben"]["notes"] == [] and "an earlier attempt counts" in (course.out / "students" / "ada" / "report.html").read_text()
    # The same program later costs more, so its first time counts; an earlier attempt is graded again like any other.
    third = course("best", "--student", "ben", "--regrade", "all", ben=(right, "2026-03-12 12:00"))
    assert (third["ben"]["score"], third["ben"]["days_late"], third["ada"]["score"]) == (6, 1, 10)
    (course.source / "ada" / LAB.name / "sysv_create.c").unlink()
    fourth = course("best")
    assert fourth["ada"]["score"] == 10 and "instead of 0" in fourth["ada"]["notes"][0]
    last = course("last")
    assert (last["ada"]["state"], last["ada"]["score"], last["ben"]["score"]) == ("missing", 0, 2)
    (course.out / "students" / "ada" / "best" / LAB.name / ".shmlab-results").write_text("?")
    with pytest.raises(AssertionError, match="is not as `make grade` wrote it"):
        course("best")


def test_another_word_is_refused(tmp_path):
    from test_course_file import course_of

    with pytest.raises(UserError, match="'first' is unknown; allowed are best and last"):
        course_of(tmp_path, "[course]\nattempt = first\n")

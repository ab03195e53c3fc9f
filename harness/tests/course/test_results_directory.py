"""What is in the directory of results: nothing foreign is touched, and what is not graded this time stays."""
import json
import os
import shutil

import pytest
from grading import grade, results

from shmlab import labs
from shmlab.course import cohort, grade as course_grade, results_directory
from shmlab.course.intake import IntakeResult, Submission
from shmlab.course.results_directory import MARK, Before
from shmlab.labs import UserError

LAB, OTHER = labs.find("05"), labs.find("08")


def put(source, name, lab=LAB, origin=labs.SOLUTIONS, more=""):
    target = source / name / lab.name
    target.mkdir(parents=True, exist_ok=True)
    for path in (origin / lab.name).glob("*.c"):
        (target / path.name).write_text(path.read_text() + more)


def everything(directory):
    return {str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in directory.rglob("*")}


# ---- what is ours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("files, says", [
    ({"thesis.txt": "x"}, "it has 'thesis.txt', and no mark"), ({"students/ada/report.html": "x"}, "it has 'students'"),
    ({"results.json": "{}"}, "it has 'results.json'"), ({"results.json": "{}", "students/x": ""}, "results.json is not as `make grade`"),
    ({"results.json": '{"version": 7}', "students/x": ""}, "version 7, which this version of the lab does not know"),
    ({"a\x1b[31mb": "x"}, "a\\x1b[31mb"),
    ({MARK: "?"}, f"{MARK} is not as `make grade` wrote it"), ({MARK: '{"version": 2}'}, "a newer version"),
    ({MARK: '{"version": 1}', f"students/ada/{MARK}": '{"version": 1}'}, "students/ada"),
])
def test_a_strange_directory_is_refused_and_left_as_it_is(tmp_path, files, says):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    before = everything(tmp_path)
    with pytest.raises(UserError) as told:
        results_directory.read(tmp_path)
    assert says in str(told.value) and str(told.value).isprintable() and "OUT=" in str(told.value)
    assert everything(tmp_path) == before


def test_make_grade_refuses_before_it_writes(tmp_path):
    put(tmp_path / "in", "ada")
    put(tmp_path / "out" / "students", "ada")
    before = everything(tmp_path / "out")
    done = grade(tmp_path / "in", tmp_path / "out", "--lab", "05")
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1 and "nothing was changed" in done.stderr
    assert everything(tmp_path / "out") == before


def test_what_another_grading_has_changed_meanwhile_is_not_written_over(tmp_path, monkeypatch):
    put(tmp_path / "in", "ada")
    seen = iter([[], [Before(Submission("ada", "ada"))]])
    monkeypatch.setattr(results_directory, "read", lambda out: next(seen))
    with pytest.raises(UserError, match="another `make grade` has changed"):
        course_grade.main(tmp_path / "in", tmp_path / "out", None, ["05"], "cc", False, 1, None, True)
    assert not (tmp_path / "out" / "students").exists()


def test_an_empty_directory_and_one_of_a_killed_run_are_taken(tmp_path):
    assert results_directory.read(tmp_path / "nowhere") == [] and results_directory.read(tmp_path) == []
    (tmp_path / ".lock").touch()
    (tmp_path / f".{MARK}.123").touch()
    assert results_directory.read(tmp_path) == []


def test_what_a_mark_says_is_read_again(tmp_path):
    one = Before(Submission("Ada <b>", "Ada_b", [], "canvas", "4711", True),
                 IntakeResult(["a note"], {LAB.name: ["of the lab"], OTHER.name: []}, {LAB.name: 1e9}), {LAB.name, OTHER.name})
    results_directory.mark([one.submission], [], tmp_path)
    one.write(tmp_path)
    assert results_directory.read(tmp_path) == [one]


def test_results_of_the_version_without_marks_are_taken(tmp_path):
    lab = {"state": "graded", "days_late": 1, "handed_in": "2026-03-01 12:00:00", "notes": ["n"]}
    record = {"name": "ada", "folder": "ada", "platform": "canvas", "platform_id": "7", "notes": ["note"],
              "labs": {LAB.name: lab, OTHER.name: {**lab, "state": "missing", "handed_in": None}}}
    (tmp_path / "results.json").write_text(json.dumps({"version": 1, "students": [
        record, {**record, "folder": "gone"}, {**record, "folder": "../students/ada"}]}))
    (tmp_path / "students" / "ada").mkdir(parents=True)
    before = results_directory.read(tmp_path)
    (one,) = before
    assert one.submission.late and one.taken.labs == {LAB.name: ["n"]} and one.examined == {LAB.name, OTHER.name}
    results_directory.mark([], before, tmp_path)
    assert (tmp_path / MARK).exists() and results_directory.read(tmp_path) == before


def test_each_student_keeps_a_directory_and_a_foreign_one_is_nobodys(tmp_path):
    def directories(*names, before=()):
        found = [Submission(name, slug, [tmp_path]) for name, slug in names]
        results_directory.settle(found, list(before), tmp_path)
        return [one.directory for one in found]

    assert directories(("a b", "a_b"), ("a_b", "a_b-2")) == ["a_b", "a_b-2"]
    before = [Before(Submission("a b", "a_b")), Before(Submission("a_b", "a_b-2"))]
    assert directories(("a_b", "a_b"), before=before) == ["a_b-2"], "alone, it is still the same student"
    assert directories(("A_b", "A_b"), before=before) == ["A_b-3"], "and another is not taken for it"
    absent = [Before(Submission("a b", "a_b")), Before(Submission("a b", "a_b-2"), examined={LAB.name})]
    assert directories(("a b", "a_b"), ("a b", "a_b"), before=absent) == ["a_b", "a_b-2"], "two of one name"
    found = [Submission("a b", "a_b"), Submission("a b", "a_b")]
    results_directory.settle(found, absent, tmp_path)
    assert [one.directory for one in found] == ["a_b", "a_b-3"], "who handed in nothing does not take the place of who did"
    (tmp_path / "students" / "ben").mkdir(parents=True)
    assert directories(("ben", "ben")) == ["ben"], "empty: a killed run made it"
    (tmp_path / "students" / "ben" / "mine.txt").touch()
    (tmp_path / "students" / "cem").touch()
    assert directories(("ben", "ben"), ("cem", "cem")) == ["ben-2", "cem-2"]


def test_only_one_is_handed_in_and_the_others_stay(tmp_path):
    """Also foreign files in OUT, and the outcomes of labs that are not graded."""
    source, out = tmp_path / "in", tmp_path / "out"
    for name, lab in ("ada", LAB), ("ada", OTHER), ("ben", LAB), ("ben", OTHER):
        put(source, name, lab)
    first = grade(source, out, "--lab", "05 08")
    assert first.returncode == 0, first.stderr
    (out / "notes.txt").write_text("mine")
    (out / "students" / "dot").mkdir()
    (out / "students" / "dot" / "own.txt").write_text("mine")
    untouched = everything(out / "students" / "ben")
    put(tmp_path / "only-ada", "ada", LAB, labs.LABS)
    done = grade(tmp_path / "only-ada", out, "--lab", "05")
    assert done.returncode == 0 and "1 student of earlier runs is kept" in done.stdout and ": ben; to drop one" in done.stdout
    ada, ben = results(out)["students"]
    assert (ada["score"], ada["labs"][OTHER.name]["score"], ada["kept"]) == (10, 10, False)
    assert (ben["score"], ben["maximum"], ben["kept"]) == (20, 20, True)
    assert everything(out / "students" / "ben") == untouched
    assert (out / "notes.txt").exists() and (out / "students" / "dot" / "own.txt").exists()
    assert '["ben","","ben"' in (out / "index.html").read_text() and "ben,10,10,20,20" in (out / "grades.csv").read_text()
    shutil.rmtree(out / "students" / "ben")
    grade(tmp_path / "only-ada", out, "--lab", "05")
    assert [one["name"] for one in results(out)["students"]] == ["ada"]


# ---- a part of the course ---------------------------------------------------------------------------------


class Grader:
    """A grader that gives each lab the outcome that `status` says, without running anything."""

    tier, jobs, status, fingerprints = "host", 1, "passed", "f"

    def fingerprint(self, lab, directory):
        return "".join(sorted(path.read_text()[-1:] for path in directory.iterdir()))


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Runs a grading of two labs without programs; returns what was graded and the students."""
    grader = Grader()
    source, out = tmp_path / "in", tmp_path / "out"

    def run(status="passed", lab_list=(LAB, OTHER), **selection):
        submissions, _ = cohort.intake.list_submissions(source)
        before = results_directory.read(out)
        results_directory.settle(submissions, before, out)
        results_directory.mark(submissions, before, out)
        students = cohort.take_in(submissions, list(lab_list), out, grader, before, cohort.Selection(**selection))
        cohort.reuse_outcomes(students)
        graded = []
        for batch in cohort.pending_batches(students, 1):
            for lab in batch.labs:
                checks = [{"check": check.name, "status": status} for check in lab.checks()]
                results_directory.write_whole(batch.student.partial / f"{lab.name}.json", json.dumps({"checks": checks}))
                graded.append(f"{batch.student.submission.name} {lab.number}")
            assert cohort._collect(batch, True, "") == []
        cohort.reuse_outcomes(students)
        return sorted(graded), {student.submission.name: {lab.number: cohort.outcomes(student, lab)[0]["status"]
                                                          for lab in student.labs} for student in students}

    for name in "ada", "ben":
        for lab in LAB, OTHER:
            put(source, name, lab, more=f"//{name[0]}")
    run.source, run.out = source, out
    return run


ALL = ["ada 05", "ada 08", "ben 05", "ben 08"]


def test_an_error_is_graded_anew_and_a_verdict_is_not(course):
    assert course("error")[0] == ALL and course("passed")[0] == ALL and course()[0] == []


@pytest.mark.parametrize("content, error", [
    ({"status": "passed", "saw": ['"status": "error"']}, False), ({"status": "error"}, True), ("", True), ("{", True), (None, True)])
def test_an_outcome_that_is_not_whole_counts_as_an_error(tmp_path, content, error):
    if content is not None:
        (tmp_path / "x").write_text(content if isinstance(content, str) else json.dumps({"checks": [content]}, indent=1) + "\n")
    assert cohort.has_error(tmp_path / "x") == error


def test_of_the_same_programs_one_is_graded_anew_and_counts_for_all(course):
    for lab in LAB, OTHER:
        put(course.source, "ben", lab, more="//a")
    assert course("error") == (["ada 05", "ada 08"], {name: {"05": "error", "08": "error"} for name in ("ada", "ben")})
    assert course("passed") == (["ada 05", "ada 08"], {name: {"05": "passed", "08": "passed"} for name in ("ada", "ben")})
    assert course("failed", regrade="all") == (["ada 05", "ada 08"], {name: {"05": "failed", "08": "failed"} for name in ("ada", "ben")})


def test_a_part_is_graded_and_the_rest_keeps_its_outcome(course):
    course("failed")
    for name in "ada", "ben":
        put(course.source, name, LAB, more="//new")
    (course.source / "ben" / OTHER.name / "posix_create.c").unlink()
    graded, states = course(students={"ada"})
    assert graded == ["ada 05"] and states == {"ada": {"05": "passed", "08": "failed"}, "ben": {"05": "failed", "08": "failed"}}
    assert course(labs={LAB.name}, students={"ben"}, regrade="all")[0] == ["ben 05"]
    assert course(students={"ada"}, regrade="all")[0] == ["ada 05", "ada 08"]
    assert course(labs={OTHER.name}, lab_list=[OTHER])[1]["ben"] == {}, "it is not handed in any more"


def test_only_errors_are_graded(course):
    course("failed", students={"ada"})
    course("error", labs={LAB.name})
    put(course.source, "cem", LAB)
    put(course.source, "ada", OTHER, more="//new")
    graded, states = course(regrade="errors")
    assert graded == ["ben 05"] and states == {"ada": {"05": "failed", "08": "failed"}, "ben": {"05": "passed"}}


def test_what_was_never_graded_is_said_to_be_so(course, tmp_path):
    from shmlab.course import exports
    from shmlab.course.course_file import Course

    course(labs={LAB.name})
    (before,) = [one for one in results_directory.read(course.out) if one.submission.name == "ada"]
    (student,) = cohort.restored(before, [LAB, OTHER], course.out, False)
    record = exports.record_of(student, Course(labs=[LAB, OTHER]), {LAB.name: []}, {})
    assert record["labs"][OTHER.name]["notes"] == [exports.NOT_YET] and record["labs"][OTHER.name]["state"] == "missing"
    assert cohort.restored(Before(before.submission, before.taken), [LAB], course.out, False) == [], "interrupted before"


@pytest.mark.parametrize("words, says", [
    (["--student", "eve"], "STUDENT=eve: no submission has this name or id; there are ada, ben"),
    (["--student", "ada,"], "STUDENT=: no submission"), (["--regrade", "some"], "REGRADE=some is unknown: allowed are REGRADE=errors"),
    (["--regrade", "errors"], "has no results yet, so leave out REGRADE=errors")])
def test_a_wrong_part_is_told_in_one_line(course, words, says):
    done = grade(course.source, course.out, "--lab", "05", *words)
    assert done.returncode == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_one_student_is_graded_by_name_or_id(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    put(source, "Ada Lovelace_4711_assignsubmission_file_")
    put(source, "Ben, the Second", origin=labs.LABS)
    put(source, "cem")
    done = grade(source, out, "--lab", "05", "--student", "4711", "--student", "BEN, the second")
    assert done.returncode == 0 and "1 submission is not selected and not graded yet" in done.stderr, done.stderr
    assert [one["name"] for one in results(out)["students"]] == ["Ada Lovelace", "Ben, the Second"]
    outcome = next((out / "students" / "Ada_Lovelace_4711" / "checks").glob("*.json"))
    data = json.loads(outcome.read_text())
    data["checks"][0]["status"] = "error"
    outcome.write_text(json.dumps(data))
    os.utime(outcome, (1e9, 1e9))
    done = grade(source, out, "--lab", "05", "--student", "4711,cem", "--regrade", "errors")
    assert "1 lab is graded anew, because one of its checks did not end in the previous run: Ada Lovelace 05" in done.stderr, done.stderr
    assert [one["score"] for one in results(out)["students"]] == [10, 0] and outcome.stat().st_mtime > 1e9

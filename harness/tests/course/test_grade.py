"""Grading a course gives each program the verdict that it gets alone, and leaves nothing behind on the machine."""
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest
import sample_course
from grading import command, grade, grade_elsewhere, machine, results
from running import FULL

from shmlab import labs
from shmlab.sandbox import native

HARNESS = labs.ROOT / "harness"


def put(directory, lab, source=labs.SOLUTIONS):
    target = directory / labs.find(lab).name
    target.mkdir(parents=True)
    for path in (source / target.name).glob("*.c"):
        shutil.copy(path, target)


@pytest.fixture
def small(tmp_path):
    """Three students, two labs."""
    source = tmp_path / "in"
    for name in "ada", "ben":
        for lab in "05", "08":
            put(source / name, lab, labs.SOLUTIONS if name == "ada" else labs.LABS)
    put(source / "eve <b>", "05")
    path = source / "eve <b>" / "05_sysv_create" / "sysv_create.c"
    path.write_text(path.read_text().replace("IPC_CREAT | IPC_EXCL | MODE", "IPC_CREAT | MODE"))
    (source / "notes.txt").write_text("x")
    return source


def agree(expected, found):
    """Compares failed checks, or points, with the expected ones. Returns the differences, for pytest to show."""
    wrong = {}
    records = {record["name"]: record for record in found["students"]}
    for name, wanted in expected.items():
        for lab, right in wanted.items():
            graded = records[name]["labs"][lab]
            failed = {check for check, state in graded["checks"].items() if state != "passed"}
            if isinstance(right, int):
                if graded["score"] != right:
                    wrong[name, lab] = (graded["score"], right)
            elif failed != right:
                wrong[name, lab] = (failed, right)
    return wrong


def test_a_course(tmp_path):
    """Grades mistakes, variants, hostile programs and more in parallel: each gets the verdict that it gets alone.

    With FULL=1 the course has all students, and with them every known mistake. test_gallery.py requires the same of
    `make check`: a known mistake fails exactly the checks that it names.
    """
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    expected, handed_in = sample_course.build(source, share=1 if FULL else 12)
    assert len(expected) == sample_course.STUDENTS / (1 if FULL else 12)
    before = machine()
    compiled = {"SHMLAB_BUILD": str(native.build_directory())}  # use what other tests have compiled
    done = grade_elsewhere(tmp_path, mistakes=handed_in, timeout=2400, **compiled)
    assert done.returncode == 0, done.stdout + done.stderr
    first = results(out)
    assert agree(expected, first) == {}
    assert machine() == before
    assert all(record["maximum"] == 10 * len(labs.all_labs()) for record in first["students"])
    # Each known mistake resembles itself, or another that fails in exactly the same way.
    alike = [graded["resembles"] for record in first["students"] if record["name"].startswith("mistake")
             for graded in record["labs"].values() if graded["state"] == "graded"]
    assert sum(bool(found) and found[0]["likeness"] == 1.0 for found in alike) > 0.9 * len(alike)
    # Grading a part of the labs again gives the same results.
    for number, path in enumerate(sorted(out.glob("students/*/checks/*.json"))):
        if number % 12 == 0:
            path.unlink()
    assert grade(source, out, root=tmp_path / "project", timeout=900, env=compiled).returncode == 0
    second = results(out)
    assert agree(expected, second) == {}
    scores = [{student["name"]: student["score"] for student in data["students"]} for data in (first, second)]
    assert scores[0] == scores[1]


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, "it ended before"
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            pass


def test_killed_at_any_moment_and_started_again(tmp_path):
    source, out, whole = tmp_path / "in", tmp_path / "out", tmp_path / "whole"
    for name in "ada", "ben", "cem", "dot":
        for lab in "01", "05", "08", "09":
            put(source / name, lab, labs.SOLUTIONS if name < "c" else labs.LABS)
    for path in source.rglob("*.c"):
        path.write_text(f"{path.read_text()}/* {path.parts[-3]} */\n")  # otherwise ada and ben would share outcomes
    assert grade(source, whole).returncode == 0
    before = machine()
    environment = {**os.environ, "PYTHONPATH": str(HARNESS)}
    for done in 0, 1, 5, 9:
        run = subprocess.Popen(command(source, out), cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env=environment)
        wait_for(lambda: (out / "students").is_dir() and len(list(out.glob("students/*/checks/*.json"))) >= done, run)
        run.send_signal(signal.SIGKILL)
        run.wait()
        for path in out.glob("students/*/checks/*.json"):
            json.loads(path.read_text())
    last = grade(source, out)
    assert last.returncode == 0 and " of them graded before" in last.stderr
    assert results(out) == results(whole)
    for name in "grades.csv", "canvas.csv", "moodle.csv", "students/ben/junit.xml", "index.html":
        ours, theirs = (directory.joinpath(name).read_text() for directory in (out, whole))
        assert re.sub(r'time="[\d.]+"', "", ours) == re.sub(r'time="[\d.]+"', "", theirs), name
    assert not list(out.rglob("partial*")) and machine() == before
    assert grade(source, out).stderr.count("graded before") == 1


def test_ctrl_c_says_how_to_go_on(small, tmp_path):
    # If a shell started the tests in the background, SIGINT is ignored.
    run = subprocess.Popen(command(small, tmp_path / "out"), cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(HARNESS)},
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert "submissions with" in run.stderr.readline()
    run.send_signal(signal.SIGINT)
    _, text = run.communicate(timeout=30)
    assert run.returncode == 130 and "run the same command again" in text and "Traceback" not in text


def test_what_comes_out(small, tmp_path):
    out, course = tmp_path / "out", tmp_path / "course.ini"
    course.write_text("[course]\ntitle = A & B\nlabs = 05 08\nlate per day = 10\n"
                      "canvas = Lab #1 (4711) ; as Canvas has it\n[weights]\n08 = 2\n"
                      "[due]\n05 = 2026-03-01 12:00\n08 = 2026-03-01 12:00\n"
                      "[handed in]\nada = 2026-03-02 13:00\nben = 2026-02-01\neve <b> = 2026-02-01\n")
    done = grade(small, out, "--course", str(course))
    assert done.returncode == 0 and "notes.txt is neither" in done.stdout and "resembles the known mistake" in done.stdout
    data = results(out)
    ada, ben, eve = data["students"]
    assert (ada["score"], ada["maximum"], ben["score"], ben["maximum"]) == (24, 30, 0, 30)
    assert ada["labs"]["08_posix_create"]["days_late"] == 2 and ada["labs"]["08_posix_create"]["score_in_time"] == 20
    assert eve["labs"]["08_posix_create"]["state"] == "missing" and 0 < eve["score"] < 10
    like = eve["labs"]["05_sysv_create"]["resembles"]
    assert like and like[0]["likeness"] == 1.0 and like[0]["mistake"].startswith("05_sysv_create/")
    assert not ben["labs"]["05_sysv_create"]["resembles"], "an unfinished program resembles nothing"
    # Every format contains the same scores.
    rows = list(csv.reader((out / "grades.csv").open(newline="")))
    assert [row[0] for row in rows] == ["student", "ada", "ben", "eve <b>"] and rows[1][1:5] == ["8", "16", "24", "30"]
    canvas = list(csv.reader((out / "canvas.csv").open(newline="")))
    assert canvas[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Lab #1 (4711)"]
    assert canvas[1][-1] == "30.00" and canvas[2] == ["ada", "", "", "ada", "", "24.00"]
    moodle = list(csv.reader((out / "moodle.csv").open(newline="")))
    assert moodle[1][2:] == ["ada", "", "", "80.00", "100.00", ""]
    for record in data["students"]:
        directory = out / "students" / record["folder"]
        scope = json.loads((directory / "gradescope.json").read_text())
        assert sum(test["max_score"] for test in scope["tests"]) == 30 and scope["score"] == record["score"]
        assert abs(sum(test["score"] for test in scope["tests"]) - record["score"]) < 0.01
        cases = list(xml.parse(directory / "junit.xml").iter("testcase"))
        assert len(cases) == sum(len(lab.checks()) for lab in (labs.find("05"), labs.find("08")))
        assert all(case.find("properties/property[@name='sentence']").get("value") for case in cases)
        failed = sum(case.find("failure") is not None for case in cases)
        assert failed == sum(state != "passed" for lab in record["labs"].values() for state in lab["checks"].values())
        page = (directory / "report.html").read_text()
        assert "A &amp; B" in page and "<b>" not in page.replace("<li><b>", "") and str(tmp_path) not in page
    assert "IPC_CREAT|0640" in (out / "students" / "eve_b" / "report.html").read_text(), "the calls that led to the failure"
    assert "Handed in 2026-03-02 13:00:00 (course file). Due 2026-03-01 12:00:00. 2 days late: 10 points became 8." in \
        (out / "students" / "ada" / "report.html").read_text()
    assert "when labs were handed in: 5 by course file" in done.stdout and ada["labs"]["05_sysv_create"]["time_from"] == "course file"
    index = (out / "index.html").read_text()
    assert "Handed in 2026-03-02 13:00:00 (course file)" in index
    assert r"eve \u003cb\u003e" in index and "eve <b>" not in index
    assert "1 of 3: <code>" in index and "http" not in index.replace("http-equiv", "")


def test_results_json_is_as_documented(small, tmp_path):
    grade(small, tmp_path / "out", "--lab", "05")
    data = results(tmp_path / "out")
    text = (labs.ROOT / "docs" / "grading.md").read_text().split("## results.json")[1]
    keys = {*data, *data["labs"][0], *data["labs"][0]["checks"][0], *data["students"][0],
            *data["students"][0]["labs"]["05_sysv_create"], *data["students"][2]["labs"]["05_sysv_create"]["resembles"][0]}
    assert {key for key in keys if f"`{key}`" not in text and f"`{key}[]`" not in text} == set()
    assert data["version"] == 1


def test_options_of_pytest_in_the_environment_change_no_points(small, tmp_path):
    done = grade(small, tmp_path / "out", "--lab", "05", env={"PYTEST_ADDOPTS": "-n 2 -x --lf -k usage"})
    assert done.returncode == 0 and [student["score"] for student in results(tmp_path / "out")["students"]] == [10, 0, 9], done.stdout


def test_pytest_grades_too(small, tmp_path):
    done = subprocess.run([sys.executable, "-m", "pytest", "harness", "--grade", str(small), "--out", str(tmp_path / "out"),
                           "--lab", "05"], cwd=labs.ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "3 submissions graded" in done.stdout, done.stdout + done.stderr
    assert len(results(tmp_path / "out")["students"]) == 3


@pytest.mark.parametrize("words, says", [
    (["--from", ""], "say where the submissions are"), (["--from", "nowhere"], "there is no directory"),
    (["--lab", "77"], "there is no lab '77'"), (["--jobs", "many"], "is not a number"), (["--cc", "nocc"], "no compiler 'nocc'"),
    (["--tier", "host"], "cannot isolate untrusted programs"), (["--out", "SOURCE/out"], "cannot go to"),
    (["--out", "/proc/x"], "cannot write to"), (["--course", "nowhere.ini"], "cannot be read"),
])
def test_what_is_wrong_is_told_in_one_line(small, tmp_path, words, says):
    words = [word.replace("SOURCE", str(small)) for word in words]
    done = grade(small, tmp_path / "out", *words)
    assert done.returncode == 2 and done.stdout == "" and says in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_same_program_is_graded_once_and_counts_for_all(small, tmp_path):
    shutil.copytree(small / "ben", small / "cem")
    done = grade(small, tmp_path / "out")
    assert "7 labs, 2 the same as others;" in done.stderr and "graded: 5 of 5 labs" in done.stderr, done.stderr
    ben, cem = (record for record in results(tmp_path / "out")["students"] if record["name"] in ("ben", "cem"))
    assert ben["labs"] == cem["labs"] and sum(lab["state"] == "graded" for lab in cem["labs"].values()) == 2
    assert "/ben/" not in (tmp_path / "out" / "students" / "cem" / "report.html").read_text()
    assert ", 7 of them graded before;" in grade(small, tmp_path / "out").stderr


def test_two_gradings_in_one_directory_do_not_meet(small, tmp_path):
    run = subprocess.Popen(command(small, tmp_path / "out"), cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(HARNESS)})
    assert "submissions with" in run.stderr.readline()
    second = grade(small, tmp_path / "out")
    assert second.returncode == 2 and "another `make grade` is running" in second.stderr
    assert run.wait(120) == 0


def test_what_others_handed_in_is_out_of_sight(small, tmp_path):
    spy = small / "eve <b>" / "05_sysv_create" / "sysv_create.c"
    secret = small / "ada" / "05_sysv_create" / "sysv_create.c"
    spy.write_text('#include <err.h>\n#include <fcntl.h>\n'
                   'int main(void) { int a = open("%s", O_RDONLY), b = open("%s", O_RDONLY);\n'
                   'errx(a < 0 && b < 0 ? 1 : 3, "%%s", a < 0 && b < 0 ? "blind" : "saw"); }\n'
                   % (secret, tmp_path / "out" / "results.json"))
    grade(small, tmp_path / "out", "--lab", "05")
    grade(small, tmp_path / "out", "--lab", "05", "--cc", "gcc")
    page = (tmp_path / "out" / "students" / "eve_b" / "report.html").read_text()
    assert "blind" in page and "saw" not in page


def test_a_check_that_does_not_end_is_no_pass_and_keeps_the_maximum(small, tmp_path):
    """The grading process is killed from outside at each attempt to grade this student."""
    from shmlab.course import cohort, exports
    from shmlab.course.course_file import Course

    lab = labs.find("05")
    student = cohort.Student(made_submission("x"), tmp_path / "x")
    student.labs, student.fingerprints, student.taken.labs = [lab], {lab.name: "f"}, {lab.name: []}
    (tmp_path / "x" / "partial").mkdir(parents=True)
    assert cohort._collect(cohort.Batch(student, [lab]), False, "it was killed") == [lab], "once more"
    assert cohort._collect(cohort.Batch(student, [lab], 2), True, "it was killed") == []
    record = exports.record_of(student, Course(labs=[lab]), {lab.name: cohort.outcomes(student, lab)}, {})
    assert record["score"] == 0 and record["maximum"] == 10 and record["labs"][lab.name]["state"] == "error"


def made_submission(name):
    from shmlab.course.intake import Submission

    return Submission(name, name)


@pytest.mark.skipif(os.getuid() != 0, reason="as an ordinary user every other test here is this test")
def test_as_an_ordinary_user():
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        (directory / "in").mkdir()
        expected, _ = sample_course.build(directory / "in", share=1 if FULL else 24)
        before = machine()
        done = grade_elsewhere(directory, "nobody", timeout=2400 if FULL else 600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert agree(expected, results(directory / "out")) == {} and machine() == before

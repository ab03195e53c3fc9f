"""A course that is graded in slices and merged has the same marks, tables and pages as one that one machine graded."""
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from grading import grade, results
from test_results_directory import everything, put

from shmlab import labs
from shmlab.course import cohort, grade as course_grade, slices
from shmlab.course.intake import Submission
from shmlab.course.results_directory import MARK, SLICE
from shmlab.course.roster import Person
from shmlab.labs import UserError

LAB = labs.find("05")
NAMES = ["ada", "ben", "cem", "Dot Ü", "eve"]


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "a/b", "1/10001", "1/99999999", "¹/4", "1/4\n\x1b[31m"])
def test_what_is_not_a_slice_is_told_in_one_line(text):
    with pytest.raises(UserError, match="is not a slice: write SLICE=3/16") as told:
        slices.parse(text)
    assert str(told.value).isprintable()
    assert slices.parse("3/16") == slices.Slice(3, 16)


def test_everybody_is_in_one_slice_whoever_else_there_is():
    names = [f"student {number}" for number in range(1000)]
    sizes = [0] * 16
    for name in names:
        sizes[slices.number_of(Submission(name, "x"), None, 16) - 1] += 1
    assert sum(sizes) == 1000 and min(sizes) > 30
    one = Submission("Ada", "Ada_2", platform="moodle", platform_id="17")
    same = Submission("A. Lovelace", "A", platform="moodle", platform_id="17")
    assert slices.number_of(one, None, 997) == slices.number_of(same, None, 997) == 893, "the choice is the same in every version"
    ada = Person("Ada", "17")
    assert slices.number_of(one, ada, 997) == slices.number_of(Submission("ada@x", "y"), ada, 997), "a person stays in one slice"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course that was graded by one machine, in `whole`, and in three slices, in `out.1` to `out.3`. Tests copy it."""
    top = tmp_path_factory.mktemp("course")
    for name in NAMES:
        put(top / "in", name, origin=labs.LABS if name == "ben" else labs.SOLUTIONS, more=f"// {name}\n")
    wrong = top / "in" / "cem" / LAB.name / "sysv_create.c"
    wrong.write_text(wrong.read_text().replace("IPC_CREAT | IPC_EXCL | MODE", "IPC_CREAT | MODE"))
    (top / "in" / "notes.txt").write_text("x")
    (top / "roster.csv").write_text("name,id,group\nada,1,\nben,2,\ncem,3,\nfay,6,\ngil,7,\nhal,8,team\n")
    (top / "points.csv").write_text("student,lab,points,reason\neve,05,3,seen at the desk\nfay,05,1,was ill\n")
    (top / "course.ini").write_text("[course]\nlabs = 05\nattempt = best\nlate per day = 10\nroster = roster.csv\noverrides = points.csv\n"
                                    "[due]\n05 = 2026-03-01\n[handed in]\nada = 2026-03-02\nben = 2026-02-01\ncem = 2026-02-01\n"
                                    "Dot Ü = 2026-02-01\neve = 2026-02-01\n")
    words = ["--course", str(top / "course.ini")]
    for out, more in ("whole", []), *((f"out.{number}", ["--slice", f"{number}/3"]) for number in (1, 2, 3)):
        done = grade(top / "in", top / out, *words, *more)
        assert done.returncode == 0, done.stderr
    return top


@pytest.fixture
def top(course, tmp_path, monkeypatch):
    shutil.copytree(course, tmp_path / "top")
    monkeypatch.chdir(tmp_path / "top")
    for number in 1, 2, 3:
        change(number, lambda record: record.update(course_file=str(tmp_path / "top" / "course.ini")))
    return tmp_path / "top"


def change(number, edit):
    path = Path(f"out.{number}", SLICE)
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))


def merge(words="out.*", out="merged", course_file=None, partial=False):
    return course_grade.merge(words, Path(out), course_file, 1, partial)


def test_slices_are_merged_to_what_one_machine_writes(top, capsys):
    members = [{one["name"] for one in results(top / f"out.{number}")["students"]} for number in (1, 2, 3)]
    assert sum(map(len, members)) == len(set.union(*members)) == 8 and all(members), members
    assert merge() == 0
    assert "5 submissions graded: open merged/index.html" in capsys.readouterr().out
    for name in "results.json", "grades.csv", "canvas.csv", "moodle.csv", "index.html":
        assert (top / "merged" / name).read_bytes() == (top / "whole" / name).read_bytes(), name
    paths = [{str(path.relative_to(top / out)) for path in (top / out).rglob("*")} for out in ("merged", "whole")]
    assert paths[0] == paths[1]
    for path in sorted((top / "whole").rglob("junit.xml")):
        texts = [re.sub(r'time="[\d.]+"|0x[0-9a-f]+', "", (top / out / path.relative_to(top / "whole")).read_text())
                 for out in ("merged", "whole")]
        assert texts[0] == texts[1]
    states = {one["name"]: one["labs"][LAB.name] for one in results(top / "merged")["students"]}
    assert states["fay"]["score"] == 1 and states["hal"]["state"] == "missing" and states["cem"]["resembles"]
    # It is a directory of results like any other: what was graded is not graded again.
    done = grade(top / "in", top / "merged", "--course", str(top / "course.ini"))
    assert ", 5 of them graded before;" in done.stderr and results(top / "merged") == results(top / "whole")
    before = everything(top / "merged")
    assert merge() == 0 and everything(top / "merged") == before, "once more"


def test_who_handed_in_before_and_no_more_is_kept(top):
    for name in "ada", "eve":
        shutil.rmtree(top / "in" / name)
    for out, more in ("whole", []), *((f"out.{number}", ["--slice", f"{number}/3"]) for number in (1, 2, 3)):
        assert grade(top / "in", top / out, "--course", str(top / "course.ini"), *more).returncode == 0
    assert merge() == 0
    for name in "results.json", "grades.csv", "index.html":
        assert (top / "merged" / name).read_bytes() == (top / "whole" / name).read_bytes(), name
    assert {one["name"] for one in results(top / "merged")["students"] if one["kept"]} == {"ada", "eve"}
    shutil.rmtree(next(path for path in Path(".").glob("out.*/students/eve")).parents[1])
    assert merge(out="part", partial=True) == 0, "points by hand of somebody in a missing slice are not an error"


@pytest.mark.parametrize("key, value, says", [
    ("finished", False, "slice 2/3 in out.2 is not finished: run `make grade SLICE=…` for each again, or set PARTIAL=1"),
    ("part", {"number": 2, "total": 4}, "their totals differ"), ("lab_version", "x", "their versions of the lab or their compilers"),
    ("compiler", "clang", "their compilers differ"), ("tier", "host", "their tiers differ"), ("labs", ["01_page_size"], "their labs"),
    ("course_hash", "x", "out.1 (slice 1/3) and out.2 (slice 2/3) contradict each other: their course files"),
    ("everybody", [], "FROM changed in between"), ("part", {"number": 1, "total": 3}, "out.1 and out.2 are both slice 1/3"),
    ("members", 7, "out.2/.shmlab-slice is not as `make grade` wrote it"), ("version", 9, "another version of the lab wrote this slice"),
    ("part", {"number": 2}, "is not as `make grade` wrote it"), ("\x1b[31m", 1, "is not as `make grade` wrote it"),
])
def test_slices_that_do_not_fit_are_told_in_one_line(top, key, value, says):
    change(2, lambda record: record.update({key: value}))
    with pytest.raises(UserError) as told:
        merge()
    assert says in str(told.value) and str(told.value).isprintable() and not (top / "merged").exists()


def test_a_missing_slice_is_an_error_unless_partial(top, capsys):
    shutil.rmtree("out.2")
    with pytest.raises(UserError, match=r"slice 2 of 3 is missing: run .* PARTIAL=1"):
        merge()
    assert merge(partial=True) == 0
    assert "warning: slice 2 of 3 is missing: its students are not in the tables" in capsys.readouterr().err
    names = {one["name"] for number in (1, 3) for one in results(top / f"out.{number}")["students"]}
    assert {one["name"] for one in results(top / "merged")["students"]} == names
    change(3, lambda record: record.update(finished=False))
    change(1, lambda record: record.update(finished=False))
    with pytest.raises(UserError, match="there is nothing to merge: slice 1/3 in out.1 is not finished; slice 3/3"):
        merge(partial=True)


def test_who_was_not_selected_in_a_slice_is_told(top):
    path, = (path for path in Path(".").glob("out.*/students/ada"))
    number = int(path.parts[0][-1])
    shutil.rmtree(path.parents[1])
    words = ["--course", str(top / "course.ini"), "--slice", f"{number}/3", "--student", "cem"]
    assert grade(top / "in", top / path.parts[0], *words).returncode == 0
    with pytest.raises(UserError, match=rf"out.{number} has no result of .*: run `make grade SLICE={number}/3` again, without STUDENT="):
        merge()


def test_a_student_in_two_slices_or_without_an_outcome(top):
    one, = (path for path in Path(".").glob("out.*/students/ada"))
    number = int(one.parts[0][-1])
    other = number % 3 + 1
    shutil.copytree(one, Path(f"out.{other}", "students", "ada-2"))
    members = []
    change(number, lambda record: members.extend(each for each in record["members"] if each["directory"] == "ada"))
    change(other, lambda record: record["members"].append({**members[0], "directory": "ada-2"}))
    with pytest.raises(UserError, match=r"ada is in two slices, out\.\d and out\.\d: remove students/ada"):
        merge()
    change(other, lambda record: record["members"].pop())
    next((one / "checks").iterdir()).unlink()
    with pytest.raises(UserError, match=rf"{one} has no outcome of lab 05: grade slice {number}/3 again"):
        merge()
    (one / MARK).unlink()
    with pytest.raises(UserError, match=f"{one} is missing: grade slice"):
        merge()
    assert not Path("merged").exists()


@pytest.mark.parametrize("words, says", [
    ("nowhere.*", "names no directory"), ("out.* whole", "whole is not a slice: it has no .shmlab-slice"), ("in", "in is not a slice")])
def test_what_is_no_slice_is_told(top, words, says):
    with pytest.raises(UserError, match=says):
        merge(words)


def test_merging_touches_nothing_else(top):
    for out, says in ("out.1", "contains a slice or is inside one"), (".", "contains a slice"), ("out.1/x", "is inside one"), \
            ("in", "no mark of `make grade`"):
        before = everything(top)
        with pytest.raises(UserError, match=says):
            merge(out=out)
        assert everything(top) == before
    merge()
    put(top / "more", "zoe")
    assert grade(top / "more", top / "merged", "--lab", "05").returncode == 0
    with pytest.raises(UserError, match="has zoe, who is in no slice"):
        merge()


def test_a_course_file_that_has_changed_is_told(top):
    with open("points.csv", "a") as file:
        file.write("ada,05,2,copied\n")
    with pytest.raises(UserError, match="course.ini is not the course file with which the slices were graded, or it has changed"):
        merge()
    Path("other.ini").write_text("[course]\nlabs = 05\n")
    with pytest.raises(UserError, match="other.ini is not the course file"):
        merge(course_file=Path("other.ini"))


@pytest.mark.parametrize("out, words, says", [
    ("out.1", ["--slice", "2/3"], "has slice 1/3: name another directory for slice 2/3 with OUT="),
    ("out.1", [], "has slice 1/3: set SLICE=1/3, or name another directory"),
    ("whole", ["--slice", "1/3"], "has results that are not a slice: name another directory for slice 1/3"),
    ("new", ["--slice", "4/3"], "SLICE=4/3 is not a slice"),
])
def test_a_directory_stays_the_slice_that_it_is(top, out, words, says):
    done = grade(top / "in", top / out, "--course", str(top / "course.ini"), *words)
    assert done.returncode == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_slice_without_students_and_one_that_was_killed(tmp_path, monkeypatch):
    put(tmp_path / "in", "ada")
    mine = slices.number_of(Submission("ada", "ada"), None, 2)
    monkeypatch.setattr(course_grade, "_write_everything", lambda *words: 1 / 0)
    monkeypatch.chdir(tmp_path)
    for number in 1, 2:
        arguments = (Path("in"), Path(f"out.{number}"), None, ["05"], "cc", False, 1, None, True, (), "", slices.Slice(number, 2))
        if number == mine:
            with pytest.raises(ZeroDivisionError):
                course_grade.main(*arguments)
        else:
            assert course_grade.main(*arguments) == 0
    with pytest.raises(UserError, match=f"slice {mine}/2 in out.{mine} is not finished"):
        merge()


def test_machines_that_share_a_known_mistake_leave_each_others_work_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "fork", lambda: 1)
    student = cohort.Student(Submission("mistake", "mistake"), tmp_path)
    others = [f"partial.elsewhere.{os.getpid()}", "partial.elsewhere.99999999", f"partial.{os.uname().nodename}.1"]
    ours = f"partial.{os.uname().nodename}.{os.getpid()}"
    for name in [*others, ours, f"partial.{os.uname().nodename}.99999999"]:
        (tmp_path / name).mkdir()
    (tmp_path / ours / "old.json").touch()
    cohort.Grader("host", "cc", False, 1).start(cohort.Batch(student, [LAB]))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, ours]) and not list((tmp_path / ours).iterdir())

"""A course from its download to the gradebook, as Canvas and as Moodle pack it: graded, changed by hand, handed back, graded in slices."""
import csv
import io
import os
import subprocess
import sys
import zipfile

import made_up_downloads as made_up
import pytest
from grading import grade, machine, results
from running import FULL
from test_feedback import canvas_student, moodle_student

from shmlab import labs
from shmlab.labs import all_labs, find

LABS = [lab.number for lab in all_labs()] if FULL else ["05", "11"]
LATE = 3, 27, 32, 34  # by the numbers of the students
INI = """[course]
title = Operating systems
labs = {labs}
late per day = 10
roster = roster.csv
times = times.csv
overrides = points.csv
extensions = more.csv
canvas = Labs (4711)
moodle maximum = 50
[due]
{due}
"""
POINTS, MORE = "student,lab,check,points,reason\n", "student,lab,days\n"


class Course:
    """A download, and the instructor's files beside it."""

    def __init__(self, platform, directory):
        self.platform, self.directory = platform, directory
        self.people, files = made_up.students([find(number) for number in LABS], 100 if FULL else 1, FULL)
        self.id_of = made_up.canvas_id if platform == "canvas" else made_up.moodle_id
        self.entries = made_up.canvas(self.people, files, LATE) if platform == "canvas" else made_up.moodle(self.people, files)
        late = "".join(f"{self.people[number].login},2026-11-21 10:00\n" for number in LATE) if platform == "moodle" else ""
        due = "\n".join(f"{number} = 2026-11-20" for number in LABS)
        for name, text in (("course.ini", INI.format(labs=" ".join(LABS), due=due)), ("points.csv", POINTS), ("more.csv", MORE),
                           ("roster.csv", made_up.roster(self.people, self.id_of, (0, 1))), ("times.csv", "student,handed in\n" + late)):
            (directory / name).write_text(text, encoding="utf-8")
        (directory / "download.zip").write_bytes(made_up.download(self.entries))

    def run(self, out, *words, source="download.zip"):
        done = grade(self.directory / source, self.directory / out, "--course", str(self.directory / "course.ini"), *words, timeout=3000)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
        return done

    def record(self, one, found):
        """The entry of a student in results.json."""
        wanted = f"anon_aB{one.number}z" if one.is_anonymous and self.platform == "canvas" else self.id_of(one)
        matching = [record for record in found["students"] if wanted == record["platform_id"] or (
            one.shape == "nothing" and one.name.split(",")[0] in record["name"])]
        assert len(matching) == 1, (one, matching)
        return matching[0]


def points_of(one, name, late):
    in_time = sum(check.points for check in find(name).checks() if check.name not in one.right[name]) if name in one.right else 0
    return round(in_time * 9) / 10 if late else in_time


def differences(course, found, late, by_hand=()):
    """What is not as the made-up course says: points, failed checks, notes."""
    wrong = []
    for one in course.people:
        record = course.record(one, found)
        for number in LABS:
            name = find(number).name
            lab = record["labs"][name]
            failed = {check for check, state in lab["checks"].items() if state != "passed"}
            right = dict(by_hand).get((one.number, number))
            wanted = points_of(one, name, one.number in late) if right is None else right
            if lab["score"] != wanted or lab["state"] != ("graded" if name in one.right else "missing"):
                wrong.append((one.name, one.shape, number, lab["score"], wanted, lab["state"]))
            elif lab["state"] == "graded" and failed != set(one.right[name]):
                wrong.append((one.name, one.shape, number, failed, one.right[name]))
        notes = [*record["notes"], *(note for lab in record["labs"].values() for note in lab["notes"])]
        if not any(one.note in note for note in [*notes, *([] if one.note else [""])]):
            wrong.append((one.name, one.shape, one.note, notes))
        if record["login"] != ("" if one.is_anonymous else one.login):
            wrong.append((one.name, "in the roster", record["login"]))
    return wrong


def marks(found):
    return {(student["name"], name): (lab["score"], lab["checks"], lab["days_late"]) for student in found["students"]
            for name, lab in student["labs"].items()}


def rows_of(path):
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode())))


def as_the_platforms_import(course, out, found):
    """The rules of mod/assign/feedback/offline/importgradeslib.php, and of Canvas's gradebook, which finds students by id or login."""
    rows = rows_of(out / "moodle.csv")
    assert {"Identifier", "Grade", "Last modified (grade)"} <= set(rows[0])
    assert all(0 <= float(row["Grade"]) <= 50 and row["Last modified (grade)"] == "" for row in rows) and len(rows) == len(course.people)
    identifiers = [row["Identifier"] for row in rows if row["Identifier"]]
    handed_in = [one for one in course.people if one.shape != "nothing"]
    wanted = {f"Participant {course.id_of(one)}" for one in handed_in} if course.platform == "moodle" else set()
    assert set(identifiers) == wanted and len(identifiers) == len(wanted)
    assert {row["username"] for row in rows if row["username"]} >= {one.login for one in course.people if not one.is_anonymous}
    points = {student["name"]: student["score"] for student in found["students"]}
    head, *rows = rows_of(out / "canvas.csv")
    assert head["Student"] == "Points Possible" and float(head["Labs (4711)"]) == 10 * len(LABS)
    assert {row["Student"].lstrip("'"): float(row["Labs (4711)"]) for row in rows} == points
    assert all(row["ID"] or row["SIS Login ID"] or row["Student"].startswith(("anon_", "Participant")) for row in rows)
    if course.platform == "canvas":
        assert {row["ID"] for row in rows if row["ID"]} == {made_up.canvas_id(one) for one in handed_in if not one.is_anonymous}


def as_the_platforms_hand_back(course, out, found):
    """Each report reaches its student."""
    done = command("feedback", "--from", out, "--out", course.directory / "feedback", "--anonymous")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(course.directory / "feedback" / f"{course.platform}-feedback.zip") as archive:
        reached = {(moodle_student if course.platform == "moodle" else canvas_student)(name): archive.read(name).decode()
                   for name in archive.namelist()}
    # Canvas needs the id of a file that was handed in, Moodle only the student's.
    there = [one for one in course.people if one.shape != "nothing" and (one.shape != "text" or course.platform == "moodle")]
    assert len(reached) == len(there)
    for one in there:
        wanted = f"aB{one.number}z" if one.is_anonymous and course.platform == "canvas" else course.id_of(one)
        page = next(page for found_id, page in reached.items() if str(found_id[0]) == wanted)
        record = course.record(one, found)
        assert f"{record['score']:g} of {record['maximum']:g}" in page, one
    with zipfile.ZipFile(course.directory / "feedback" / "anonymous-feedback.zip") as archive:
        pages = [archive.read(name).decode() for name in archive.namelist()]
    names = [one.login for one in course.people] + ["Лермонтов", "小龍", "Παπαδοπούλου"]
    assert len(pages) == sum(bool(one.right) for one in course.people) and not any(name in page for name in names for page in pages)


def command(*words):
    return subprocess.run([sys.executable, "-m", "shmlab", *map(str, words)], cwd="/", capture_output=True, text=True, timeout=3000,
                          env={**os.environ, "PYTHONPATH": str(labs.ROOT / "harness"), "TERM": "dumb"})


@pytest.mark.parametrize("platform", ["canvas", "moodle"] if FULL else ["canvas"])
def test_a_course_from_its_download_to_the_gradebook(platform, tmp_path):
    before = machine()
    course = Course(platform, tmp_path)
    done = course.run("out")
    assert "download.zip was unpacked: it holds all submissions" in done.stdout and "39 submissions graded" in done.stdout
    assert "1 of the roster handed in nothing: Absent, Abe" in done.stdout
    first = results(tmp_path / "out")
    assert differences(course, first, LATE) == [] and len(first["students"]) == 40 and machine() == before
    as_the_platforms_import(course, tmp_path / "out", first)

    # One is regraded, and nothing else; the marks stay.
    one = course.people[3]
    done = course.run("out", "--student", one.login, "--regrade", "all")
    assert f"{len(LABS)} labs are graded anew: " in done.stderr and marks(results(tmp_path / "out")) == marks(first)

    # A wrong line in a table changes nothing, and is told before anything is graded.
    for file, line, says in (("points.csv", f"{POINTS}user03,{LABS[0]},,11,x\n", "points.csv, line 2, points: '11' is not a number from 0"),
                             ("more.csv", f"{MORE}user77,,1\n", "more.csv, line 2, student: 'user77' is unknown: allowed are")):
        right = (tmp_path / file).read_text()
        (tmp_path / file).write_text(line)
        done = grade(tmp_path / "download.zip", tmp_path / "out", "--course", str(tmp_path / "course.ini"))
        assert done.returncode == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
        (tmp_path / file).write_text(right)
    assert marks(results(tmp_path / "out")) == marks(first)

    # Two get points by hand; three have more time: one alone, two as members of a group.
    (tmp_path / "points.csv").write_text(f"{POINTS}user17,{LABS[0]},,7.5,shown at the desk\nuser37,{LABS[1]},,4,read\n")
    (tmp_path / "more.csv").write_text(f"{MORE}user32,,2\nTeam_7,,1\n")
    course.run("out")
    second = results(tmp_path / "out")
    by_hand = {(17, LABS[0]): 7.5, (37, LABS[1]): 4}
    assert differences(course, second, (3, 34), by_hand) == []
    changed = {key for key, mark in marks(second).items() if mark != marks(first)[key]}
    assert {(change["student"], change["lab"]) for change in second["changes"]} == {
        key for key in changed if marks(second)[key][0] != marks(first)[key][0]} and second["changes"]
    assert {name for name, _ in changed} == {course.record(course.people[number], second)["name"] for number in (17, 27, 32, 37)}
    as_the_platforms_import(course, tmp_path / "out", second)
    as_the_platforms_hand_back(course, tmp_path / "out", second)
    course.run("out")
    assert results(tmp_path / "out") == second, "also what changed last"

    # The same in slices, in another order, from a download whose entries are in another order.
    if platform == "canvas" or FULL:
        (tmp_path / "download.zip").write_bytes(made_up.download(course.entries, backwards=True))
        for number in 2, 1:
            course.run(f"slice.{number}", "--slice", f"{number}/2")
        done = command("merge", "--from", tmp_path / "slice.*", "--out", tmp_path / "merged", "--course", tmp_path / "course.ini")
        assert done.returncode == 0, done.stderr
        merged = results(tmp_path / "merged")
        assert {**merged, "changes": []} == {**second, "changes": []}
        for name in "grades.csv", "canvas.csv", "moodle.csv":
            assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert machine() == before

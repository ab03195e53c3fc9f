"""canvas.csv and moodle.csv are as the platforms import them, and the course file says for which assignments."""
import csv
import io

import pytest

from shmlab.course import course_file, exports
from shmlab.labs import UserError

LABS = [{"name": "05_sysv_create", "number": "05", "maximum": 10}, {"name": "08_posix_create", "number": "08", "maximum": 20}]


def student(name, first, second, platform="", platform_id="", **of_roster):
    person = {key: of_roster.get(key, "") for key in ("id", "email", "login", "group", "section")}
    return {**person, "name": name, "platform": platform, "platform_id": platform_id, "score": first + second, "maximum": 30, "notes": [],
            "labs": {"05_sysv_create": {"score": first, "notes": []}, "08_posix_create": {"score": second, "notes": []}}}


EVERYTHING = {"title": "Shared memory", "labs": [{**lab, "title": "x"} for lab in LABS], "students": [
    student("lovelaceada (101)", 10, 20, "canvas", "101"), student("anon_aB3xZ", 1, 0, "canvas", "anon_aB3xZ"),
    student("Ada Lovelace", 10, 20, "moodle", "2001"), student("Alan Turing", 3.33, 0, "moodle", "2002"), student("ben", 0, 0)]}
IN_ROSTER = {"login": "ada1815", "id": "77", "email": "ada@example.org", "section": "B"}


def course_of(tmp_path, text):
    (tmp_path / "course.ini").write_text(text, encoding="utf-8")
    return course_file.read_course(tmp_path / "course.ini")


def written(tmp_path, name, text=""):
    exports.write_course(tmp_path, EVERYTHING, course_of(tmp_path, text))
    return list(csv.reader(io.StringIO((tmp_path / name).read_bytes().decode())))


@pytest.mark.parametrize("text, most, grades", [
    ("", 100, ["100.00", "3.33", "100.00", "11.10", "0.00"]),
    ("[course]\nmoodle maximum = 5.5\n", 5.5, ["5.50", "0.18", "5.50", "0.61", "0.00"]),
    ("[course]\nmoodle maximum = 30\n", 30, ["30.00", "1.00", "30.00", "3.33", "0.00"])])
def test_moodle_imports_its_grading_worksheet(text, most, grades, tmp_path):
    """The rules of mod/assign/feedback/offline/importgradeslib.php and grade/import/csv/classes/load_data.php."""
    head, *body = written(tmp_path, "moodle.csv", text)
    assert head == ["Identifier", "Full name", "username", "ID number", "Email address", "Grade", "Maximum grade", "Last modified (grade)"]
    rows = [dict(zip(head, row)) for row in body]
    assert [row["Grade"] for row in rows] == grades and all(0 <= float(row["Grade"]) <= most for row in rows)
    assert all(float(row["Maximum grade"]) == most for row in rows)
    assert [row["Identifier"] for row in rows] == ["", "", "Participant 2001", "Participant 2002", ""]
    assert [row["username"] for row in rows][2:] == ["", "", "ben"], "a full name there would end the import"


def test_canvas_has_one_column_for_all_labs(tmp_path):
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    rows = written(tmp_path, "canvas.csv")
    assert rows[0] == [*head, "Shared memory"] and rows[1] == ["Points Possible", "", "", "", "", "30.00"]
    assert rows[2] == ["lovelaceada (101)", "101", "", "", "", "30.00"] and rows[3] == ["anon_aB3xZ", "", "", "", "", "1.00"]
    assert rows[6] == ["ben", "", "", "ben", "", "0.00"]
    rows = written(tmp_path, "canvas.csv", "[course]\ncanvas = Lab #1 (4711) ; a remark\n")
    assert rows[0] == [*head, "Lab #1 (4711)"] and rows[1][5:] == ["30.00"]
    rows = written(tmp_path, "canvas.csv", "[course]\ncanvas = Lab #1 of 3 (4711) of 100\n")
    assert rows[0] == [*head, "Lab #1 of 3 (4711)"] and [row[5] for row in rows[1:]] == [
        "100.00", "100.00", "3.33", "100.00", "11.10", "0.00"]


def test_canvas_has_a_column_for_each_lab_of_its_section(tmp_path):
    rows = written(tmp_path, "canvas.csv", "[canvas]\n5 = Lab #1 (4711)\n08 = Lab #2 (4712) of 5\n09 = Not graded here (1)\n")
    assert [row[5:] for row in rows] == [["Lab #1 (4711)", "Lab #2 (4712)"], ["10.00", "5.00"], ["10.00", "5.00"], ["1.00", "0.00"],
                                         ["10.00", "5.00"], ["3.33", "0.00"], ["0.00", "0.00"]]


@pytest.mark.parametrize("platform", ["", "canvas", "moodle"])
def test_what_the_roster_tells_helps_to_find_the_student(platform, tmp_path):
    everything = {**EVERYTHING, "students": [student("Ada Lovelace", 1, 2, platform, "2001" if platform else "", **IN_ROSTER)]}
    exports.write_course(tmp_path, everything, course_file.Course())
    canvas, moodle = (list(csv.reader(io.StringIO((tmp_path / f"{name}.csv").read_text())))[-1] for name in ("canvas", "moodle"))
    assert canvas[1:5] == ["2001" if platform == "canvas" else "", "", "ada1815", "B"]
    assert moodle[:5] == ["Participant 2001" if platform == "moodle" else "", "Ada Lovelace", "ada1815", "77", "ada@example.org"]


@pytest.mark.parametrize("text, says", [
    ("[course]\nmoodle maximum = 0\n", "[course] moodle maximum: '0' is not a number"),
    ("[course]\nmoodle maximum = A\n", "'A' is not a number"), ("[course]\nmoodle maximum = -1\n", "'-1' is not a number"),
    ("[canvas]\n05 =\n", "[canvas] 05: '' is not an assignment in Canvas"),
    ("[canvas]\n05 = Lab (1) of 0\n", "'Lab (1) of 0' is not an assignment"), ("[canvas]\n77 = Lab (1)\n", "there is no lab '77'"),
    ("[canvas]\n05 = Lab (1)\n5 = Lab (2)\n", "[canvas] 5: lab 05 is there already"),
    ("[canvas]\n05 = Lab (1)\n08 = Lab (1)\n", "[canvas] 08: 'Lab (1)' is there twice"),
    ("[course]\ncanvas = Labs (1)\n[canvas]\n05 = Lab (2)\n", "remove one of them")])
def test_mistakes_in_it_are_told_in_one_line(text, says, tmp_path):
    with pytest.raises(UserError) as told:
        course_of(tmp_path, text)
    assert says in str(told.value) and "course.ini" in str(told.value) and "\n" not in str(told.value)

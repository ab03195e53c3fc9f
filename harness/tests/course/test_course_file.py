"""The course file and its tables: weights, deadlines, when work was handed in, who is in the course."""
from datetime import datetime

import pytest

from shmlab import labs
from shmlab.course import course_file, grade
from shmlab.course.cohort import Student
from shmlab.course.course_file import HandedIn
from shmlab.course.intake import IntakeResult, Submission
from shmlab.labs import UserError

LAB, OTHER = labs.find("05"), labs.find("08")


def course_of(tmp_path, text, **tables):
    """Reads a course file; `tables` are the contents of CSV files beside it, by name."""
    for name, content in tables.items():
        (tmp_path / f"{name}.csv").write_text(content)
    path = tmp_path / "course.ini"
    path.write_text(text)
    return course_file.read_course(path)


def test_weights_and_deadlines(tmp_path):
    course = course_of(tmp_path, "[course]\nlabs = 05, 08\nlate per day = 10 ; per cent\ngrace = 30\nlast day = 3\n"
                                 "[weights]\n05 = 2\n05 test_usage = 0.5\n[due]\n05 = 2026-03-01 12:00\n")
    lab, other = course.labs
    assert [lab.number, other.number] == ["05", "08"]
    assert course.weighted_points(lab, "test_usage", 1) == 1 and course.weighted_points(lab, "test_x", 2) == 4
    assert course.weighted_points(other, "test_x", 2) == 2
    assert course.due == {lab.name: datetime(2026, 3, 1, 12)}
    assert [course.late_factor(days) for days in (0, 1, 3, 4)] == [1.0, 0.9, 0.7, 0.0]
    assert course_file.Course(late_per_day=60).late_factor(2) == 0.0, "never negative"


@pytest.mark.parametrize("text, says", [
    ("[weigths]\n", "line 1: there is no section [weigths]; the sections are [course], "), ("[DEFAULT]\n", "line 1: there is no section"),
    ("[course]\nlate = 3\n", "line 2, [course] late: is unknown; the keys are title, labs, "),
    ("05 = 2\n", "line 1: '05 = 2' is in no section"), ("[course]\ntitle\n", "line 2: 'title' is not understood; write key = value"),
    ("[course]\ntitle = a\ntitle = b\n", "line 3, [course] title: is there already"),
    ("[due]\n[course]\n[due]\n", "line 3: there is a section [due] already"),
    ("[course]\nroster = /dev/zero\n", "/dev/zero: it is not a file"),
    ("[course]\ncanvas = A (1)\n[canvas]\n05 = B (2)\n", "line 2, [course] canvas: is one assignment for all labs"),
    ("[canvas]\n05 = A (1)\n08 = A (1)\n", "line 3, [canvas] 08: 'A (1)' is there twice"),
    ("[weights]\n05 = 1\n5 = 2\n", "line 3, [weights] 5: lab 05 is there already, in"),
    ("[weights]\n05 test_key = 1\n5  test_key = 2\n", "line 3, [weights] 5  test_key: lab 05 is there already, in"),
    ("[due]\n05 = 2026-11-20\n5 = 2026-11-20\n", "line 3, [due] 5: lab 05 is there already"),
])
def test_mistakes_in_it_are_told_in_one_line(tmp_path, text, says):
    with pytest.raises(UserError) as told:
        course_of(tmp_path, text)
    assert says in str(told.value) and str(told.value).isprintable()


#: For each key of the course file: what is wrong as its value, and what the message says is allowed.
WRONG = {
    ("course", "title"): (["a\x1b[31mb", "x" * 201, "\u202e"], "characters that cannot be shown, or more than 200"),
    ("course", "labs"): (["05 nine", "0", "05-08", "all"], "the labs are 01 02"),
    ("course", "late per day"): (["ten", "-1", "101", "10 %", "nan", "\u0661"], "is not a number from 0 to 100"),
    ("course", "grace"): (["soon", "-5", "1e300", "inf"], "is not a number from 0 to 10000"),
    ("course", "last day"): (["never", "1.5", "-1", "367"], "is not a whole number from 0 to 366"),
    ("course", "attempt"): (["first", "Best", "1"], "allowed are best and last"),
    ("course", "time zone"): (["Mars/Base", "../../etc", "Europe", "+01:00"], "write it as Europe/Berlin"),
    ("course", "canvas"): (["A (1) of 0", "A (1) of x", "A (1) of -1"], "such as Lab #1 (4711), or with its points"),
    ("course", "moodle maximum"): (["0", "A", "-1", "inf"], "is not a number from 0.01 to 100000"),
    ("course", "race"): (["yes", "1", "On!"], "allowed are on and off"),
    ("canvas", "05"): (["", "A (1) of 0", "A (1) of nan"], "such as Lab #1 (4711), or with its points"),
    ("canvas", "05 test_key"): (["A (1)", "A", "1"], "write only its number"),
    ("canvas", "77"): (["A (1)", "A", "1"], "the labs are 01 02"),
    ("weights", "05"): (["x", "-1", "1e308", "nan"], "is not a number from 0 to 1000"),
    ("weights", "05 test_usage"): (["x", "-1", "1001"], "is not a number from 0 to 1000"),
    ("weights", "05 test_x"): (["1", "0", "2"], "it has test_usage, test_key"), ("weights", "77"): (["1", "0", "2"], "the labs are 01 02"),
    ("due", "05"): (["", "tomorrow", "2026-02-30", "2026-W47-5", "0001-01-01", "20.11.2026", "2026-11-20 25:00", "2026-11-20 9:00 CET"],
                    "write it as 2026-11-20 23:59"),
    ("due", "77"): (["2026-11-20"] * 3, "the labs are 01 02"), ("due", "05 test_key"): (["2026-11-20"] * 3, "write only its number"),
    ("handed in", "ada"): (["", "yesterday", "2026-13-01", "24:00"], "write it as 2026-11-20 23:59"),
    **{("course", name): (["nowhere.csv", "../nowhere/x.csv", "a\0b"], "cannot be read")
       for name in ("times", "roster", "overrides", "extensions")},
}


@pytest.mark.parametrize("section, key", WRONG)
def test_each_key_says_what_is_allowed(tmp_path, section, key):
    values, allowed = WRONG[section, key]
    assert len(values) >= 3
    for value in values:
        with pytest.raises(UserError) as told:
            course_of(tmp_path, f"[{section}]\n\n{key} = {value}\n")
        message = str(told.value)
        assert allowed in message and message.isprintable(), (value, message)
        assert f"course.ini, line 3, [{section}] {key}" in message or allowed == "cannot be read", message


def test_that_is_every_key():
    for section, keys in course_file._KNOWN.items():
        assert {key for one, key in WRONG if one == section} >= set(keys or ()) and any(one == section for one, _ in WRONG)


def test_a_key_without_a_value_is_as_if_it_were_not_there(tmp_path):
    course = course_of(tmp_path, "[course]\n" + "".join(f"{key} =\n" for key in course_file._KNOWN["course"]))
    same = [name for name, value in vars(course_file.Course()).items() if not isinstance(value, course_file.Table) and name != "digest"]
    assert all(getattr(course, name) == getattr(course_file.Course(), name) for name in same)


# ---- times ------------------------------------------------------------------------------------------------


def days_late(course, text, lab=LAB):
    """The days that work handed in at this local time, or at several, is late."""
    return course.days_late(course.due.get(lab.name), HandedIn(course.moments(datetime.fromisoformat(text))[0], "file"))


@pytest.mark.parametrize("text, days", [
    ("2026-11-20 23:59:00", 0), ("2026-11-20 23:59:59", 0), ("2026-11-21 00:00:00", 1), ("2026-11-21 23:59:59", 1),
    ("2026-11-22 00:00:00", 2), ("2026-11-01 00:00:00", 0)])
@pytest.mark.parametrize("due", ["2026-11-20 23:59", "2026-11-20"])
def test_the_minute_of_the_deadline_counts_in_full(tmp_path, due, text, days):
    assert days_late(course_of(tmp_path, f"[due]\n05 = {due}\n"), text) == days


@pytest.mark.parametrize("text, days", [("2026-11-20 12:30:59", 0), ("2026-11-20 12:31:00", 1), ("2026-11-21 12:00:59", 1),
                                        ("2026-11-21 12:01:00", 2), ("2026-11-24 11:00:00", 4)])
def test_grace_moves_the_deadline_and_not_the_days_after_it(tmp_path, text, days):
    course = course_of(tmp_path, "[course]\ngrace = 30\n[due]\n05 = 2026-11-20 12:00\n")
    assert days_late(course, text) == days and days_late(course, text, OTHER) == 0
    assert course.days_late(course.due[LAB.name], HandedIn()) == 0, "an unknown time costs nothing"


@pytest.mark.parametrize("due, text, days", [
    ("2026-03-28 12:00", "2026-03-29 12:00:30", 1), ("2026-03-28 12:00", "2026-03-29 12:01", 2),  # a day of 23 hours
    ("2026-10-24 12:00", "2026-10-25 12:00:30", 1), ("2026-10-24 12:00", "2026-10-25 12:01", 2),  # a day of 25 hours
    ("2026-10-25 02:30", "2026-10-25 02:30:10", 0), ("2026-03-29 02:30", "2026-03-29 03:30:10", 0)])  # an hour twice, and never
def test_summer_time_does_not_matter(tmp_path, due, text, days):
    course = course_of(tmp_path, f"[course]\ntime zone = Europe/Berlin\n[due]\n05 = {due}\n")
    assert days_late(course, text) == days


def test_the_second_of_two_equal_hours_is_in_time(tmp_path):
    course = course_of(tmp_path, "[course]\ntime zone = Europe/Berlin\n[due]\n05 = 2026-10-25 02:30\n")
    first, second = course.moments(datetime(2026, 10, 25, 2, 30))
    assert second - first == 3600 and course.days_late(course.due[LAB.name], HandedIn(second + 59, "file")) == 0
    assert course.days_late(course.due[LAB.name], HandedIn(second + 60, "file")) == 1


def test_the_time_zone_is_that_of_the_course_and_an_offset_is_taken_as_it_is(tmp_path):
    text = "[course]\ntime zone = {}\n[due]\n05 = {}\n[handed in]\nada = {}\n"
    for zone, due, handed_in, days in (
            ("Europe/Berlin", "2026-11-20 23:59", "2026-11-20 22:59Z", 0), ("Europe/Berlin", "2026-11-20 23:59", "2026-11-20 23:00Z", 1),
            ("Asia/Tokyo", "2026-11-20 23:59", "2026-11-20 23:59+01:00", 1), ("Asia/Tokyo", "2026-11-20 23:59", "2026-11-20 23:59", 0),
            ("UTC", "2026-11-20 23:59-0500", "2026-11-21 04:59:30", 0), ("UTC", "2026-11-20T23:59:00-05:00", "2026-11-21 05:00", 1)):
        course = course_of(tmp_path, text.format(zone, due, handed_in))
        course.bind({"ada": {"ada"}})
        found = course.when_handed_in(LAB, Submission("ada", "ada"), None)
        assert course.days_late(course.due[LAB.name], found) == days, (zone, due, handed_in)


def test_where_a_time_is_from(tmp_path):
    """The course file, a table, Canvas's mark and the time of the file, in this order; never the time of a download."""
    course = course_of(tmp_path, "[course]\ntime zone = UTC\ntimes = times.csv\n[due]\n05 = 2026-11-20\n"
                                 "[handed in]\nada = 2026-11-21\nada 08 = 2026-11-22\nlab 05 = 2026-11-23\n",
                       times="Lab;Handed In;STUDENT\n;2026-11-24;ada\n\n05;2026-11-25;4711\n08;;nobody\n")
    course.bind({name: {name} for name in ("ada", "lab 05")} | {"lab": {"lab"}, "4711": {"ben"}})

    def found(directory, lab=LAB, **what):
        one = course.when_handed_in(lab, Submission(directory, directory, **what), 0.0)
        return one.when is not None and course.shown(one.when)[:10], one.source, course.days_late(course.due[LAB.name], one)

    assert found("ada", platform="canvas", late=False) == ("2026-11-21", "course file", 1)
    assert found("ada", OTHER)[:2] == ("2026-11-22", "course file") and found("lab 05", OTHER)[0] == "2026-11-23"
    assert found("ben", platform="moodle") == ("2026-11-25", "times.csv", 5) and found("ben", OTHER)[1] == "file"
    assert found("cem", platform="canvas", late=True) == (False, "Canvas's mark", 1)
    assert found("cem", platform="canvas", late=False) == (False, "Canvas's mark", 0)
    assert found("cem", platform="moodle") == (False, "", 0) and found("cem") == ("1970-01-01", "file", 0)


@pytest.mark.parametrize("names, says", [({}, "' is unknown: allowed are"), ({"ada": {"ada", "ada-2"}}, "the name of 2 students")])
def test_a_time_of_somebody_else_is_refused(tmp_path, names, says):
    for text, times in (("[handed in]\nada 05 = 2026-11-21\n", ""),
                        ("[course]\ntimes = times.csv\n", "student,handed in\nada,2026-11-21\n")):
        course = course_of(tmp_path, text, times=times)
        with pytest.raises(UserError, match=says) as told:
            course.bind(names)
        assert "times.csv, line 2" in str(told.value) or "[handed in] ada" in str(told.value)


@pytest.mark.parametrize("content, says", [
    ("", "is empty; its first line has the columns"), ("student\nada\n", "line 1: there is no column 'handed in'; the columns are student"),
    ("student,handed in,lap\n", "the column 'lap' is unknown"), ("student,student,handed in\n", "two columns 'student'"),
    ("student,handed in\n\nada,soon\n", "line 3, handed in: 'soon' is not a time"),
    ("student,handed in,lab\nada,2026-11-21,77\n", "line 2, lab: there is no lab '77'"),
    ("student,handed in\nada,2026-11-21,05\n", "line 2: 3 fields, but the header has 2"),
    ("student,handed in\n" + "a" * 2000 + ",2026-11-21\n", "more than 1000 characters"),
    ("student,handed in\n" + "a" * 200_000 + ",2026-11-21\n", "field larger than field limit"),
    ("student,handed in\n\x1b[31mada,soon\n", "'soon'")])
def test_mistakes_in_a_table_are_told_in_one_line(tmp_path, content, says):
    with pytest.raises(UserError) as told:
        course_of(tmp_path, "[course]\ntimes = times.csv\n", times=content)
    assert says in str(told.value) and "times.csv" in str(told.value) and str(told.value).isprintable()


def handed_in(name, times, **what):
    student = Student(Submission(name, name, **what), None, IntakeResult(times=times))
    student.labs = [labs.find(word[:2]) for word in times]
    return student


def test_strange_times_are_told_before_anything_is_graded(tmp_path):
    course = course_of(tmp_path, "[course]\ntime zone = UTC\n[due]\n05 = 1970-01-01\n".replace("1970", "2026"))
    due = course.moments(course.due[LAB.name])[0]

    def lines(*times, **what):
        students = [handed_in(str(number), {LAB.name: due + time}, **what) for number, time in enumerate(times)]
        return grade.strange_times(students, course, due + 1e6)

    assert lines(0, 1, 2) == [] and lines(5, 5) == [] and lines(0, 100, -200, 300) == []
    assert lines(0, 1, 2e6)[0].startswith("1 lab has a time in the future, such as 2, lab 05: 2026-01-")
    (same,) = lines(0, 0, 0)
    assert same.startswith("the files of all 3 submissions have the same time, 2026-01-01 23:59:00")
    (late,) = lines(100, 200, 300, 0, -1)
    assert late.startswith("3 of 5 submissions are late by the time of their files")
    assert len(lines(2e6, 2e6, 2e6)) == 3, "each reason has its line"
    assert lines(2e6, 2e6, 2e6, platform="moodle") == [], "the time of a download is not used"
    course.due.clear()
    assert lines(2e6, 2e6, 2e6) == [], "without deadlines no time matters"

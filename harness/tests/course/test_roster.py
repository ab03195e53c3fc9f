"""The roster, points by hand and extensions: who is in the course, and what the instructor says of them."""
import csv
import json
import shutil

import pytest
from grading import grade, results
from test_course_file import course_of
from test_results_directory import everything, put

from shmlab import labs
from shmlab.course import exports, pages, roster
from shmlab.course.cohort import Student
from shmlab.course.course_file import HandedIn
from shmlab.course.intake import IntakeResult, Submission
from shmlab.course.roster import Person
from shmlab.labs import UserError

LAB, OTHER = labs.find("05"), labs.find("08")
CHECKS = [check.name for check in LAB.checks()]


# ---- who is in the course ---------------------------------------------------------------------------------


def test_columns_go_by_their_names(tmp_path):
    course = course_of(tmp_path, "[course]\nroster = roster.csv\n",
                       roster="\ufeffSection,E-Mail,NAME,Matriculation,id\nA,ada@x.org,\"Lovelace, Ada\",1,7\n,,Ben\x1b[31m\n,,,,9\n")
    assert course.people == [Person("Lovelace, Ada", "7", "ada@x.org", "", "", "A"), Person("Ben\\x1b[31m"), Person("", "9")]


@pytest.mark.parametrize("content, says", [
    ("", "is empty; its first line has the columns name"), ("name,id\n", "there is no student in it"),
    ("email\na@x\n", "line 2, name: this line has neither a name nor an id; the columns are name, id, email"),
    ("name,id\nada,1\nben,1\n", "line 3, id: '1' is on two lines, the first is"),
    ("name,email\nada,A@x\nben,a@X\n", "line 3, email: 'a@X' is on two lines"), ("name,login\na,x\nb,x\n", "line 3, login"),
    ("name\nada\nADA\n", "line 3, name: 'ADA' is on two lines"), ("name,name\na,b\n", "two columns 'name'"),
    ("name\nada,1\n", "2 fields, but the header has 1"), ("name\n\xff", "it is not UTF-8")])
def test_mistakes_in_the_roster_are_told_in_one_line(tmp_path, content, says):
    (tmp_path / "roster.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError) as told:
        course_of(tmp_path, "[course]\nroster = roster.csv\n")
    assert says in str(told.value) and "roster.csv" in str(told.value) and str(told.value).isprintable()


def handed_in(name, platform="", platform_id="", late=None):
    return Submission(name, name, ["there"], platform, platform_id, late)


def matched(submissions, people, before=()):
    """Returns the names of submissions and of their people; the submissions."""
    pairs, _ = roster.match(submissions, people, before)
    return [(one.name, person and (person.name or person.id)) for one, person in pairs], [one for one, _ in pairs]


@pytest.mark.parametrize("one", [
    handed_in("lovelaceada", "canvas", "7"), handed_in("7"), handed_in("AL1815"), handed_in("ada@X.org"), handed_in("ada  LOVELACE"),
    handed_in("\uff21da Lovelace"), handed_in("Ada Lovelace", "moodle", "4711")], ids=str)
def test_a_submission_belongs_to_a_person(one):
    person = Person("Ada Lovelace", "7", "ada@x.org", "al1815")
    assert matched([one], [Person("Ben", "8"), person])[0] == [(one.name, "Ada Lovelace"), ("Ben", "Ben")] and one.notes == []


@pytest.mark.parametrize("one, person", [
    (handed_in("lovelaceada", "canvas", "9"), Person("Lovelace, Ada")), (handed_in("lovelaceada", "canvas", "9"), Person("Ada Lovelace")),
    (handed_in("Ada Lovelace", "moodle", "9"), Person("Lovelace, Ada")),
    (handed_in("de_la_cruzinés", "canvas", "9"), Person("Inés de la Cruz")),
    (handed_in("李小龍", "canvas", "9"), Person("小龍 李")), (handed_in("obriensmithzoë", "canvas", "9"), Person("Zoe\u0308 O'Brien-Smith")),
    (handed_in("Group A-Ada Lovelace", "moodle", "9"), Person("Lovelace, Ada", group="Group_A"))], ids=str)
def test_a_name_is_found_however_the_platform_writes_it(one, person):
    assert matched([one], [Person("Ben"), person])[0][0] == (one.name, person.name) and one.notes == []
    assert roster.match([], [person], [one])[1] == [(one, person)], "also in a run in which nothing of it is handed in"


@pytest.mark.parametrize("submissions, people", [
    ([handed_in("lovelaceada", "canvas", "9")], [Person("Lovelace, Ada"), Person("Ada Lovelace")]),
    ([handed_in("lovelaceada", "canvas", "9"), handed_in("adalovelace", "canvas", "8")], [Person("Ada Lovelace")]),
    ([handed_in("lovelaceada", "canvas", "9"), handed_in("ben", "canvas", "3")], [Person("Ada Lovelace", "4"), Person("Ben", "3")]),
    ([handed_in("Group B-Ada Lovelace", "moodle", "9")], [Person("Ada Lovelace", group="Group A")]),
    ([handed_in("Anna-Ada Lovelace", "moodle", "9")], [Person("Ada Lovelace")])], ids=[
        "two-people", "two-submissions", "another-id", "another-group", "no-group"])
def test_a_name_that_may_be_anothers_decides_nothing(submissions, people):
    names, _ = matched(submissions, people)
    assert names[0] == (submissions[0].name, None) and len(submissions[0].notes) == 1, names


def test_an_exact_name_comes_before_a_likeness():
    names, _ = matched([handed_in("ada lovelace"), handed_in("Lovelace, Ada")], [Person("Lovelace, Ada")])
    assert names == [("ada lovelace", None), ("Lovelace, Ada", "Lovelace, Ada")]


def test_a_group_is_found_as_canvas_writes_it():
    people = [Person("Ada", group="Team 7"), Person("Ben", group="team 7"), Person("Cem", group="Team_8"), Person("Dot", group="Team 8")]
    names, _ = matched([handed_in("team7", "canvas", "3"), handed_in("team8", "canvas", "4")], people)
    assert names == [("team8", None), ("Ada", "Ada"), ("Ben", "Ben"), ("Cem", "Cem"), ("Dot", "Dot")]


def test_submissions_and_lines_that_are_left_are_told_together():
    people = [Person("Ada", where="roster.csv, line 2"), Person("Ben", where="roster.csv, line 3"), Person("Cem")]
    for names, says in (("Ada", "Ben", "Cem"), ""), (("Ada", "Ben"), ""), (("Ada", "Cem", "Eve"), (
            "1 submission belongs to no student in the roster: Eve. Nothing was handed in by roster.csv, line 3 (Ben). "
            "If they are the same, write the id of the submission into the roster's column id")):
        assert roster.unmatched(roster.match([handed_in(name) for name in names], people, [])[0]) == says


def test_who_handed_in_nothing_has_a_submission_without_files():
    _, (ada, ben) = matched([handed_in("Ada", "canvas", "7")], [Person("Ada", "7"), Person("Ben", "8")])
    assert ada.sources and not ben.sources and (ben.platform, ben.platform_id) == ("canvas", "8")
    assert matched([handed_in("Ada")], [Person("Ada"), Person("Ben", "8")], [Submission("Ben", "Ben")])[0] == [("Ada", "Ada")], "kept"


def test_who_is_not_in_the_roster_is_graded_and_noted():
    people = [Person("Ada", "1"), Person("Ada", "2"), Person("Ben", "3", login="b")]
    names, (eve, ada, ben, again, _, _) = matched([handed_in("Eve"), handed_in("Ada"), handed_in("b"), handed_in("3")], people)
    assert names == [("Eve", None), ("Ada", None), ("b", "Ben"), ("3", None), ("Ada", "Ada"), ("Ada", "Ada")]
    assert "no student in the roster" in eve.notes[0] and "2 in the roster have this name" in ada.notes[0] and ben.notes == []
    assert "has another submission" in again.notes[0]


def test_a_group_gives_its_work_to_all_members():
    """Also if its id is the same number as a member's id; a member's own work counts before that of the group."""
    people = [Person("Ada", "17", group="Group A"), Person("Ben", "2", group="group a"), Person("Cem", "3", group="Group A"),
              Person("Dot", "4", group="Group B"), Person("Group B", "5")]
    names, found = matched([handed_in("Group A", "moodle", "17"), handed_in("Cem", "moodle", "3"), handed_in("Group B")], people)
    assert names == [("Cem", "Cem"), ("Group B", "Group B"), ("Ada", "Ada"), ("Ben", "Ben"), ("Dot", "Dot")]
    cem, _, ada, ben, dot = found
    assert (ada.platform_id, ben.platform_id) == ("17", "2") and ada.sources == ben.sources == ["there"] and not dot.sources
    assert "handed in by the group Group A" in ben.notes[0] and "the group Group A has handed in, too" in cem.notes[0]
    assert roster.match([], people, [Submission("Group A", "x"), Submission("Ada", "y")])[1] == [(Submission("Ada", "y"), people[0])]


def test_who_hands_in_anew_in_another_way_is_in_the_tables_once():
    """Ada's directory of a run before is replaced by what Canvas has; a second submission of hers stays what it was."""
    people, before = [Person("Ada", "7")], [Submission("Ada", "Ada"), Submission("7", "7"), Submission("Eve", "Eve")]
    new = [handed_in("lovelaceada", "canvas", "7"), handed_in("7")]
    pairs, old = roster.match(new, people, before)
    assert [person for _, person in pairs] == [people[0], None] and [one.name for one, _ in old] == ["7", "Eve"]


def test_a_word_can_mean_all_that_the_roster_says():
    words = roster.words([(Submission("lovelaceada", "a", [], "canvas", "7"), Person("Ada", "7", "a@x", "al")),
                          (Submission("Ada", "b"), None)])
    assert words == {"lovelaceada": {"a"}, "7": {"a"}, "a@x": {"a"}, "al": {"a"}, "ada": {"a", "b"}}


# ---- points by hand, extensions ---------------------------------------------------------------------------


@pytest.mark.parametrize("name, content, says", [
    ("overrides", "student,lab,points\n", "there is no column 'reason'; the columns are student, lab, points, reason, check (optional)"),
    ("overrides", "student,lab,points,reason,chek\n", "the column 'chek' is unknown"),
    ("overrides", "student,lab,points,reason\nada,05,7,\n", "line 2, reason: is empty"),
    ("overrides", "student,lab,points,reason\nada,,7,x\n", "line 2, lab: there is no lab ''"),
    ("overrides", "student,lab,points,reason\nada,05,11,x\n", "line 2, points: '11' is not a number from 0 to 10"),
    ("overrides", "student,lab,points,reason\nada,08,11,x\n", "from 0 to 10"),
    ("overrides", "student,lab,points,reason\nada,05,-1,x\n", "'-1' is not a number"),
    ("overrides", "student,lab,points,reason\nada,05,nan,x\n", "'nan' is not a number"),
    ("overrides", "student,lab,points,reason\nada,05,\"7,5\",x\n", "'7,5' is not a number"),
    ("overrides", f"student,lab,check,points,reason\nada,05,{CHECKS[0]},9,x\n", "is not a number from 0 to "),
    ("overrides", "student,lab,check,points,reason\nada,05,test_x,1,x\n", f"has no check 'test_x'; it has {CHECKS[0]}"),
    ("extensions", "student,days\nada,0\n", "line 2, days: '0' is not a whole number from 1 to 366"),
    ("extensions", "student,days\nada,1.5\n", "'1.5' is not a whole number"), ("extensions", "student,days\nada,inf\n", "'inf' is"),
    ("extensions", "student,days,lab\nada,1,99\n", "there is no lab '99'"), ("extensions", "student\n", "no column 'days'")])
def test_mistakes_are_told_in_one_line(tmp_path, name, content, says):
    with pytest.raises(UserError) as told:
        course_of(tmp_path, f"[course]\n{name} = {name}.csv\n", **{name: content})
    assert says in str(told.value) and f"{name}.csv" in str(told.value) and str(told.value).isprintable()


@pytest.mark.parametrize("name, content", [("overrides", "student,lab,points,reason\n{0},05,1,x\n{0},5,2,y\n"),
                                           ("extensions", "student,days\n{0},1\n{0},2\n")])
def test_each_line_means_one_student_and_says_something_once(tmp_path, name, content):
    course = course_of(tmp_path, f"[course]\n{name} = {name}.csv\n", **{name: content.format("ada")})
    for words, says in ({}, "line 2, student: 'ada' is unknown"), ({"ada": {"a", "b"}}, "the name of 2 students"), \
            ({"ada": {"a"}}, "line 3, student: 'ada' has the same line twice"):
        with pytest.raises(UserError, match=says):
            course.bind(words)


def test_a_line_of_a_group_means_its_members_and_a_members_own_comes_first(tmp_path):
    course = course_of(tmp_path, "[course]\nextensions = more.csv\n", more="student,lab,days\nGROUP A,05,3\nada,,1\n")
    pairs = [(Submission(name, name), Person(name, group="Group A")) for name in ("ada", "ben")] + [(Submission("cem", "cem"), None)]
    course.bind(roster.words(pairs), roster.groups(pairs))
    assert [course.extension(LAB, one) for one, _ in pairs] == [1, 3, 0] and course.extension(OTHER, pairs[1][0]) == 0
    course = course_of(tmp_path, "[course]\nextensions = more.csv\n", more="student,days\ngroup a,3\nGroup A,1\n")
    with pytest.raises(UserError, match="line 3, student: 'Group A' has the same line twice"):
        course.bind(roster.words(pairs), roster.groups(pairs))


def record_of(course, states, name="ada", **what):
    """The record of a student whose lab 05 has these states; None: nothing was handed in."""
    student = Student(Submission(name, name, **what), None, IntakeResult([], {} if states is None else {LAB.name: []}, {}),
                      examined={lab.name for lab in labs.all_labs()})
    checks = states and [{"check": check, "status": state, "expected": "", "saw": [], "calls": [], "read": "", "by_hand": "", "seconds": 0,
                          "score": 0, "points": 1, "sentence": "s"} for check, state in zip(CHECKS, states)]
    details = {LAB.name: checks} if checks else {}
    return exports.record_of(student, course, details, {}), details


def overridden(tmp_path, lines, more=""):
    course = course_of(tmp_path, f"[course]\nlabs = 05\noverrides = overrides.csv\nlate per day = 50\n{more}",
                       overrides="student,lab,check,points,reason\n" + lines)
    course.bind({"ada": {"ada"}})
    return course


def test_points_by_hand_of_a_check_and_of_a_lab(tmp_path):
    worth = [check.points for check in LAB.checks()]
    failed, half = ["failed", *["passed"] * (len(CHECKS) - 1)], 10 - worth[0]
    late = "[due]\n05 = 2026-11-20\n[handed in]\nada = 2026-11-21\n"
    for lines, more, score, in_time in (
            ("", "", half, half), (f"ada,05,{CHECKS[0]},0.5,half\n", "", half + 0.5, half + 0.5),
            (f"ada,05,{CHECKS[1]},0,copied\n", late, (half - worth[1]) / 2, half - worth[1]),
            ("ada,05,,9,ill\n", late, 9, half), (f"ada,05,,0,copied\nada,05,{CHECKS[0]},1,x\n", "", 0, half + 1)):
        course = overridden(tmp_path, lines, more)
        record, details = record_of(course, failed)
        lab = record["labs"][LAB.name]
        assert (lab["score"], lab["score_in_time"], record["score"]) == (score, in_time, score), lines
        assert len(lab["overrides"]) == lines.count("\n")
        scope = exports.gradescope(record, details, course)
        assert scope["score"] == score and abs(sum(test["score"] for test in scope["tests"]) - score) < 0.01
        assert sum(test["max_score"] for test in scope["tests"]) == 10
        other, _ = record_of(course, failed, "ben")
        assert other["labs"][LAB.name]["overrides"] == []


def test_the_student_reads_the_reason(tmp_path):
    course = overridden(tmp_path, "ada,05,,9,shown <b> at\x1b[31m the desk\n")
    for states, instead in (["passed"] * len(CHECKS), 10), (["failed"] * len(CHECKS), 0), (None, 0):
        record, details = record_of(course, states)
        pages.write_student(tmp_path, record, details, course)
        page = (tmp_path / "report.html").read_text()
        assert f"9 points by hand instead of {instead} for the whole lab: shown &lt;b&gt; at\\x1b[31m the desk" in page
        assert "9 of 10" in page and "\x1b" not in page


def test_an_error_with_points_by_hand_is_not_to_be_looked_at(tmp_path):
    states = ["error", *["passed"] * (len(CHECKS) - 1)]
    for lines, left in (("", True), ("ada,05,,9,seen\n", False), (f"ada,05,{CHECKS[0]},1,seen\n", False),
                        (f"ada,05,{CHECKS[1]},1,seen\n", True)):
        assert exports.to_look_at(record_of(overridden(tmp_path, lines), states)[0]["labs"][LAB.name]) == left


def test_an_extension_moves_the_deadline_of_one(tmp_path):
    course = course_of(tmp_path, "[course]\nlabs = 05 08\nextensions = more.csv\n[due]\n05 = 2026-11-20\n08 = 2026-11-20\n",
                       more="student,lab,days\nada,,2\nada,08,4\n")
    course.bind({"ada": {"ada"}})

    def late(name, lab, day, mark=None):
        one = Submission(name, name, late=mark)
        when = HandedIn(course.moments(course.due[LAB.name].replace(day=day))[0], "file")
        return course.days_late(course.deadline(lab, one), course.when_handed_in(lab, one, None) if mark is not None else when)

    assert [late("ada", LAB, day) for day in (22, 23)] == [0, 1] and [late("ada", OTHER, day) for day in (24, 26)] == [0, 2]
    assert late("ben", LAB, 22) == 2 and late("ben", LAB, 22, True) == 1 and late("ada", LAB, 22, True) == 0
    record, details = record_of(course, ["passed"] * len(CHECKS))
    assert record["labs"][LAB.name]["extension"] == 2 and record["labs"][OTHER.name]["extension"] == 4
    pages.write_student(tmp_path, record, details, course)
    assert "Due 2026-11-22 23:59:00, 2 days later for you." in (tmp_path / "report.html").read_text()


def test_a_course_with_a_roster(tmp_path):
    """Graded twice: what is set by hand stays, who handed in nothing stands in every table, and a group's members have its points."""
    source, out = tmp_path / "in", tmp_path / "out"
    put(source, "Group A_17_assignsubmission_file_")
    put(source, "Ada Lovelace_1_assignsubmission_file_", origin=labs.LABS)
    put(source, "Eve_99_assignsubmission_file_", origin=labs.LABS)
    (tmp_path / "roster.csv").write_text("id,name,group,email,section\n1,Ada Lovelace,,a@x,S1\n2,Ben,Group A,,\n"
                                         "3,Cem,Group A,,\n4,=Dot,,,S2\n")
    (tmp_path / "points.csv").write_text("student,lab,points,reason\na@x,05,3,seen at the desk\n")
    (tmp_path / "course.ini").write_text("[course]\nlabs = 05\nroster = roster.csv\noverrides = points.csv\n")
    done = grade(source, out, "--course", str(tmp_path / "course.ini"), "--student", "ben,group a")
    assert "2 submissions are not selected and not graded yet" in done.stderr, done.stderr
    assert {student["name"]: student["score"] for student in results(out)["students"]} == {"=Dot": 0, "Ben": 10, "Cem": 10}
    for _ in range(2):
        done = grade(source, out, "--course", str(tmp_path / "course.ini"))
        assert done.returncode == 0 and "1 of the roster handed in nothing: =Dot\n4 submissions graded" in done.stdout, done.stdout
        students = {student["name"]: student for student in results(out)["students"]}
        assert {name: student["score"] for name, student in students.items()} == {
            "=Dot": 0, "Ada Lovelace": 3, "Ben": 10, "Cem": 10, "Eve": 0}
        assert len({student["folder"] for student in students.values()}) == 5
    assert (students["Ada Lovelace"]["section"], students["Ben"]["group"], students["=Dot"]["platform_id"]) == ("S1", "Group A", "4")
    assert students["=Dot"]["labs"][LAB.name]["state"] == "missing" and "no student in the roster" in students["Eve"]["notes"][0]
    assert "seen at the desk" in (out / "students" / "Ada_Lovelace_1" / "report.html").read_text()
    assert "seen at the desk" in (out / "index.html").read_text()
    for name in "grades.csv", "moodle.csv", "canvas.csv":
        assert "'=Dot" in (out / name).read_text(), name
    rows = {row["student"]: row["score"] for row in csv.DictReader((out / "grades.csv").open(newline=""))}
    assert rows == {"'=Dot": "0", "Ada Lovelace": "3", "Ben": "10", "Cem": "10", "Eve": "0"}
    # Only one is handed in, and another has left the roster: Ben keeps the group's points, Dot's empty row goes.
    before = everything(out / "students" / "Ben_2" / "labs")
    shutil.rmtree(source / "Group A_17_assignsubmission_file_")
    (tmp_path / "roster.csv").write_text("id,name,email\n1,Ada Lovelace,a@x\n2,Ben\n")
    assert grade(source, out, "--course", str(tmp_path / "course.ini")).returncode == 0
    students = {student["name"]: (student["score"], student["kept"]) for student in results(out)["students"]}
    assert students == {"Ada Lovelace": (3, False), "Ben": (10, True), "Cem": (10, True), "Eve": (0, False)}
    assert everything(out / "students" / "Ben_2" / "labs") == before
    (tmp_path / "points.csv").write_text("student,lab,points,reason\nnobody,05,3,x\n")
    kept = json.dumps(results(out))
    done = grade(source, out, "--course", str(tmp_path / "course.ini"))
    assert done.returncode == 2 and "points.csv, line 2, student: 'nobody' is unknown" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and json.dumps(results(out)) == kept

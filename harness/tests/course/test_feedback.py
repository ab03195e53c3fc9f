"""Reports are packed as Moodle and Canvas assign them to students, and without names."""
import json
import re
import shutil
import zipfile

import pytest
from grading import grade, results

from shmlab import labs
from shmlab.course import feedback, results_directory
from shmlab.labs import UserError

SOURCE = {"right": labs.SOLUTIONS, "unchanged": labs.LABS}
MOODLE = ["Ada Lovelace_2001_assignsubmission_file_", "G_H & <b>_2002_assignsubmission_file_", "Ünal Öz_2003_assignsubmission_file_"]
CANVAS = ["lovelaceada_101_9001_sysv_create.c", "hoppergrace_LATE_102_9002_sysv_create-2.c", "anon_aB3xZ_9003_sysv_create.c",
          "LATE_anon_Q7_9004_sysv_create.c"]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A directory of results: students of Moodle, of Canvas, and one of neither."""
    directory = tmp_path_factory.mktemp("course")
    source = directory / "in"
    right = (labs.SOLUTIONS / "05_sysv_create" / "sysv_create.c").read_text()
    for name in MOODLE:
        (source / name).mkdir(parents=True)
        (source / name / "sysv_create.c").write_text(right)
    wrong = right.replace("IPC_CREAT | IPC_EXCL | MODE", "IPC_CREAT | MODE").replace("int main(", "int main(", 1)
    (source / MOODLE[0] / "sysv_create.c").write_text(wrong)
    (source / MOODLE[0] / "Lovelace.docx").write_text("x")
    for name in CANVAS:
        (source / name).write_text(right)
    (source / "ben").mkdir()
    (source / "ben" / "sysv_create.c").write_text(right)
    done = grade(source, directory / "out", "--lab", "05")
    assert done.returncode == 0, done.stderr
    return directory / "out"


def moodle_student(path):
    """What mod/assign/feedback/file/importziplib.php does with a path: returns the participant, the plugin and the file's name."""
    parts = path.split("/")
    if parts[-1].startswith((".", "~")):
        return None
    while parts:
        info = parts.pop(0).split("_", 4)
        if len(info) >= 4 and info[1].isdigit() and info[2:4] == ["assignsubmission", "file"]:
            return int(info[1]), "/".join([info[4] if len(info) > 4 else "", *parts]).lstrip("/")
    return None


def canvas_student(path):
    """What infer_comment_context_from_filename() of Canvas does: returns the student's id and that of the file."""
    parts = [part for part in path.split("/")[-1].split("_") if part != "LATE"]
    found = parts[1:3] if parts[0] == "anon" else [part for part in parts if re.fullmatch(r"\d+", part)][:2]
    return None if parts[-1].startswith("link") or path.startswith("._") else tuple(found)


def test_each_report_reaches_its_student_by_the_rules_of_the_platforms(graded, tmp_path, capsys):
    assert feedback.main(graded, tmp_path / "f", False) == 0
    told = capsys.readouterr().out
    assert "moodle-feedback.zip: 3 reports" in told and "canvas-feedback.zip: 4 reports" in told
    assert "return it yourself: the report of ben" in told and "in place" not in told
    with zipfile.ZipFile(tmp_path / "f" / "moodle-feedback.zip") as archive:
        pages = {moodle_student(name): archive.read(name).decode() for name in archive.namelist()}
        assert "Ada Lovelace_2001_assignsubmission_file_/report.html" in archive.namelist()
    assert set(pages) == {(2001, "report.html"), (2002, "report.html"), (2003, "report.html")}
    assert "<h1>Ada Lovelace: 9 of 10" in pages[2001, "report.html"] and "Ünal Öz" in pages[2003, "report.html"]
    with zipfile.ZipFile(tmp_path / "f" / "canvas-feedback.zip") as archive:
        assert sorted(map(canvas_student, archive.namelist())) == [("101", "9001"), ("102", "9002"), ("Q7", "9004"), ("aB3xZ", "9003")]
        assert "lovelaceada_101_9001_report.html" in archive.namelist()
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == ["canvas-feedback.zip", "moodle-feedback.zip"]
    feedback.main(graded, tmp_path / "f", False)
    assert capsys.readouterr().out.count("in place of the file that was there") == 2


def test_a_report_is_one_page_with_the_picture_of_the_first_failure(graded, tmp_path):
    feedback.main(graded, tmp_path, False)
    with zipfile.ZipFile(tmp_path / "moodle-feedback.zip") as archive:
        page = archive.read("Ada Lovelace_2001_assignsubmission_file_/report.html").decode()
    assert page.count("<svg") == 1 and not re.search(r"""(src|href)=["']?(?!#)|url\((?!#)|@import""", page)


def test_anonymous_reports_do_not_tell_whose_they_are(graded, tmp_path, capsys):
    feedback.main(graded, tmp_path, True)
    with zipfile.ZipFile(tmp_path / "anonymous-feedback.zip") as archive:
        pages = {name: archive.read(name).decode() for name in archive.namelist()}
    assert sorted(pages) == [f"report-{number:03}.html" for number in range(1, 9)]
    for name, page in pages.items():
        assert f"<h1>Report {int(name[7:10])}: " in page and "handed in" not in page.lower() and 'class="note"' not in page
        for student in results(graded)["students"]:
            for word in student["name"].split() + [student["folder"], student["platform_id"]]:
                assert not word or word in ("b", "&", "G_H") or not re.search(rf"\b{re.escape(word)}\b", re.sub("<[^>]*>", "", page)), word
    one = next(page for page in pages.values() if "9 of 10" in page)
    assert "IPC_EXCL and EEXIST" in one and "<svg" in one and len(one) > 9000, "what a group discusses is there"


def test_a_name_like_a_tag_or_with_signs_leaves_a_page_as_it_is():
    student = {"name": "style <b>", "folder": "style_b", "platform_id": "2", "id": "", "email": "", "login": "div", "group": ""}
    page = "<style>div { }</style><title>style &lt;b&gt;: C</title><div>div, style &lt;b&gt; and 22</div>"
    assert feedback.without_name(page, student, 7) == "<style>div { }</style><title>Report 7: C</title><div>…, Report 7 and 22</div>"


@pytest.mark.parametrize("name, first", [("a_b/c", "a b c"), ("..", "student"), ("x:y*z", "x y z"), ("Ada (2001)", "Ada (2001)")])
def test_a_name_does_not_change_whose_a_report_is(name, first):
    path = feedback.moodle_name({"name": name, "platform": "moodle", "platform_id": "2001"})
    assert path == f"{first}_2001_assignsubmission_file_/report.html" and moodle_student(path) == (2001, "report.html")
    entry = "Ada_2001_assignsubmission_file_"  # two students of one name are told apart in our tables only
    path = feedback.moodle_name({"name": name, "platform": "moodle", "platform_id": "2001", "entries": [entry]})
    assert path == f"{entry}/report.html"


def test_who_is_not_handed_in_now_keeps_the_name_of_the_file(graded):
    ada, = [one for one in results_directory.read(graded) if one.submission.platform_id == "101"]
    assert ada.submission.entries == ["lovelaceada_101_9001_sysv_create.c"]


@pytest.mark.parametrize("change, says", [
    (lambda out: (out / "results.json").unlink(), "there is no"),
    (lambda out: (out / "results.json").write_text("{"), "not as `make grade` wrote it"),
    (lambda out: (out / "results.json").write_text('{"version": 7}'), "version 7"),
    (lambda out: (out / "results.json").write_text('{"version": 1, "labs": []}'), "no list of labs or of students"),
    (lambda out: (out / "students" / "Ada_Lovelace_2001" / "report.html").unlink(), "report.html cannot be read"),
    (lambda out: results_directory.mark([], [], out, "now"), "has not ended"),
    (lambda out: edited(out, lambda data: [one.update(platform="") for one in data["students"]]), "ANONYMOUS=1 packs"),
])
def test_what_is_wrong_is_told_in_one_line_and_nothing_is_written(graded, tmp_path, change, says):
    out = tmp_path / "out"
    shutil.copytree(graded, out)
    change(out)
    with pytest.raises(UserError, match=re.escape(says)) as told:
        feedback.main(out, tmp_path / "f", False)
    assert "\n" not in str(told.value) and not (tmp_path / "f").exists()


def edited(out, change):
    data = results(out)
    change(data)
    (out / "results.json").write_text(json.dumps(data))

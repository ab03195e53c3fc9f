"""What Canvas and Moodle pack is understood as it is: who handed in what, also while it is still one archive."""
import io
import os
import random
import stat
import tempfile
import zipfile
from pathlib import Path

import pytest
from sample_course import packed, tarred
from grading import grade, results

from shmlab import labs
from shmlab.course import archive_reader, download, intake
from shmlab.labs import UserError
from shmlab.sandbox import tiers

LAB = labs.find("05")
SOURCE = (labs.SOLUTIONS / LAB.name / "sysv_create.c").read_bytes()


TREE = packed({f"labs/{LAB.name}/sysv_create.c": SOURCE})

#: An entry of a download; the student, the id and whether it is late.
CANVAS = {
    "lovelaceada_101_9001_sysv_create.c": ("lovelaceada", "101", False),
    "turingalan_LATE_102_9002_labs.zip": ("turingalan", "102", True),
    "van_der_bergjan_105_9003_sysv_create.c": ("van_der_bergjan", "105", False),
    "李小龍_106_9004_labs.zip": ("李小龍", "106", False),
    "anon_aB3xZ_9005_sysv_create.c": ("anon_aB3xZ", "anon_aB3xZ", False),
    "LATE_anon_Qq9Z1_9006_labs.zip": ("anon_Qq9Z1", "anon_Qq9Z1", True),
    "lovelaceada_107_9007_labs.zip": ("lovelaceada", "107", False),
    "textonly_109_text.html": ("textonly", "109", False),
}
MOODLE = {
    "Ada Lovelace_2001_assignsubmission_file/labs.zip": ("Ada Lovelace", "2001", None),
    "Ada Lovelace_2001_assignsubmission_onlinetext/onlinetext.html": ("Ada Lovelace", "2001", None),
    "Alan Turing_2002_assignsubmission_file_/sysv_create.c": ("Alan Turing", "2002", None),
    "Flat Flo_2005_assignsubmission_file_labs.zip": ("Flat Flo", "2005", None),
    "Flat Fred_2006_assignsubmission_file_sysv_create.c": ("Flat Fred", "2006", None),
    "Group A_17_assignsubmission_file/labs.zip": ("Group A", "17", None),
    "Only Text_2007_assignsubmission_onlinetext/onlinetext.html": ("Only Text", "2007", None),
    "Ada Lovelace_2008_assignsubmission_file/labs.zip": ("Ada Lovelace", "2008", None),
}


def content_of(name):
    return TREE if name.endswith(".zip") else SOURCE if name.endswith(".c") else b"<p>"


def submissions_of(source, target):
    """Returns the submissions, the notes on the whole, and what was taken in from each."""
    opened = download.Download(source)
    reader = archive_reader.ArchiveReader(tiers.choose_tier("auto"))
    try:
        found, notes = opened.submissions()
        taken = {one.name: intake.take(one, [LAB], target / one.directory, reader) for one in found}
    finally:
        reader.close()
        opened.close()
    assert opened.directory == source or not opened.directory.exists()
    return found, notes, taken


@pytest.mark.parametrize("form", ["unpacked", "in-a-directory", "itself", "within-a-directory", "packed-again", "beside-a-roster"])
@pytest.mark.parametrize("platform, entries", [("canvas", CANVAS), ("moodle", MOODLE)])
def test_downloads(platform, entries, form, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    if form == "unpacked":
        for name in entries:
            (source / name).parent.mkdir(exist_ok=True)
            (source / name).write_bytes(content_of(name))
    else:
        prefix = "submissions/" if form == "within-a-directory" else ""
        members = {prefix + name: content_of(name) for name in entries}
        archive = "all.tar.gz" if form == "packed-again" else "all.zip"
        (source / archive).write_bytes(tarred(members) if form == "packed-again" else packed(members))
        (source / ".DS_Store").touch()
        (source / "desktop.ini").touch()
        if form == "beside-a-roster":
            (source / "roster.csv").touch()
    found, notes, taken = submissions_of(source / "all.zip" if form == "itself" else source, tmp_path / "out")
    assert {(one.name.split(" (")[0], one.platform_id, one.late) for one in found} == set(entries.values())
    assert all(one.platform == platform for one in found) and len({one.directory for one in found}) == len(found)
    assert notes == ([] if form == "unpacked" else [f"{archive} was unpacked: it holds all submissions"]) + (
        ["roster.csv is not a submission: ignored"] if form == "beside-a-roster" else [])
    for name, one in taken.items():
        if "text" in name.lower():
            assert not one.labs and one.notes == ["only text typed on the platform was handed in, no file: it is not graded"]
        else:
            assert list(one.labs) == [LAB.name], (name, one)
    # Two students of one name are told apart by their ids, and every directory has the id.
    assert sum("there is another submission of the same name" in note for one in found for note in one.notes) == 2
    assert all(one.platform_id in one.directory for one in found) and all(one.directory.isascii() for one in found)
    assert {"canvas": "lovelaceada (107)", "moodle": "Ada Lovelace (2008)"}[platform] in taken


def test_the_archive_of_one_student_is_never_taken_apart(tmp_path):
    """Else its author could hand in for others."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "eve.zip").write_bytes(packed({"Ada_2001_assignsubmission_file/sysv_create.c": b"int main;"}))
    (tmp_path / "in" / "ada.zip").write_bytes(TREE)
    found, _, taken = submissions_of(tmp_path / "in", tmp_path / "out")
    assert [one.name for one in found] == ["ada", "eve"]
    assert "if it is one, name it with FROM=" in taken["eve"].notes[0] and not taken["ada"].notes
    # Alone, but not all of its entries are named by a platform.
    (tmp_path / "in" / "ada.zip").unlink()
    (tmp_path / "in" / "eve.zip").write_bytes(packed({"Ada_2001_assignsubmission_file/sysv_create.c": b"int main;", "x.c": b""}))
    assert [one.name for one in submissions_of(tmp_path / "in", tmp_path / "out")[0]] == ["eve"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_are_unsafe_or_too_large_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MAX_MEMBER", 100_000)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "../up_1_2_x.c", "/etc/abs_1_2_x.c", "c:\\drive_1_2_x.c", "n" * 300, "ada_1_9_sysv_create.c", "ada_1_9_sysv_create.c":
            archive.writestr(name, SOURCE)
        link = zipfile.ZipInfo("link_3_4_sysv_create.c")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("bomb_5_6_sysv_create.c", bytes(1 << 20))
        archive.writestr("xz_7_8_sysv_create.c", SOURCE, zipfile.ZIP_LZMA)
    (tmp_path / "all.zip").write_bytes(content.getvalue())
    os.utime(tmp_path / "all.zip", (1e9, 1e9))
    found, notes, taken = submissions_of(tmp_path / "all.zip", tmp_path / "out")
    assert [one.name for one in found] == ["ada", "bomb", "xz"] and taken["ada"].times == {LAB.name: 1e9}
    for says in "up_1_2", "abs_1_2", "drive_1_2", "nnnn", "symbolic link", "more than 0 MiB", "File exists", "way that is not read":
        assert any(says in note and "left out" in note for note in notes), (says, notes)
    assert {path.name for path in tmp_path.iterdir()} == {"all.zip", "out"}
    monkeypatch.setattr(download, "MAX_ALL", 50_000)
    with pytest.raises(UserError, match="all.zip unpacks to more than"):
        submissions_of(tmp_path / "all.zip", tmp_path / "out")


def test_a_download_is_graded_as_it_is(tmp_path):
    (tmp_path / "all.zip").write_bytes(packed({name: content_of(name) for name in CANVAS}))
    before = set(Path(tempfile.gettempdir()).glob("shmlab-download-*"))
    done = grade(tmp_path / "all.zip", tmp_path / "out", "--lab", "05")
    assert done.returncode == 0 and "all.zip was unpacked: it holds all submissions" in done.stdout, done
    data = results(tmp_path / "out")
    assert {one["platform_id"]: one["score"] for one in data["students"]} == {
        platform_id: 0 if name == "textonly" else 10 for name, platform_id, _ in CANVAS.values()}
    assert (tmp_path / "out" / "students" / "turingalan_102" / "report.html").exists()
    assert not set(Path(tempfile.gettempdir()).glob("shmlab-download-*")) - before  # another test may have one
    (tmp_path / "course.ini").write_text("[handed in]\nnobody = 2026-03-01\n")
    done = grade(tmp_path / "all.zip", tmp_path / "out", "--lab", "05", "--course", str(tmp_path / "course.ini"))
    assert done.returncode == 2 and "'nobody' is unknown" in done.stderr
    assert not set(Path(tempfile.gettempdir()).glob("shmlab-download-*")) - before  # another test may have one


@pytest.mark.parametrize("pack, name", [(packed, "all.zip"), (tarred, "all.tar.gz")])
def test_damaged_downloads_are_told_in_one_line(pack, name, tmp_path):
    whole = pack({name: content_of(name) for name in CANVAS})
    chance = random.Random(1)
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 30)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        (tmp_path / name).write_bytes(damaged[:chance.choice((len(damaged), chance.randrange(len(damaged))))])
        opened = None
        try:
            opened = download.Download(chance.choice((tmp_path, tmp_path / name)))
            assert opened.submissions()
        except UserError as told:
            assert "\n" not in str(told)
        finally:
            if opened:
                opened.close()


def test_what_is_no_download(tmp_path):
    (tmp_path / "one.zip").write_bytes(TREE)
    (tmp_path / "text.zip").write_bytes(b"x")
    (tmp_path / "empty.zip").write_bytes(packed({}))
    for name, says in ("one.zip", "one.zip' is itself one submission"), ("text.zip", "neither a directory nor an archive"), \
            ("empty.zip", "empty.zip' holds no submission"), ("nowhere", "there is no directory"):
        with pytest.raises(UserError, match=says) as told:
            submissions_of(tmp_path / name, tmp_path / "out")
        assert "\n" not in str(told.value) and "shmlab-download" not in str(told.value)


def test_a_directory_is_never_that_of_another_student(tmp_path):
    """Not in a run with other students either: a name that is shortened, or not in Latin letters, has a mark of its own."""
    directories = set()
    names = "李小龍", "王小明", "Åsa", "Asa", *("n" * 90 + end for end in "12"), *(f"Ada_{end}_assignsubmission_file" for end in "12")
    for name in names:
        (tmp_path / name / name).mkdir(parents=True)
        (one,), _ = intake.list_submissions(tmp_path / name)
        assert one.directory.isascii() and "/" not in one.directory and len(one.directory) < 80
        directories.add(one.directory)
    assert len(directories) == len(names)

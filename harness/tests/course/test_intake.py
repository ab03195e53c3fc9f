"""Intake finds submissions in any layout, copies them without following links, and notes what was unusual."""
import io
import os
import re
import tarfile
import time
import zipfile

import pytest

from shmlab import labs
from shmlab.course import archive_reader, intake
from shmlab.labs import UserError
from shmlab.sandbox import tiers

LAB = labs.find("05")
SOURCE = (labs.SOLUTIONS / LAB.name / "sysv_create.c").read_bytes()
LABS = list(labs.all_labs())


def taken_in(directory):
    """Copies the only submission of a directory. Returns its files by name, and all notes."""
    (one,), ignored = intake.list_submissions(directory)
    target = directory.parent / "taken"
    reader = archive_reader.ArchiveReader(tiers.choose_tier("auto"))
    taken = intake.take(one, LABS, target, reader)
    reader.close()
    files = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    return files, [*ignored, *taken.notes, *(note for notes in taken.labs.values() for note in notes)]


def put(directory, name, content=SOURCE):
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


RIGHT = {"05_sysv_create/sysv_create.c": SOURCE}


@pytest.mark.parametrize("name", [
    "ada/05_sysv_create/sysv_create.c", "ada/labs/05_sysv_create/sysv_create.c", "ada/sysv_create.c",
    "ada/homework/labs/05_sysv_create/sysv_create.c", "ada/05_sysv_create/05_sysv_create/sysv_create.c",
    "Ada Lovelace_4711_assignsubmission_file_/labs/05_sysv_create/sysv_create.c", "lovelaceada_12_345_sysv_create.c",
    "lovelaceada_LATE_12_345_sysv_create-2.c",
])
def test_usual_places(tmp_path, name):
    put(tmp_path / "in", name)
    files, notes = taken_in(tmp_path / "in")
    assert files == RIGHT and notes == []


@pytest.mark.parametrize("name, says", [
    ("ada/Lab5/sysv_create.c", "the directory Lab5 was taken as 05_sysv_create"),
    ("ada/5/sysv_create.c", "the directory 5 was taken"), ("ada/05-SysV-Create/sysv_create.c", "the directory 05-SysV-Create"),
    ("ada/05_sysv_create/Sysv_Create.c", "05_sysv_create/Sysv_Create.c was taken as sysv_create.c"),
    ("ada/05_sysv_create/sysv_create (1).c", "was taken as sysv_create.c"),
    ("ada/05_sysv_create/sysv_create_final.c", "was taken as sysv_create.c"),
    ("ada/05_sysv_create/sysv_create.c.txt", "was taken as sysv_create.c"),
    ("ada/05_sysv_create/main.c", "main.c was taken as sysv_create.c"), ("ada/lab 05/main.c", "was taken as"),
])
def test_wrong_names_are_guessed_and_noted(tmp_path, name, says):
    put(tmp_path / "in", name)
    files, notes = taken_in(tmp_path / "in")
    assert files == RIGHT and any(says in note for note in notes), notes


def archive_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)


def archive_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize("nested", [False, True], ids=["itself", "in-a-directory"])
def test_archives(tmp_path, suffix, nested):
    directory = tmp_path / "in" / ("ada" if nested else "")
    directory.mkdir(parents=True)
    members = [("labs/05_sysv_create/sysv_create.c", SOURCE), ("__MACOSX/labs/05_sysv_create/._sysv_create.c", b"x"),
               ("../../etc/08_posix_create/posix_create.c", b"int main;")]
    if suffix == ".zip":
        archive_zip(directory / f"ada{suffix}", members)
    else:
        archive_tar(directory / f"ada{suffix}", members, {".tar": "w", ".bz2": "w:bz2", ".xz": "w:xz"}.get(
            suffix[-4:] if suffix != ".tar.xz" else ".xz", "w:gz"))
    files, notes = taken_in(tmp_path / "in")
    assert files == {**RIGHT, "08_posix_create/posix_create.c": b"int main;"} and notes == []
    assert not list(tmp_path.rglob("etc"))


def test_archives_that_are_broken_or_far_too_large(tmp_path):
    directory = tmp_path / "in" / "ada"
    put(directory, "05_sysv_create/sysv_create.c")
    put(directory, "broken.zip", b"PK\x03\x04 and no more")
    put(directory, "broken.tar.gz", b"\x1f\x8b and no more")
    archive_tar(directory / "bomb.tar.gz", [(f"zeros{n}.c", bytes(64 << 20)) for n in range(6)])
    with zipfile.ZipFile(directory / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("08_posix_create/posix_create.c", bytes(50 << 20))
    began = time.monotonic()
    files, notes = taken_in(tmp_path / "in")
    assert time.monotonic() - began < 20 and files == RIGHT
    for name, says in ("broken.zip", "cannot be unpacked"), ("broken.tar.gz", "cannot be unpacked"), \
            ("bomb.tar.gz", "more than 256 MiB"), ("posix_create.c", "has 50 MiB"):
        assert any(name in note and says in note for note in notes), (name, notes)


def test_links_are_not_followed(tmp_path):
    put(tmp_path / "in", "ada/05_sysv_create/sysv_create.c")
    directory = tmp_path / "in" / "ada"
    (directory / "08_posix_create").symlink_to(labs.SOLUTIONS / "08_posix_create")
    (directory / "05_sysv_create" / "page_size.c").symlink_to(labs.SOLUTIONS / "01_page_size" / "page_size.c")
    (tmp_path / "in" / "eve").symlink_to(labs.SOLUTIONS)
    with tarfile.open(directory / "links.tar", "w") as archive:
        info = tarfile.TarInfo("06_sysv_attach/sysv_attach.c")
        info.type, info.linkname = tarfile.SYMTYPE, str(labs.SOLUTIONS / "06_sysv_attach" / "sysv_attach.c")
        archive.addfile(info)
    files, notes = taken_in(tmp_path / "in")
    assert files == RIGHT and sum("link" in note for note in notes) == 4, notes


@pytest.mark.parametrize("content, taken, says", [
    (b"\xef\xbb\xbf" + SOURCE, True, None), (SOURCE.replace(b"\n", b"\r\n"), True, None),
    (SOURCE.decode().encode("utf-16"), True, "UTF-16"), (b"\x7fELF\0\0", False, "binary file"),
    (b"x" * (3 << 20), False, "has 3 MiB"), (b"", True, "is empty"), (SOURCE.decode().encode("utf-16-le"), True, "UTF-16"),
    (SOURCE.decode().encode("utf-16-be"), True, "UTF-16"), (SOURCE.replace(b"\n", b"\r"), True, "as old Macs did"),
], ids=["bom", "crlf", "utf-16", "binary", "huge", "empty", "utf-16-le", "utf-16-be", "cr"])
def test_what_is_in_the_file(tmp_path, content, taken, says):
    put(tmp_path / "in", "ada/05_sysv_create/sysv_create.c", content)
    files, notes = taken_in(tmp_path / "in")
    assert bool(files) == taken and (any(says in note for note in notes) if says else notes == [])


def test_pipes_and_directories_for_files(tmp_path):
    directory = tmp_path / "in" / "ada" / "05_sysv_create"
    directory.mkdir(parents=True)
    os.mkfifo(directory / "sysv_create.c")
    (directory.parent / "08_posix_create" / "posix_create.c").mkdir(parents=True)
    files, notes = taken_in(tmp_path / "in")
    assert files == {} and any("is not a file" in note for note in notes) and any("no file of any lab" in note for note in notes)


def test_a_huge_tree_is_looked_at_in_part(tmp_path):
    for number in range(60):
        directory = tmp_path / "in" / "ada" / "z" / str(number)
        directory.mkdir(parents=True)
        for name in range(100):
            (directory / f"{name}.txt").touch()
    put(tmp_path / "in", "ada/05_sysv_create/sysv_create.c")
    files, notes = taken_in(tmp_path / "in")
    assert files == RIGHT and any("more than 5000 files" in note for note in notes)


def test_two_programs_of_one_name_and_headers_beside(tmp_path):
    put(tmp_path / "in", "ada/05_sysv_create/sysv_create.c", b'#include "own.h"\n')
    put(tmp_path / "in", "ada/05_sysv_create/own.h", b"/* mine */\n")
    put(tmp_path / "in", "ada/05_sysv_create/sysv_create.h", b"/* named after the program */\n")
    put(tmp_path / "in", "ada/old/05_sysv_create/sysv_create.c", b"old")
    files, notes = taken_in(tmp_path / "in")
    assert files == {"05_sysv_create/sysv_create.c": b'#include "own.h"\n', "05_sysv_create/own.h": b"/* mine */\n",
                     "05_sysv_create/sysv_create.h": b"/* named after the program */\n"}
    assert any("more than once" in note for note in notes)


def test_students_of_one_name(tmp_path):
    for name in "ada", "Ada", "x_1_assignsubmission_file_", "x_2_assignsubmission_file_", "müller", "mu\u0308ller", "a b", "a_b":
        put(tmp_path / "in", f"{name}/sysv_create.c")
    archive_zip(tmp_path / "in" / "ada.zip", [("sysv_create.c", SOURCE)])
    found, _ = intake.list_submissions(tmp_path / "in")
    assert len(found) == 9 and len({one.directory.casefold() for one in found}) == 9 and len({one.name for one in found}) == 9
    assert sum(any("same name" in note for note in one.notes) for one in found) == 7
    assert all(one.directory.isascii() and "/" not in one.directory for one in found)


def test_a_second_copy_of_a_students_archive_is_noted(tmp_path):
    for name in "ada", "ada (1)", "ada(2)", "ben":
        archive_zip(tmp_path / f"{name}.zip", [("sysv_create.c", SOURCE)])
    found, _ = intake.list_submissions(tmp_path)
    notes = {one.name: one.notes for one in found}
    assert notes.pop("ben") == [] and all(len(of_one) == 1 for of_one in notes.values())
    assert "it may be the same student as ada (1), ada(2): each is graded separately" in notes["ada"][0]


def test_a_hidden_directory_is_told_of(tmp_path):
    for name in "ada", ".ben", ".git", "build":
        put(tmp_path, f"{name}/sysv_create.c")
    found, notes = intake.list_submissions(tmp_path)
    assert [one.name for one in found] == ["ada"] and notes == [
        ".ben is hidden and was ignored: rename it if it is a student's",
        "build has the name of a build directory and was ignored: rename it if it is a student's"]


def test_what_is_no_submission(tmp_path):
    put(tmp_path / "in", "ada/sysv_create.c")
    put(tmp_path / "in", "grades.xlsx", b"x")
    put(tmp_path / "in", ".DS_Store", b"x")
    assert taken_in(tmp_path / "in")[1] == [
        "grades.xlsx is neither a directory nor an archive (.zip, .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz): ignored"]
    (tmp_path / "empty").mkdir()
    for directory, says in (tmp_path / "empty", "holds no submission"), (tmp_path / "nowhere", "there is no directory"), \
            (labs.SOLUTIONS, "is itself one submission"), (labs.ROOT, "is itself one submission"):
        with pytest.raises(UserError, match=says):
            intake.list_submissions(directory)


# ---- what is hostile ----------------------------------------------------------------------------------------


def pax(path, headers, name="05_sysv_create/sysv_create.c", content=SOURCE):
    """Writes a tar archive with one member and these extended headers."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size, info.pax_headers = len(content), headers
        archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("when", ["nan", "inf", "-1e300", "1e300", "-5", "0"])
def test_the_time_of_an_archive_counts_and_not_what_it_says(tmp_path, when):
    (tmp_path / "in").mkdir()
    pax(tmp_path / "in" / "eve.tar", {"mtime": when})
    os.utime(tmp_path / "in" / "eve.tar", (1e9, 1e9))
    (one,), _ = intake.list_submissions(tmp_path / "in")
    reader = archive_reader.ArchiveReader(tiers.choose_tier("auto"))
    taken = intake.take(one, LABS, tmp_path / "taken", reader)
    reader.close()
    assert taken.times == {LAB.name: 1e9}


def test_a_time_on_the_disk_that_is_no_date(tmp_path):
    path = put(tmp_path / "in", "ada/05_sysv_create/sysv_create.c")
    os.utime(path, (1e12, 1e12))
    files, notes = taken_in(tmp_path / "in")
    assert files == RIGHT and notes == ["the time of its files is no date: it counts as handed in on time"]


def test_names_that_are_too_long_or_slow_to_match(tmp_path):
    (tmp_path / "in").mkdir()
    archive_zip(tmp_path / "in" / "eve.zip", [
        ("05_sysv_create/sysv_create.c", SOURCE), ("05_sysv_create/" + "A" * 300 + ".h", b"x"),
        ("05_sysv_create/" + "B" * 200 + ".h", b"x"), *((f"05_sysv_create/{'1' * n}{'- (1)' * n}x.c", b"x") for n in (24, 40))])
    began = time.monotonic()
    files, notes = taken_in(tmp_path / "in")
    assert time.monotonic() - began < 10 and files[f"{LAB.name}/sysv_create.c"] == SOURCE
    assert any("more than 255 bytes" in note for note in notes) and any("more than 100 bytes" in note for note in notes), notes
    assert all(len(name) < 200 for name in files)


def nested(levels):
    """An archive in an archive in an archive …"""
    name, content = "05_sysv_create/sysv_create.c", SOURCE
    for level in range(levels):
        packed = io.BytesIO()
        archive_zip(packed, [(name, content)])
        name, content = f"level{level}.zip", packed.getvalue()
    return content


def test_archives_in_archives_share_one_budget(tmp_path):
    put(tmp_path / "in", "ada.zip", nested(3))
    assert taken_in(tmp_path / "in")[0] == RIGHT
    put(tmp_path / "in", "ada.zip", nested(4))
    files, notes = taken_in(tmp_path / "in")
    assert files == {} and any("an archive in an archive in an archive" in note for note in notes)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.tar", bytes(12 << 20))
    with zipfile.ZipFile(tmp_path / "in" / "ada.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("05_sysv_create/sysv_create.c", SOURCE)
        for number in range(64):
            archive.writestr(f"{number}.zip", bomb.getvalue())
    files, notes = taken_in(tmp_path / "in")
    # On a slow machine its time is over first. What stands before the bomb counts all the same.
    assert files == RIGHT and any("more than 256 MiB" in note or "5 s of processor time" in note for note in notes), notes


def test_many_sources_many_members_and_encrypted_ones(tmp_path):
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "eve.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("05_sysv_create/sysv_create.c", SOURCE)
        for number in range(8):
            archive.writestr(f"05_sysv_create/a{number}.c", b" " * (1 << 20))
    files, notes = taken_in(tmp_path / "in")
    assert files[f"{LAB.name}/sysv_create.c"] == SOURCE and any("more than 2 MiB" in note for note in notes)
    archive_zip(tmp_path / "in" / "eve.zip", [("05_sysv_create/sysv_create.c", SOURCE), *((f"x/{n}.h", b"") for n in range(6000))])
    files, notes = taken_in(tmp_path / "in")
    assert files == RIGHT and any("more than 5000 members" in note for note in notes), notes
    archive_zip(tmp_path / "in" / "eve.zip", [("05_sysv_create/sysv_create.c", SOURCE)])
    raw = bytearray((tmp_path / "in" / "eve.zip").read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "in" / "eve.zip").write_bytes(raw)
    files, notes = taken_in(tmp_path / "in")
    assert files == {} and any("is encrypted" in note for note in notes)


@pytest.mark.parametrize("program, says", [
    ("while True: pass", "more than 5 s of processor time"), ("x = bytearray(b'x' * (900 << 20))", "ended early|memory"),
    ("import sys\nwhile True: sys.stdout.write('{}\\n')", "invalid output|ended early|processor time"), ("", "ended early"),
    ("import os\nos.kill(os.getppid(), 9)\nprint(open('/etc/shadow').read())", "invalid output|ended early")])
def test_whatever_reading_an_archive_does_its_student_gets_a_note(program, says, tmp_path, monkeypatch):
    (tmp_path / "reader.py").write_text(program)
    monkeypatch.setattr(archive_reader, "PROGRAM", tmp_path / "reader.py")
    put(tmp_path / "in", "eve.zip", b"")
    put(tmp_path / "in", "ada/05_sysv_create/sysv_create.c")
    reader = archive_reader.ArchiveReader(tiers.choose_tier("auto"))
    taken = {one.name: intake.take(one, LABS, tmp_path / one.name, reader) for one in intake.list_submissions(tmp_path / "in")[0]}
    reader.close()
    assert re.search(f"eve.zip cannot be unpacked: .*({says})", taken["eve"].notes[0]), taken
    assert taken["ada"].labs == {LAB.name: []} and not taken["ada"].notes


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"path": ["..", "x.c"], "size": 1, "content": ""}', b'{"path": ["a/b"], "size": 1}',
                                  b'{"path": ["x.c"], "size": -1, "content": ""}', b'{"path": ["x.c"], "size": 1, "content": "?"}',
                                  b'{"path": [], "size": 1, "content": ""}', b'{"path": ["x.c"], "size": 1, "content": 5}', b"\xff"])
def test_what_the_reader_of_an_archive_says_is_checked(line):
    with pytest.raises(ValueError):  # binascii.Error is one, too
        archive_reader._read_line(archive_reader.Unpacked(), line)


def test_one_named_like_a_lab_is_a_student(tmp_path):
    put(tmp_path / "in", "ada/05_sysv_create/sysv_create.c")
    (tmp_path / "in" / "05_sysv_create").mkdir()
    found, _ = intake.list_submissions(tmp_path / "in")
    assert [one.name for one in found] == ["05_sysv_create", "ada"]


def test_names_are_shown_without_their_commands(tmp_path):
    for name in "\x1b[31mred", "a\nb", "\u202egnp", "x" * 150:
        put(tmp_path / "in", f"{name}.zip", b"")
    found, _ = intake.list_submissions(tmp_path / "in")
    assert len(found) == 4 and all(one.name.isprintable() and len(one.name) <= 101 and one.notes for one in found), found


def test_what_a_spreadsheet_would_run_is_quoted():
    from shmlab.course.exports import FORMULA

    run = "=1", "+1", "@SUM(1)", "-2+3", "\t=1", "\uff1d1", " =1", "-a"
    assert all(FORMULA.match(text) for text in run) and not any(FORMULA.match(text) for text in ("-2", "-2.50", "ada", "1-2", ""))


def test_the_platforms_mark_decides_what_is_late(tmp_path):
    """Canvas says LATE or says nothing; the time of its file is that of the download."""
    for name in "lovelaceada_12_345_sysv_create.c", "hopper_LATE_13_346_sysv_create.c":
        put(tmp_path / "in", name)
    found, _ = intake.list_submissions(tmp_path / "in")
    assert {one.name: one.late for one in found} == {"lovelaceada": False, "hopper": True}
    put(tmp_path / "moodle", "Ada Lovelace_4711_assignsubmission_file_/05_sysv_create/sysv_create.c")
    assert [one.late for one in intake.list_submissions(tmp_path / "moodle")[0]] == [None]

"""Of what a student handed in, the right files are graded: not older versions, not skeletons; and a lab without points has a note."""
import os
import time

import pytest
from sample_course import packed, tarred

from shmlab import labs
from shmlab.course import archive_reader, choice, intake
from shmlab.sandbox import tiers

L5, L8, L11 = (labs.find(number) for number in ("05", "08", "11"))


def of(lab, root=labs.SOLUTIONS):
    return {path.name: path.read_bytes() for path in sorted((root / lab.name).glob("*.[ch]"))}


R5, R8, R11 = of(L5), of(L8), of(L11)
S5, S11 = of(L5, labs.LABS), of(L11, labs.LABS)
SYSV, POSIX = R5["sysv_create.c"], R8["posix_create.c"]
OLD = b"/* an older version */\n" + SYSV


def tree(*, prefix="", **files):
    """Files below the directories of their labs: tree(l5=..., l11=...)."""
    lab = {"l5": L5, "l8": L8, "l11": L11}
    return {f"{prefix}{lab[number].name}/{name}": content for number, some in files.items() for name, content in some.items()}


RIGHT = tree(l5=R5, l8=R8, l11=R11)
UTF16 = SYSV.decode().encode("utf-16-le")
HEADERS = b'/*\n#include "a.h"\n*/\n#include "stdio.h"\n  #  include "stddef.h"\n'
V1, V2 = packed(tree(l5={"sysv_create.c": OLD})), packed(tree(l5=R5))

#: What one student hands in; what must be graded, by lab; what a note says (every one of these), or None: there is no note.
COURSE = {
    "two archives": ({"lab.zip": V1, "lab (1).zip": V2}, tree(l5=R5), ["lab (1).zip was graded, not lab.zip"]),
    "versions": ({"lab_v1.zip": V1, "lab_v2.zip": V2}, tree(l5=R5), ["lab_v2.zip was graded, not lab_v1.zip"]),
    "ten versions": ({"lab v9.zip": V1, "lab v10.zip": V2}, tree(l5=R5), ["lab v10.zip was graded, not lab v9.zip"]),
    "a number before a date": ({"lab_v2_2026-11-01.zip": V2, "lab_v1_2026-11-09.zip": V1}, tree(l5=R5),
                               ["lab_v2_2026-11-01.zip was graded"]),
    "dates": ({"lab-2026-11-09.zip": V1, "lab-2026-11-10.zip": V2}, tree(l5=R5), ["lab-2026-11-10.zip was graded, not lab-2026-11-09.zip"]),
    "other dates": ({"9.11.2026 lab.zip": V1, "10.11.2026 lab.zip": V2}, tree(l5=R5), ["10.11.2026 lab.zip was graded"]),
    "an old one": ({"lab.zip": V2, "lab_old.zip": V1}, tree(l5=R5), ["lab.zip was graded, not lab_old.zip"]),
    "directories": ({**tree(prefix="work v1/", l5={"sysv_create.c": OLD}, l8=R8), **tree(prefix="work v2/", l5=R5)}, tree(l5=R5),
                    ["work v2 was graded, not work v1"]),
    "never a mix": ({"lab_v1.zip": packed(tree(l11=R11, l8=R8)), "lab_v2.zip": packed(tree(l11={"writer.c": R11["writer.c"]}))},
                    tree(l11={"writer.c": R11["writer.c"]}), ["lab_v2.zip was graded, not lab_v1.zip", "missing: reader.c and pair.h"]),
    "archives in an archive": ({"all.zip": packed({"lab_v1.zip": V1, "lab_v2.zip": V2})}, tree(l5=R5), ["not all.zip/lab_v1.zip"]),
    "an untouched newer version": ({"lab_v1.zip": V2, "lab_v2.zip": packed(tree(l5=S5))}, tree(l5=R5),
                                   ["lab_v2.zip/05_sysv_create/sysv_create.c is still as it was handed out", "though it is older"]),
    "one archive a lab": ({"lab05.zip": packed(R5), "lab08.zip": packed(R8), "lab-11.zip": packed(R11)}, RIGHT, ["lab05.zip was taken as"]),
    "one archive a part": ({"part 1.zip": packed(tree(l11={"reader.c": R11["reader.c"], "pair.h": R11["pair.h"]})),
                            "part 2.zip": packed(tree(l11={"writer.c": R11["writer.c"]}))}, tree(l11=R11), None),
    "versions of a file": ({"sysv_create.c": OLD, "sysv_create (1).c": SYSV}, tree(l5=R5),
                           ["sysv_create (1).c was graded, not sysv_create.c"]),
    "a copy": ({"sysv_create - Copy.c": OLD, "sysv_create.c": SYSV}, tree(l5=R5), ["graded, not sysv_create - Copy.c"]),
    "skeleton beside": ({**tree(prefix="lab/labs/", l5=S5), "sysv_create.c": SYSV}, tree(l5=R5),
                        ["lab/labs/05_sysv_create/sysv_create.c is still as it was handed out: sysv_create.c was graded"]),
    "skeleton with other line ends": ({**tree(prefix="labs/", l5={"sysv_create.c": S5["sysv_create.c"].replace(b"\n", b" \r\n")}),
                                       "mine/sysv_create.c": SYSV}, tree(l5=R5), ["mine/sysv_create.c was graded"]),
    "solutions do not count": ({**tree(prefix="labs/", l5=S5), **tree(prefix="solutions/", l5=R5)}, tree(l5=S5),
                               ["labs/05_sysv_create/sysv_create.c was graded, not solutions/05_sysv_create/sysv_create.c"]),
    "solutions beside one's own": ({**tree(prefix="labs/", l5={"sysv_create.c": OLD}), **tree(prefix="solutions/", l5=R5)},
                                   tree(l5={"sysv_create.c": OLD}), None),
    "another one in no directory": ({**tree(prefix="labs/", l5=R5), "sysv_create.c": OLD}, tree(l5=R5),
                                    ["labs/05_sysv_create/sysv_create.c was graded, not sysv_create.c"]),
    "seven zip": ({"work.7z": b"7z", **tree(l5=S5)}, tree(l5=S5), ["work.7z is packed in a form that is not read"]),
    "rar in a zip": ({"all.zip": packed({"work.rar": b"Rar!"})}, {}, ["all.zip/work.rar is packed in a form that is not read"]),
    "single files": ({"sysv_create.c.gz": b"x", "a.bz2": b"x", "a.tar.zst": b"x"}, {}, [".c.gz is packed", "a.bz2 is", "a.tar.zst is"]),
    "git bundle": ({"work.bundle": b"x"}, {}, ["work.bundle is a git bundle, which is not read"]),
    "bare git": ({"HEAD": b"ref:", "objects/x": b""}, {}, ["git repository without its working tree"]),
    "wrong ending": ({"a.zip": tarred(RIGHT)}, RIGHT, None),
    "other wrong ending": ({"a.tar.gz": packed(RIGHT)}, RIGHT, None),
    "no header": (tree(l11={n: R11[n] for n in ("reader.c", "writer.c")}), tree(l11={n: R11[n] for n in ("reader.c", "writer.c")}),
                  ["missing: pair.h"]),
    "renamed header": ({"reader-2.c": R11["reader.c"], "writer-2.c": R11["writer.c"], "pair-2.h": R11["pair.h"]}, tree(l11=R11),
                       ["pair-2.h was taken as pair.h: hand it in under that name"]),
    "header elsewhere": ({**tree(l11={n: R11[n] for n in ("reader.c", "writer.c")}), "include/pair.h": R11["pair.h"]}, tree(l11=R11),
                         ["include/pair.h was taken as pair.h: hand it in beside the programs"]),
    "headers that need no note": (tree(l5={"sysv_create.c": HEADERS}), tree(l5={"sysv_create.c": HEADERS}), None),
    "header in a directory": (tree(l5={"sysv_create.c": b'#include "inc/all.h"\n', "inc/all.h": SYSV}),
                              tree(l5={"sysv_create.c": b'#include "inc/all.h"\n'}), ["inc/all.h was not taken: hand it in beside"]),
    "c++": (tree(l5={"sysv_create.cpp": SYSV}, l8={"posix_create.C": POSIX}), tree(l8=R8),
            ["sysv_create.cpp is C++: hand in sysv_create.c", "posix_create.C was taken as posix_create.c"]),
    "text": (tree(l11={"reader.c.txt": R11["reader.c"], "writer.txt": R11["writer.c"], "pair.h": R11["pair.h"]}),
             tree(l11={n: R11[n] for n in ("reader.c", "pair.h")}), ["missing: writer.c", "writer.txt is a text file: hand in writer.c"]),
    "documents": ({"a.zip": packed(tree(l5={"sysv_create.c.docx": b"PK", "sysv_create.pdf": b"%PDF"}))}, {},
                  ["sysv_create.c.docx is a document: hand in sysv_create.c", "sysv_create.pdf is a document", "missing: sysv_create.c"]),
    "of another lab": (tree(l5={"posix_create.c": POSIX}), tree(l8=R8), ["posix_create.c is a program of 08_posix_create",
                       "05_sysv_create/posix_create.c was taken as posix_create.c of 08_posix_create"]),
    "utf-16 without a mark": (tree(l5={"sysv_create.c": UTF16}), tree(l5=R5), ["is UTF-16 text"]),
    "too deep": (tree(prefix="1/2/3/4/5/6/7/8/", l5=R5), {}, ["more than 8 directories deep"]),
    "too deep in a zip": ({"a.zip": packed(tree(prefix="1/2/3/4/5/6/7/8/", l5=R5))}, {}, ["more than 8 directories deep"]),
    "nothing": ({}, {}, ["it is empty: no file was handed in"]),
    "an empty zip": ({"a.zip": packed({})}, {}, ["no file of any lab"]),
    "much junk": ({**{f"junk/{number:05}.txt": b"" for number in range(5200)}, **tree(prefix="labs/", l5=R5)}, tree(l5=R5), ["5000 files"]),
}


@pytest.fixture(scope="module")
def reader():
    made = archive_reader.ArchiveReader(tiers.choose_tier("auto"))
    yield made
    made.close()


def put(directory, files):
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def taken_from(source, target, reader):
    """Takes in the only submission of a directory. Returns its files and all notes."""
    (one,), _ = intake.list_submissions(source)
    taken = intake.take(one, list(labs.all_labs()), target, reader)
    files = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert set(taken.labs) == {name.split("/")[0] for name in files}
    return files, [*taken.notes, *(note for notes in taken.labs.values() for note in notes)]


@pytest.mark.parametrize("name", COURSE)
def test_the_right_files_are_taken_and_notes_say_why(name, tmp_path, reader):
    handed_in, wanted, says = COURSE[name]
    put(tmp_path / "in" / "ada", handed_in)
    files, notes = taken_from(tmp_path / "in", tmp_path / "out", reader)
    # A header without a lab goes with every program beside it; it does no harm there.
    files = {path: content for path, content in files.items() if path.endswith(".c") or path in wanted}
    assert files == wanted, (files.keys(), notes)
    assert notes == [] if says is None else all(any(text in note for note in notes) for text in says), notes
    assert wanted or notes, "a lab without points has a note"


def test_of_archives_whose_names_do_not_tell_the_newer_one_counts(tmp_path, reader):
    put(tmp_path / "in" / "ada", {"lab.zip": V1, "lab.tar.gz": tarred(tree(l5=R5))})
    for name, when in ("lab.zip", 1e9), ("lab.tar.gz", 2e9):
        os.utime(tmp_path / "in" / "ada" / name, (when, when))
    files, notes = taken_from(tmp_path / "in", tmp_path / "out", reader)
    assert files == tree(l5=R5) and "lab.tar.gz was graded, not lab.zip" in notes[0]


@pytest.mark.parametrize("old, new", [("labs.zip", "labs-1.zip"), ("labs-1.zip", "labs-2.zip"), ("lab.zip", "lab-1.zip"),
                                      ("sysv_create.c", "sysv_create-1.c"), ("sysv_create-1.c", "sysv_create-2.c")])
def test_what_canvas_counts_is_a_version(old, new, tmp_path, reader):
    put(tmp_path / "in", {f"ada_1_2_{old}": V1 if old.endswith(".zip") else OLD, f"ada_1_3_{new}": V2 if new.endswith(".zip") else SYSV})
    files, notes = taken_from(tmp_path / "in", tmp_path / "out", reader)
    assert files == tree(l5=R5) and len(notes) == 1 and f"{new} was graded, not {old}" in notes[0]


@pytest.mark.parametrize("name", ["ada.7z", "ada.rar", "ada.tar.zst", "ada.c.gz", "ada.bundle", "ada_1_2_labs.rar", "ada_1_2_essay.docx",
                                  "ada_1_assignsubmission_file_labs.7z"])
def test_what_is_not_read_is_a_student_without_points(name, tmp_path, reader):
    put(tmp_path / "in", {name: b"x"})
    files, notes = taken_from(tmp_path / "in", tmp_path / "out", reader)
    assert files == {} and any("is not read" in note or "no file of any lab" in note for note in notes)


def test_a_student_with_the_name_of_a_build_directory_is_noted(tmp_path):
    put(tmp_path / "in", {"build/sysv_create.c": SYSV, "ada/sysv_create.c": SYSV})
    found, notes = intake.list_submissions(tmp_path / "in")
    assert [one.name for one in found] == ["ada"] and "build has the name of a build directory and was ignored" in notes[0]


def test_notes_are_harmless_and_not_too_many(tmp_path, reader):
    put(tmp_path / "in" / "eve", {"05_sysv_create/sysv_create \x1b[31m.c": SYSV, **{f"\x1b\u202e{n}.7z": b"" for n in range(100)}})
    files, notes = taken_from(tmp_path / "in", tmp_path / "out", reader)
    assert files == tree(l5=R5) and 20 < len(notes) < 40 and any("70 more notes" in note for note in notes)
    assert all(note.isprintable() and len(note) <= 501 for note in notes), notes


@pytest.mark.parametrize("name", ["a {}/sysv_create.c", "a{}/sysv_create ({}).c", "sysv_create {}.c", "{}/{}.c", "a ({})/v{}/a{}.h"])
def test_many_versions_take_little_time(name):
    one = [choice.SourceFile(intake.PurePosixPath(name.format(n, n, n)), len(SYSV), 0.0, lambda: SYSV) for n in range(4900)]
    began = time.process_time()
    versions = choice.newest(one, [])
    for lab in labs.all_labs():
        choice.choose(lab, versions)
    assert time.process_time() - began < 20


@pytest.mark.parametrize("stem, base, numbers, date", [
    ("lab", "lab", (), ""), ("lab (1)", "lab", (1,), ""), ("lab_v2", "lab", (2,), ""), ("lab-2", "lab", (2,), ""),
    ("lab05", "lab05", (), ""), ("lab-05", "lab-05", (), ""), ("lab_v2 (1)", "lab", (2, 1), ""), ("lab version 3 final", "lab", (3,), ""),
    ("lab_2026-11-19", "lab", (), "2026-11-19 "), ("20261119_lab", "_lab", (), "2026-11-19 "), ("lab 9.11.2026", "lab", (), "2026-11-09 "),
    ("lab_2026-11-19_23-59", "lab", (), "2026-11-19 2359"), ("(1)", "(1)", (), ""), ("11", "11", (), "")])
def test_what_a_name_tells_of_its_version(stem, base, numbers, date):
    found, version, _ = choice.version_of(stem)
    assert (found, version.numbers, version.date) == (base, numbers, date)


@pytest.mark.parametrize("name, is_there", [
    ("sys/shm.h", True), ("stdatomic.h", True), ("stdio.h", True), ("nothing.h", False), ("/usr/include/stdio.h", False),
    ("sys/../stdio.h", False), ("/proc/1/root/etc/shadow", False), ("x" * 300, False), ("", False)])
def test_a_header_of_the_machine_is_looked_for_among_its_headers_only(name, is_there):
    assert choice._is_of_system(name) is is_there

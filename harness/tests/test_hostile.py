"""Hostile programs: each gets its points and its sentence, harms nobody who is graded beside it, and leaves nothing."""
import html
import os
import pwd
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from test_grade import grade, machine, results

from shmlab import gallery, labs

ATTACKS = gallery.hostile()
NEIGHBOURS = ["01", "05", "08", "09"]


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_introduces_itself(attack):
    head = attack.path.read_text(encoding="utf-8").splitlines()
    assert head[:2] == ["/**", " * @file"] and head[2].startswith(" * @brief Hostile: ")
    assert [line.split(":")[0] for line in head[3:6]][: 3 if attack.says else 2] == [
        " * Instead of", " * Score", " * Says"][: 3 if attack.says else 2]
    assert attack.title.endswith(".") and re.fullmatch(r"[a-z0-9_]+", attack.path.stem)
    assert attack.program in attack.lab.programs and 0 <= attack.score <= 10 and (attack.says or attack.score == 10 or attack.score < 10)


def course_of(folder: Path) -> None:
    """Each hostile program is a student of its own, and one more has done the labs that most of them attack."""
    for attack in ATTACKS:
        attack.apply(folder / attack.path.stem)
    for number in NEIGHBOURS:
        lab = labs.find(number)
        shutil.copytree(labs.SOLUTIONS / lab.name, folder / "neighbour" / "labs" / lab.name)


def what_went_wrong(out: Path) -> dict:
    """Students whose points or words are not the right ones, and what they are."""
    wrong = {}
    records = {record["name"]: record for record in results(out)["students"]}
    for attack in ATTACKS:
        record = records[attack.path.stem]
        graded = record["labs"][attack.lab.name]
        told = html.unescape((out / "students" / record["folder"] / "report.html").read_text(encoding="utf-8"))
        if graded["score"] != attack.score or "error" in graded["checks"].values() or attack.says not in told:
            wrong[attack.path.stem] = graded["score"], attack.score, attack.says in told, {
                check: state for check, state in graded["checks"].items() if state != "passed"}
    for number in NEIGHBOURS:
        if records["neighbour"]["labs"][labs.find(number).name]["score"] != 10:
            wrong["neighbour", number] = records["neighbour"]["labs"][labs.find(number).name]
    return wrong


def test_points_words_and_neighbours(tmp_path):
    course_of(tmp_path / "in")
    before = machine()
    done = grade(tmp_path / "in", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert what_went_wrong(tmp_path / "out") == {} and machine() == before


@pytest.mark.skipif(os.getuid() != 0, reason="as an ordinary user the test above is this test")
def test_the_same_as_an_ordinary_user():
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        for name in "labs", "solutions", "harness", "docs":
            shutil.copytree(labs.ROOT / name, folder / "project" / name, ignore=shutil.ignore_patterns("__pycache__"))
        course_of(folder / "in")
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)

        def become():
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)

        before = machine()
        done = grade(folder / "in", folder / "out", root=folder / "project", preexec_fn=become,
                     env={"HOME": str(folder), "SHMLAB_BUILD": str(folder / "build")})
        assert done.returncode == 0, done.stdout + done.stderr
        assert what_went_wrong(folder / "out") == {} and machine() == before

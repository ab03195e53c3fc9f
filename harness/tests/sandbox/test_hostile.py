"""Each hostile program gets its score and its message, does not affect other students, and leaves nothing behind."""
import html
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest
import running
from grading import grade_elsewhere, machine, results

from shmlab import gallery, labs

ATTACKS = gallery.hostile()
NEIGHBOURS = ["01", "05", "08", "09"]


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_introduces_itself(attack):
    head = attack.path.read_text(encoding="utf-8").splitlines()
    assert head[:2] == ["/**", " * @file"] and head[2].startswith(" * @brief Hostile: ")
    wanted = [" * Instead of", " * Score"] + [" * Says"] * bool(attack.says)
    assert [line.split(":")[0] for line in head[3:3 + len(wanted)]] == wanted and head[3 + len(wanted)] == " *"
    assert attack.title.endswith(".") and re.fullmatch(r"[a-z0-9_]+", attack.path.stem)
    assert attack.program in attack.lab.programs and 0 <= attack.score <= 10


def course_of(directory: Path, attacks) -> None:
    """Writes a course: each hostile program is one student, and another student has solved the labs that most attack."""
    for attack in attacks:
        attack.apply(directory / attack.path.stem)
    for number in NEIGHBOURS:
        lab = labs.find(number)
        shutil.copytree(labs.SOLUTIONS / lab.name, directory / "neighbour" / "labs" / lab.name)


def what_went_wrong(out: Path, attacks) -> dict:
    """Returns the students whose score or message is wrong, with both."""
    wrong = {}
    records = {record["name"]: record for record in results(out)["students"]}
    for attack in attacks:
        record = records[attack.path.stem]
        graded = record["labs"][attack.lab.name]
        page = html.unescape((out / "students" / record["folder"] / "report.html").read_text(encoding="utf-8"))
        if graded["score"] != attack.score or "error" in graded["checks"].values() or not attack.is_reported(page):
            wrong[attack.path.stem] = graded["score"], attack.score, attack.is_reported(page), {
                check: state for check, state in graded["checks"].items() if state != "passed"}
    for number in NEIGHBOURS:
        if records["neighbour"]["labs"][labs.find(number).name]["score"] != 10:
            wrong["neighbour", number] = records["neighbour"]["labs"][labs.find(number).name]
    return wrong


@pytest.mark.parametrize("user", [None, "nobody"])
def test_points_words_and_neighbours(user):
    """As the user who runs the tests; if that is root, also as an unprivileged user, whose uid the programs share."""
    if user and os.getuid() != 0:
        pytest.skip("as an ordinary user the other of the two is this test")
    attacks = ATTACKS[1::8] if user and not running.FULL else ATTACKS
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        course_of(directory / "in", attacks)
        before = machine()
        done = grade_elsewhere(directory, user)
        assert done.returncode == 0, done.stdout + done.stderr
        wrong = what_went_wrong(directory / "out", attacks)
        assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())
        assert machine() == before

"""The board of the fastest rings: who is on it, in which order, and that one that did not change is not measured again."""
import pytest

from shmlab import labs
from shmlab.course import board
from shmlab.course.cohort import Grader
from shmlab.course.course_file import read_course
from shmlab.labs import UserError
from shmlab.race import command

LAB = labs.find("18")


def hand_in(out, folder, nickname="", state="passed"):
    sources = out / "students" / folder / "labs" / LAB.name
    sources.mkdir(parents=True)
    for path in (labs.SOLUTIONS / LAB.name).glob("*.[ch]"):
        (sources / path.name).write_text(path.read_text().replace(" * Usage:", f" * Nickname: {nickname}\n *\n * Usage:", bool(nickname)))
    checks = {check.name: "passed" for check in LAB.checks()}
    checks["test_usage"] = state
    return {"name": folder, "folder": folder, "labs": {LAB.name: {"checks": checks}}}


def measured(times):
    """What race.run() returns: this many times as long as the fast pair; without a number the ring is wrong."""
    def run(lab, submission, tier, cc):
        factor = times[submission.parent.name]
        race = command.Race("here", rounds=1)
        race.carried[command.FAST] = {size: [1e-8] for size in command.SIZES}
        if factor:
            race.carried[command.YOURS] = {size: [factor * 1e-8] for size in command.SIZES}
        else:
            race.wrong[command.YOURS] = "loses 3 of 4000 lines of 8 bytes, the first of them line 7"
        calls.append(submission.parent.name)
        return race

    calls = []
    run.calls = calls
    return run


def test_who_is_on_the_board(tmp_path, monkeypatch):
    students = [hand_in(tmp_path, "ada", "slow <b>"), hand_in(tmp_path, "ben", "swift"), hand_in(tmp_path, "cem"),
                hand_in(tmp_path, "dan", "unfinished", "failed"), hand_in(tmp_path, "eve", "lossy")]
    run = measured({"ada": 9.0, "ben": 1.5, "eve": None})
    monkeypatch.setattr(command, "run", run)
    grader = Grader("namespaces", "cc", False, 1)
    found = board.measure(tmp_path, [LAB], students, grader, None)
    assert [(one["nickname"], one["student"]) for one in found] == [("swift", "ben"), ("slow <b>", "ada"), ("lossy", "eve")]
    assert found[0]["ratio"] == {"8": 1.5, "64": 1.5, "1024": 1.5} and found[0]["ns"]["64"] == 15.0 and not found[0]["wrong"]
    assert found[2]["wrong"].startswith("loses 3 of 4000") and not found[2]["ratio"]
    assert sorted(run.calls) == ["ada", "ben", "eve"]
    assert board.measure(tmp_path, [LAB], students, grader, {"race": found}) == found and len(run.calls) == 3
    assert board.measure(tmp_path, [labs.find("01")], students, grader, None) == []


def test_the_course_file_turns_it_on(tmp_path):
    for word, wanted in ("race = on", True), ("race = off", False), ("", False):
        (tmp_path / "course.ini").write_text(f"[course]\n{word}\n")
        assert read_course(tmp_path / "course.ini").race is wanted
    (tmp_path / "course.ini").write_text("[course]\nrace = yes\n")
    with pytest.raises(UserError, match="race.*'yes' is unknown; allowed are on and off"):
        read_course(tmp_path / "course.ini")

"""What a course's page tells beyond points: how labs and checks went, what changed, and which programs are nearly the same."""
import json
import re
import subprocess
import sys
import time

import pytest
from grading import grade, results
from test_results_directory import LAB, OTHER, put

from shmlab import gallery, labs
from shmlab.course import insight, similar
from shmlab.labs import UserError


def student(name, score, checks, state="graded", group="", lab="05_sysv_create"):
    return {"name": name, "folder": name, "group": group, "labs": {lab: {"state": state, "score": score, "checks": checks}}}


OF_LAB = {"name": "05_sysv_create", "maximum": 10, "checks": [{"name": "a"}, {"name": "b"}]}


@pytest.mark.parametrize("scores, median, histogram", [
    ([0, 10], 5, {0: 1, 10: 1}), ([10, 9.99, 9], 9.99, {9: 2, 10: 1}), ([0.3, 3, 2.99], 2.99, {0: 1, 2: 1, 3: 1}), ([], None, {}),
    ([7], 7, {7: 1})])
def test_the_points_of_a_lab(scores, median, histogram):
    students = [student(str(score), score, {"a": "passed", "b": "failed" if score < 10 else "passed"}) for score in scores]
    went = insight.how_it_went(OF_LAB, [*students, student("absent", 0, {"a": "missing", "b": "missing"}, "missing")])
    assert went["median"] == median and went["tried"] == len(scores)
    assert went["histogram"] == [histogram.get(number, 0) for number in range(11)]
    assert [check["passed"] for check in went["checks"]] == [len(scores), sum(score == 10 for score in scores)]


def test_a_lab_that_does_not_count_has_a_histogram_too():
    assert insight.how_it_went({**OF_LAB, "maximum": 0}, [student("ada", 0, {"a": "passed", "b": "passed"})])["histogram"][0] == 1


def test_what_changed_and_for_whom():
    before = {"students": [student("ada", 1, {"a": "passed", "b": "failed"}), student("ben", 2, {"a": "passed", "b": "passed"}),
                           student("gone", 2, {"a": "passed", "b": "passed"})]}
    now = [student("ada", 2, {"a": "passed", "b": "passed"}), student("ben", 2, {"a": "passed", "b": "passed"}),
           student("new", 2, {"a": "passed", "b": "passed"})]
    assert insight.changes(before, now) == [{"student": "ada", "folder": "ada", "lab": "05_sysv_create", "before": 1, "now": 2,
                                             "checks": [{"check": "b", "before": "failed", "now": "passed"}]}]
    now[1]["labs"]["05_sysv_create"]["score"] = 1.5  # by hand
    assert [(one["student"], one["before"], one["now"], one["checks"]) for one in insight.changes(before, now)][1] == ("ben", 2, 1.5, [])
    last = {"student": "ada", "folder": "ada", "lab": "05_sysv_create", "before": 0, "now": 1, "checks": []}
    gone = {**last, "folder": "eve"}
    assert insight.changes({"students": now, "changes": [last, gone]}, now) == [last], "a run that changes nothing leaves what changed last"
    assert insight.changes(None, now) == [] and insight.changes({"students": now}, now) == []


# ---- near-identical work ----------------------------------------------------------------------------------


SKELETON = similar.runs_of([(LAB.directory / "sysv_create.c").read_bytes()])
RIGHT = (labs.SOLUTIONS / LAB.name / "sysv_create.c").read_text()


def disguised(text):
    """Other names of variables, other layout, other comments."""
    text = re.sub(r"/\*.*?\*/", "/* my own work */", text, flags=re.S)
    for number, name in enumerate(["segment", "address", "size", "key", "text", "id"]):
        text = re.sub(rf"\b{name}\b", f"v{number}", text)
    return text.replace("    ", "\t").replace("{\n", "\n{\n\n")


def runs(text):
    return similar.runs_of([text.encode()])


def test_a_copy_with_other_names_and_layout_is_found():
    assert disguised(RIGHT) != RIGHT
    assert similar.alike({"ada": runs(RIGHT), "ben": runs(disguised(RIGHT))}, SKELETON) == [(1.0, ["ada", "ben"])]
    changed = disguised(RIGHT).replace("if (shmdt(", "fflush(stdout);\n\tif (-1 == shmdt(")
    (likeness, names), = similar.alike({"ada": runs(RIGHT), "ben": runs(changed)}, SKELETON)
    assert names == ["ada", "ben"] and 0.8 <= likeness < 1


def test_what_was_handed_out_is_nobodys_own():
    text = (LAB.directory / "sysv_create.c").read_text()
    assert similar.alike({"ada": runs(text), "ben": runs(text + "int x;\n")}, SKELETON) == []


@pytest.mark.parametrize("number, few", [("01", 4), ("06", 2)])
def test_programs_that_were_written_independently_are_not_found(number, few, tmp_path):
    lab, programs = labs.find(number), {}
    for variant in gallery.variants():
        if variant.lab == lab:
            (tmp_path / variant.name).mkdir()
            programs[variant.name] = similar.runs_of(similar._sources(variant.apply(tmp_path / variant.name) / lab.name))
    assert len(programs) >= few and similar.alike(programs, similar.runs_of(similar._sources(lab.directory))) == []


def test_what_many_write_is_no_hint_and_what_two_have_of_their_own_is():
    """Thirty programs share a long part; two of them also share another."""
    def part(seed, length):
        return frozenset((seed << 20) + number for number in range(length))
    programs = {f"s{number}": part(0, 200) | part(number + 1, 60) for number in range(30)}
    programs["copy"] = part(0, 200) | part(8, 55) | part(99, 5)
    assert similar.alike(programs, frozenset()) == [(pytest.approx(55 / 60), ["s7", "copy"])]


@pytest.mark.parametrize("part", ["/*", '"\\"', "'\\'", '"', "(", "a(", "#", " ", "\n \t", "1.", "\0\xff", "//\\\n", "a", "\n#"], ids=repr)
def test_no_text_takes_long(part):
    began = time.monotonic()
    similar.runs_of([(part * similar.MOST_BYTES).encode("latin-1")])
    assert time.monotonic() - began < 5


def test_a_course_of_a_thousand_is_compared_in_time():
    programs = {f"s{number}": frozenset(hash((number % 300, run)) for run in range(150)) | {number << 40} for number in range(1000)}
    began = time.monotonic()
    found = similar.alike(programs, frozenset())
    assert len(found) == similar.MOST_ENTRIES and time.monotonic() - began < 20


def handed_in(tmp_path, text_of):
    for name, text in text_of.items():
        directory = tmp_path / "students" / name / "labs" / LAB.name
        directory.mkdir(parents=True)
        (directory / "sysv_create.c").write_text(text)


def test_members_of_a_group_are_not_compared_and_time_is_limited(tmp_path):
    handed_in(tmp_path, {"ada": RIGHT, "ben": RIGHT, "cem": disguised(RIGHT)})
    everyone = [student(name, 1, {}, group="A" if name < "c" else "") for name in ("ada", "ben", "cem")]
    assert similar.search(tmp_path, [LAB], everyone[:2]) == ([], [])
    assert similar.search(tmp_path, [LAB], everyone) == (
        [{"lab": LAB.name, "likeness": 1.0, "students": ["ada", "ben", "cem"]}], [])
    assert similar.search(tmp_path, [LAB], everyone, seconds=0) == ([], [LAB.name])


# ---- the whole --------------------------------------------------------------------------------------------


def test_the_page_and_results_json_tell_it_to_the_instructor_only(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    put(source, "ada")
    put(source, "ben <b>")
    (source / "ben <b>" / LAB.name / "sysv_create.c").write_text(disguised(RIGHT))
    put(source, "cem", origin=labs.LABS)
    put(source, "cem", OTHER)
    assert grade(source, out, "--lab", "05 08").returncode == 0
    first = results(out)
    assert first["changes"] == [] and first["labs"][0]["median"] == 10 and first["labs"][0]["histogram"] == [1, *[0] * 9, 2]
    assert first["similar"] == [{"lab": LAB.name, "likeness": 1.0, "students": ["ada", "ben_b"]}]
    put(source, "cem")
    assert grade(source, out, "--lab", "05 08").returncode == 0
    (change,) = results(out)["changes"]
    assert (change["student"], change["lab"], change["before"], change["now"]) == ("cem", LAB.name, 0, 10) and len(change["checks"]) == 9
    page = (out / "index.html").read_text()
    assert "What changed last" in page and "Near-identical work" in page and "ben &lt;b&gt;" in page
    for name in "ada", "ben_b", "cem":
        for path in (out / "students" / name).glob("*.*"):
            assert "dentical" not in path.read_text() and "ben_b" not in path.read_text().replace("students/ben_b", ""), path
    assert {one["score"] for one in results(out)["students"]} == {10, 20}, "it costs no points"
    target = tmp_path / "for JPlag"
    words = [sys.executable, "-m", "shmlab", "similar", "--from", str(out), "--out", str(target)]
    done = subprocess.run(words, cwd=labs.ROOT / "harness", capture_output=True, text=True)
    assert done.returncode == 0 and "4 files of 3 students" in done.stdout and "-bc base submissions" in done.stdout
    assert (target / LAB.name / "base" / "sysv_create.c").read_bytes() == (LAB.directory / "sysv_create.c").read_bytes()
    assert sorted(path.name for path in (target / LAB.name / "submissions").iterdir()) == ["ada", "ben_b", "cem"]
    assert sorted(path.name for path in (target / OTHER.name / "submissions").iterdir()) == ["cem"]
    done = subprocess.run(words, cwd=labs.ROOT / "harness", capture_output=True, text=True)
    assert done.returncode == 2 and "not empty" in done.stderr and len(done.stderr.splitlines()) == 1


def test_results_that_are_none_are_told_in_one_line(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"version": 99}))
    with pytest.raises(UserError, match="version 99"):
        similar.export(tmp_path, tmp_path / "x")
    assert not (tmp_path / "x").exists()

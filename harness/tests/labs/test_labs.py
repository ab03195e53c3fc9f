"""Every lab: the solution scores all points with each compiler and tier, the skeleton none, and the files have the right form."""
import re
import subprocess

import running
import pytest

from shmlab import labs
from shmlab.judging.limits import LAB_SECONDS, SHORT_SECONDS

LABS = labs.all_labs()
COMPILERS = ["gcc", "clang", "musl-gcc"]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
BUILDS = [("gcc", False, "namespaces"), ("clang", False, "namespaces"), ("musl-gcc", False, "namespaces"),
          ("gcc", True, "namespaces"), ("clang", True, "namespaces"), ("gcc", False, "host")]


def every_lab(test):
    return pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)(test)


def builds(lab):
    """Returns a lab's builds. Without FULL=1 each lab uses the sanitizers of only one of the two compilers."""
    other = [build for build in BUILDS if build[1]][int(lab.number) % 2]
    return [pytest.param(lab, *build, marks=[pytest.mark.full] if build == other else []) for build in BUILDS]


@pytest.mark.parametrize("lab, cc, san, tier", [build for lab in LABS for build in builds(lab)],
                         ids=lambda value: {True: "san", False: "plain"}.get(value, getattr(value, "name", value)))
def test_solution_scores_everything(lab, cc, san, tier):
    checked = running.check(lab.number, labs.SOLUTIONS, cc=cc, san=san, tier=tier)
    assert checked.not_passed() == {} and checked.exit_status == 0, checked.output
    assert checked.score == checked.maximum == 10
    explored = [bound for check in checked.checks for bound in check["explored"]]
    assert not any("fails" in bound for bound in explored), checked.output
    assert bool(explored) == (lab.explores and tier == "namespaces"), "schedules are run with every compiler"


@pytest.mark.parametrize("tier", ["namespaces", "host"])
@every_lab
def test_skeleton_scores_nothing_and_says_what_to_do(lab, tier):
    checked = running.check(lab.number, labs.LABS, tier=tier)
    assert checked.score == 0 and checked.maximum == 10 and checked.exit_status == 1, checked.output
    assert "TODO 1" in checked.output and "Traceback" not in checked.output
    assert {check["expected"] for check in checked.checks} == {"the program is finished"}, checked.output


@pytest.mark.parametrize("cc", COMPILERS)
@pytest.mark.parametrize("directory", [labs.LABS, labs.SOLUTIONS], ids=["skeleton", "solution"])
@every_lab
def test_compiles_alone_without_a_warning(lab, directory, cc, tmp_path):
    for source in (directory / lab.name).glob("*.[ch]"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    for program in lab.programs:
        for level in "-O0", "-O2":
            command = [cc, "-std=c17", level, "-pthread", *WARNINGS, f"{program}.c", "-o", program, "-lrt"]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


def outside_of_todos(text):
    return re.sub(r"(/\* TODO (\d+):.*?\*/\n).*?(?=[ ]*/\* TODO \2 ends\. \*/)", r"\1", text, flags=re.S)


@every_lab
def test_skeleton_and_solution_differ_only_in_the_todo_places(lab):
    for solution in (labs.SOLUTIONS / lab.name).glob("*.[ch]"):
        skeleton = labs.LABS / lab.name / solution.name
        finished, unfinished = solution.read_text(), skeleton.read_text()
        assert outside_of_todos(finished) == outside_of_todos(unfinished), solution.name
        if solution.suffix == ".c":
            numbers = [int(number) for number in re.findall(r"/\* TODO (\d+):", finished)]
            assert sorted(numbers) == list(range(1, len(numbers) + 1)), f"{solution.name}: TODO numbers {numbers}"
            assert finished != unfinished
            assert all(f"TODO {number}:" in unfinished or f"TODO {number} " in unfinished for number in numbers)


@every_lab
def test_handout_has_every_section_and_promises_what_is_checked(lab):
    sections = re.findall(r"^## (.*)$", lab.handout, re.M)
    further = ["Make it fast"] if lab.number == "18" else []
    assert sections == ["Goal", "Picture", "Background", "Steps", "Build and run by hand", "See it yourself",
                        "What is checked", "Hints", *further, "Pitfalls", "Questions", "Read on"]
    assert lab.handout.startswith(f"# Lab {lab.number}: ") and len(lab.hints()) >= 3
    text = (labs.CHECKS / f"test_{lab.name}.py").read_text()
    found = re.findall(r'^@points\((\d+).*?\)\ndef test_\w+\(lab\):\n    """(.*?)(?:\n\n|""")', text, re.M | re.S)
    assert [(int(points), " ".join(sentence.split())) for points, sentence in found] == lab.promised_checks()
    assert sum(points for points, _ in lab.promised_checks()) == 10
    assert lab.section("What is checked").rstrip().endswith(
        f"\n\nAll runs of your programs together may take {LAB_SECONDS:.0f} seconds. After that, each run gets one second.")
    assert SHORT_SECONDS == 1


@every_lab
def test_c_is_formatted_and_begins_with_its_purpose(lab):
    for directory in labs.LABS, labs.SOLUTIONS:
        for source in sorted((directory / lab.name).glob("*.[ch]")):
            text = source.read_text()
            assert text.startswith("/**\n * @file\n * @brief Lab " + lab.number), source
            assert max(map(len, text.splitlines())) <= 110, source
            if source.suffix == ".c":
                assert re.search(r"\*/\n#define _\w+_SOURCE", text), f"{source}: the feature macro comes first"

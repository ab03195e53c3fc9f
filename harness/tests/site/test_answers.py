"""Each question of a handout has an answer, and what an answer shows is what its program prints."""
import re
import subprocess
import textwrap

import pytest

from shmlab import labs

WARNINGS = ["-std=c17", "-pthread", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
NUMBERED = re.compile(r"^(\d+)\. ", re.M)
SHOWN = re.compile(r"^ *```c\n(.*?)^ *```\n\n *```console\n *\$ \./a\.out\n(.*?)^ *```$", re.M | re.S)


def answers(lab):
    return (labs.SOLUTIONS / lab.name / "answers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("lab", labs.all_labs(), ids=str)
def test_each_question_has_an_answer(lab):
    assert NUMBERED.findall(answers(lab)) == NUMBERED.findall(lab.section("Questions"))
    assert answers(lab).count("```c\n") == answers(lab).count("```console\n") == len(SHOWN.findall(answers(lab)))


PROGRAMS = [(lab, number) for lab in labs.all_labs() for number in range(len(SHOWN.findall(answers(lab))))]


@pytest.mark.parametrize("cc", ["gcc", "clang", "musl-gcc"])
@pytest.mark.parametrize("lab, number", PROGRAMS, ids=str)
def test_an_answer_shows_what_its_program_prints(lab, number, cc, tmp_path):
    source, shown = (textwrap.dedent(part) for part in SHOWN.findall(answers(lab))[number])
    (tmp_path / "answer.c").write_text(source, encoding="utf-8")
    built = subprocess.run([cc, *WARNINGS, "answer.c"], cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    done = subprocess.run(["./a.out"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, shown)

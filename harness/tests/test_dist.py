"""The students' edition contains no solution and checks like the project itself; Gradescope's zip grades without the project."""
import json
import os
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from shmlab import dist, labs

pytestmark = pytest.mark.xdist_group("dist")  # one worker makes the archive, for all of these tests


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return dist.make_dist(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def edition(archive, tmp_path_factory):
    directory = tmp_path_factory.mktemp("edition")
    with tarfile.open(archive) as packed:
        packed.extractall(directory)
    return directory / dist.NAME


def plain(line):
    return re.sub(r"\s+", " ", line).strip()


def lines_of_solutions():
    """Returns the lines that only the solutions contain, if they are long enough to be specific."""
    open_text = "\n".join(plain(line) for path in labs.LABS.rglob("*") if path.suffix in (".c", ".md", ".h")
                          for line in path.read_text().splitlines())
    found = set()
    for path in labs.SOLUTIONS.rglob("*.c"):
        for line in map(plain, path.read_text().splitlines()):
            if len(line) >= 20 and line not in open_text:
                found.add(line)
    return found


def test_it_tells_no_solution(edition):
    secrets = lines_of_solutions()
    assert len(secrets) > 300, "the solutions exist and differ from the skeletons"
    for path in sorted(edition.rglob("*")):
        if path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            revealed = secrets & set(map(plain, text.splitlines()))
            # A program of the harness can contain one such line of C by chance.
            assert len(revealed) <= 1, f"{path.relative_to(edition)} contains {sorted(revealed)[:3]}"


def test_it_has_what_students_need_and_nothing_else(edition):
    parts = {part for path in edition.rglob("*") for part in path.relative_to(edition).parts}
    assert not parts & {"solutions", "mistakes", "variants", "hostile", "tests", ".git", "ring_bench.c", "dist.py", "grade.py"}
    assert {lab.name for lab in labs.all_labs()} <= parts
    for path in [*edition.rglob("*.md"), edition / "Makefile"]:
        assert "not for students" not in path.read_text() and "make grade" not in path.read_text(), path
    for name in re.findall(r"\]\(([^)#:]+)\)", (edition / "README.md").read_text()):
        assert (edition / name).exists(), f"README.md links to {name}"
    assert not [path for path in edition.rglob("*") if path.is_symlink()]


def test_the_same_tree_gives_the_same_archive(archive, tmp_path):
    assert dist.make_dist(tmp_path).read_bytes() == archive.read_bytes()


def test_peers_for_both_processors(edition):
    """The archive tells for which processors and C libraries it has peers, and has just these: statically linked."""
    told = (edition / "harness" / "peers" / "README").read_text().splitlines()[2:]
    made = {f"{path.parent.name}: {path.name}" for path in (edition / "harness" / "peers").glob("*/*")}
    assert made == {f"{line.split(': ')[0]}: {library}" for line in told for library in line.split(": ")[1].split(", ")}
    assert {line.split(":")[0] for line in told} == {"aarch64", "x86_64"}, "setup.sh installs a compiler for the other one"
    for machine, number in ("aarch64", 183), ("x86_64", 62):  # EM_AARCH64, EM_X86_64
        for peer in (edition / "harness" / "peers" / machine / "glibc").rglob("*"):
            head = peer.read_bytes()[:20] if peer.is_file() else b""
            assert not head or head[:4] == b"\x7fELF" and int.from_bytes(head[18:20], "little") == number, peer


def make(directory, *words):
    done = subprocess.run(["make", "--no-print-directory", *words], cwd=directory, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120,
                          env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"})
    return done.returncode, done.stdout + done.stderr


def test_it_checks_as_the_project_does(edition):
    status, text = make(edition, "check", "LAB=01")
    assert status != 0 and "TODO 1" in text and "0 of 10 points" in text, text
    for lab in labs.find("01"), labs.find("11"), labs.find("18"):
        for source in (labs.SOLUTIONS / lab.name).glob("*.c"):
            (edition / "labs" / lab.name / source.name).write_bytes(source.read_bytes())
    for cc in "cc", "musl-gcc":
        for peer in (edition / "harness" / "peers").glob("*/*/11_named_pair/*"):
            peer.chmod(0o644)  # as some programs that unpack archives leave it
        status, text = make(edition, "check", "LAB=01 11 18", f"CC={cc}")
        assert status == 0 and "30 of 30 points" in text, text
    for number in "06", "11":
        status, text = make(edition, "trace", f"LAB={number}")
        assert status == 0 and "rows; open it in a browser" in text and "Traceback" not in text, text
    for command in "demo", "test", "grade":
        assert "No rule" in make(edition, command)[1]
    status, text = make(edition, "shmls", f"ARGS=-p {os.getpid()}")
    assert status == 0 and text.startswith("STATE"), text
    assert "grade" not in make(edition, "help")[1] and make(edition, "hint", "LAB=01")[0] == 0


def test_gradescopes_zip_grades_alone(tmp_path):
    course = tmp_path / "course.ini"
    course.write_text("[weights]\n05 = 2\n05 test_usage = 0\n")
    with zipfile.ZipFile(dist.make_gradescope(tmp_path, course, ["01", "05"])) as packed:
        for item in packed.infolist():
            path = Path(packed.extract(item, tmp_path / "source"))
            path.chmod(item.external_attr >> 16 & 0o777)
    (tmp_path / "submission").mkdir()
    (tmp_path / "results").mkdir()
    for source in (labs.SOLUTIONS / "05_sysv_create").glob("*.c"):
        (tmp_path / "submission" / source.name).write_bytes(source.read_bytes())
    environment = {"PATH": os.environ["PATH"], "AUTOGRADER": str(tmp_path)}
    done = subprocess.run([tmp_path / "source" / "run_autograder"], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "results" / "results.json").read_text())
    usage = next(check.points for check in labs.find("05").checks() if check.name == "test_usage")
    assert data["score"] == sum(test["score"] for test in data["tests"]) == 2 * (10 - usage)
    assert sum(test["max_score"] for test in data["tests"]) == 10 + 2 * (10 - usage)
    assert {test["status"] for test in data["tests"]} == {"passed", "failed"}
    assert all(test["visibility"] == "visible" and test["max_score"] >= 0 for test in data["tests"])
    assert subprocess.run(["bash", "-n", tmp_path / "source" / "setup.sh"]).returncode == 0

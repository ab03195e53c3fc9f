"""The programs that the pages quote compile and run, and the output that the pages show is what they print.

    python3 harness/tests/test_examples.py      writes the output anew, to be looked at with `git diff`

A line of docs/examples/NAME.run is what a reader types; NAME.out is the whole transcript, made in a box. The verdicts are
what `make check` says of one check. new_lab/ is the lab that carry_on.md adds to the project.
"""
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import course  # noqa: E402
from shmlab import box, gallery, labs, native  # noqa: E402

EXAMPLES = labs.ROOT / "docs" / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.c"))
RECIPES = sorted(EXAMPLES.glob("*.run"))
VERDICTS = {"verdict_unfinished": ("01_page_size", None, "test_kind_of_mapping"),
            "verdict_private": ("03_anonymous_fork", "private_mapping", "test_all_share_one_mapping")}
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]

MASKS = [  # in this order; the first makes one blank of many
    (r"[ \t]+", " "), (r" +$", ""),
    (r"\b[0-9a-f]{8,16}-[0-9a-f]{8,16}\b", "ADDRESSES"), (r"0x[0-9a-f]{8,16}\b", "HEX"), (r"SYSV[0-9a-f]{8}", "SYSVKEY"),
    (r"\b[0-9a-f]{2,4}:[0-9a-f]{2,4} \d+ ", "DEVICE INODE "),         # maps
    (r"^\w+ \d+ \w+( \w+ REG) \d+,\d+( \d+)+ ", r"NAME PID USER\1 NUMBERS "),  # lsof
    (r"^(HEX \d+) \w+", r"\1 OWNER"),                                 # ipcs
    (r"^(-[rwx-]{9} 1) \w+ \w+ (\d+) \w+ \d+ \d\d:\d\d", r"\1 OWNER GROUP \2 DATE"),  # ls
    (r"(/[\w.-]+)*/(place|five_kinds)\b", r"FOLDER/\2"),
    (r"^.*Bus error.*$", "Bus error"),                                # each shell says more in its own way
    (r"process \d+", "process"), (r"\w+\.c:\d+ \[\d+\]", "PLACE"),
    (r"^ PLACE fork\(\).*\n", ""),                                   # parent and child are told in either order
]


def masked(text):
    """The text without what differs from one run to the next."""
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text, flags=re.M)
    return text.strip()


def compile_example(source, target, *words, cc="gcc"):
    command = [cc, "-std=c17", "-O2", "-pthread", *words, str(source), "-o", str(target), "-lrt"]
    return subprocess.run(command, capture_output=True, text=True)


def transcript(recipe, folder):
    """What a reader sees who types the recipe's lines."""
    lines = recipe.read_text().splitlines()
    script = "exec 2>&1\n" + "".join(f"printf '%s\\n' {shlex.quote('$ ' + line)}\n{line}\n" for line in lines)
    with box.Box("namespaces") as inside:
        for program in PROGRAMS:
            built = folder / program.stem
            if not built.exists():
                assert compile_example(program, built).returncode == 0
            inside.put(program.stem, built.read_bytes(), 0o755)
        shell = inside.start(["/bin/sh", "-c", script])
        assert inside.wait(shell, 10), f"{recipe.name} does not end"
        return bytes(shell.output[1]).decode()


def verdict(name, folder):
    """What a student sees of one check who has not begun, or who has made a certain mistake."""
    lab, mistake, check = VERDICTS[name]
    submission = labs.LABS
    if mistake:
        submission = next(m for m in gallery.mistakes() if str(m) == f"{lab}/{mistake}").apply(folder)
    command = course.pytest_command("harness", "--lab", lab, "--submission", str(submission), "-k", check,
                                    "--tier", "namespaces")
    done = subprocess.run(command, cwd=labs.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.stdout.replace(str(submission), "labs").replace(str(labs.ROOT) + "/", "")


@pytest.mark.parametrize("cc", ["gcc", "clang", "musl-gcc"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_example_compiles_without_a_warning(program, cc, tmp_path):
    done = compile_example(program, tmp_path / program.stem, *WARNINGS, cc=cc)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_output_on_the_pages_is_what_a_run_prints(recipe, tmp_path):
    assert masked(transcript(recipe, tmp_path)) == masked(recipe.with_suffix(".out").read_text())


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict_on_the_pages_is_what_a_check_says(name, tmp_path):
    assert masked(verdict(name, tmp_path)) == masked((EXAMPLES / f"{name}.out").read_text())


def test_a_lab_can_be_added_as_the_page_says(tmp_path):
    project = tmp_path / "project"
    shutil.copytree(labs.ROOT, project, ignore=shutil.ignore_patterns("build", ".git", ".venv", "__pycache__"))
    shutil.copytree(EXAMPLES / "new_lab", project, dirs_exist_ok=True)
    tests = [f"harness/tests/test_{name}.py" for name in ("labs", "gallery", "figures")]
    # The compilers' turn comes in the new lab's own tests, when it is one.
    command = course.pytest_command(*tests, "-q", "-k", "19_two_views and not clang and not musl and not san and not host")
    done = subprocess.run(command, cwd=project, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "SHMLAB_BUILD": str(native.build_folder())})
    assert re.findall(r"^FAILED \S+::(\w+)", done.stdout, re.M) == ["test_every_lab_has_a_gallery"], done.stdout
    assert "assert 1 >= 6" in done.stdout and re.search(r"1 failed, \d\d passed", done.stdout)


# A marker or a file that is not there Doxygen would report; a test says it sooner.
QUOTE = re.compile(r"^ *@(snippet|include|dontinclude) (\S+)(?: (\S+))?$", re.M)


def test_what_the_pages_quote_is_there_and_all_that_is_there_is_quoted():
    quoted = set()
    for page in sorted((labs.ROOT / "docs").glob("*.md")):
        for command, name, marker in QUOTE.findall(page.read_text()):
            found = [path for path in EXAMPLES.rglob("*") if str(path).endswith("/" + name)]
            assert len(found) == 1, f"{page.name}: {name}"
            assert (found[0].read_text().count(f"[{marker}]") == 2) == (command == "snippet"), f"{page.name}: {name} {marker}"
            quoted.add(found[0])
    shown = {path for path in EXAMPLES.glob("*.out")}
    assert shown <= quoted, "output that no page shows"
    assert {path.with_suffix(".out") for path in RECIPES} | {EXAMPLES / f"{name}.out" for name in VERDICTS} == shown


def main():
    with tempfile.TemporaryDirectory() as folder:
        for recipe in RECIPES:
            recipe.with_suffix(".out").write_text(transcript(recipe, Path(folder)))
        for name in VERDICTS:
            (EXAMPLES / f"{name}.out").write_text(verdict(name, Path(folder)))


if __name__ == "__main__":
    main()

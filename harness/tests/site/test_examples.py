"""The programs that the pages quote compile and run, and the output that the pages show is what they print.

examples.py makes that output. new_lab/ is the lab that docs/maintainers.md adds to the project.
"""
import os
import re
import shutil
import subprocess

import pytest
import running
from examples import EXAMPLES, PROGRAMS, RECIPES, TRACES, VERDICTS, compile_example, masked, picture, transcript, verdict

from shmlab import labs
from shmlab.sandbox import native
from shmlab.trace import command as trace
from shmlab.trace import svg

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]


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


@pytest.mark.parametrize("name", TRACES)
def test_picture_on_the_pages_is_what_a_trace_shows(name):
    assert masked(picture(name)) == masked((EXAMPLES / f"{name}.out").read_text())


def test_the_picture_of_a_run_is_what_a_trace_draws():
    """Its rows, but for time-outs of the reader, which a slow machine may show."""
    def rows(drawing):
        words = [row.rsplit(">", 1)[-1] for row in re.findall(r'<g class="row".*?</g>', drawing, re.S)]
        assert words
        return [re.sub(r"[^<]*?(\w+\().*", r"\1", text) for text in re.findall(r'class="m[^"]*" dx="\d">([^<]+)<', drawing)
                if "ETIMEDOUT" not in text and "kill(" not in text and "sem_trywait(" not in text]

    drawn = svg.draw(trace.record(labs.find("11"), labs.SOLUTIONS))
    assert sorted(set(rows(drawn))) == sorted(set(rows((EXAMPLES / "trace_pair.svg").read_text())))


def test_a_lab_can_be_added_as_the_page_says(tmp_path):
    project = tmp_path / "project"
    shutil.copytree(labs.ROOT, project, ignore=shutil.ignore_patterns("build", ".git", ".venv", "__pycache__"))
    shutil.copytree(EXAMPLES / "new_lab", project, dirs_exist_ok=True)
    tests = [f"harness/tests/{name}.py" for name in ("labs/test_labs", "judging/test_gallery", "site/test_figures", "trace/test_trace")]
    # One compiler and tier is enough: the tests of a real new lab use all.
    command = running.pytest_command(*tests, "-q", "-k", "20_two_views and not clang and not musl and not san and not host")
    done = subprocess.run(command, cwd=project, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "SHMLAB_BUILD": str(native.build_directory())})
    assert re.findall(r"^FAILED \S+::(\w+)", done.stdout, re.M) == ["test_every_lab_has_a_gallery"], done.stdout
    assert "assert 1 >= 6" in done.stdout and re.search(r"1 failed, \d\d passed", done.stdout)


# Doxygen reports a missing marker or file, too; this test is faster.
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
    assert {path.with_suffix(".out") for path in RECIPES} | {EXAMPLES / f"{name}.out" for name in [*VERDICTS, *TRACES]} == shown


# ---- the page of what does not build: its messages are the compilers' own, and its table of headers is right

BUILD = (labs.ROOT / "docs" / "build.md").read_text()
HEADER_ROWS = re.findall(r"^\| (`.*?`) \| `<(.*?)>` \| (?:none|`(.*?)`) \|$", BUILD, re.M)

WRONG = {  # a program, and what the page quotes of the messages about it, by compiler
    "#include <sys/mman.h>\nint main(void) { return MAP_ANONYMOUS; }":
        {"gcc": "'MAP_ANONYMOUS' undeclared (first use in this function)", "clang": "use of undeclared identifier 'MAP_ANONYMOUS'"},
    "#include <unistd.h>\nint main(void) { return ftruncate(3, 1); }":
        {"gcc": "implicit declaration of function 'ftruncate'", "clang": "function 'ftruncate'"},
    "int helper(void);\nint main(void) { return helper(); }": {"gcc": "undefined reference to", "clang": "undefined reference to"},
    "int main(void) { pid_t pid; return 0; }": {"gcc": "unknown type name 'pid_t'"},
    "#include <signal.h>\nint main(void) { struct sigaction a = {0}; return 0; }":
        {"gcc": "storage size of 'a' isn't known", "clang": "variable has incomplete type 'struct sigaction'"},
    "struct shmid_ds *p;\nint main(void) { return p->shm_nattch; }": {"gcc": "invalid use of undefined type 'struct shmid_ds'"},
    "#include <sys/shmm.h>\n": {"gcc": "fatal error: sys/shmm.h: No such file or directory", "clang": "'sys/shmm.h' file not found"},
    "#include <sys/mman.h>\nint main(void) { int *p = mmap(0, 1, 1, 1, 3, 0); return p == -1; }":
        {"gcc": "comparison between pointer and integer", "clang": "comparison between pointer and integer"},
    "#include <stdio.h>\nint main(void) { printf(\"%d\", sizeof 1); }":
        {"gcc": "format '%d' expects argument of type 'int', but argument 2 has type"},
    "int main(void) { char *p = shmat(0, 0, 0); return !p; }":
        {"gcc": "makes pointer from integer without a cast", "clang": "incompatible integer to pointer conversion"}}


def compiled(source, tmp_path, cc="gcc", *words):
    (tmp_path / "program.c").write_text(source)
    return subprocess.run([cc, "-std=c17", "-Wall", "program.c", "-o", "program", *words], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "LC_ALL": "C"})


@pytest.mark.parametrize("source", WRONG)
def test_messages_on_the_page_are_the_compilers_own(source, tmp_path):
    for cc, message in WRONG[source].items():
        assert message in compiled(source, tmp_path, cc).stderr and message in BUILD


@pytest.mark.parametrize("names, header, macro", HEADER_ROWS)
def test_header_and_macro_on_the_page_are_needed_and_enough(names, header, macro, tmp_path):
    for name in re.findall(r"`(\w+)`", names):
        use = f"#include <{header}>\n#ifndef {name}\n__typeof__({name}) *used;\n#endif\nint main(void) {{ return 0; }}\n"
        for define in (macro, "_GNU_SOURCE"):
            done = compiled(f"#define {define}\n{use}" if define else use, tmp_path, "gcc", "-pthread")
            assert done.returncode == 0, done.stderr
        assert not macro or compiled(use, tmp_path).returncode != 0, f"{name} needs no macro"


def test_the_page_has_the_table_of_headers():
    assert len(HEADER_ROWS) == BUILD.count("| `<")


def test_a_function_that_is_not_declared_returns_half_an_address(tmp_path):
    source = "#include <stdlib.h>\nint main(void) { char *p = mmap(0, 4096, 3, 0x22, -1, 0); p[0] = 1; return 0; }"
    done = compiled(source, tmp_path, "gcc", "-w", "-Wno-error=implicit-function-declaration", "-Wno-error=int-conversion")
    assert done.returncode == 0, done.stderr
    assert subprocess.run([str(tmp_path / "program")], check=False).returncode == -11


def test_a_library_before_the_file_that_needs_it_is_forgotten(tmp_path):
    (tmp_path / "program.c").write_text("double cos(double);\nint main(int argc, char **argv) { (void)argv; return (int)cos(argc); }")
    for words, status in ((["-lm", "program.c"], 1), (["program.c", "-lm"], 0)):
        done = subprocess.run(["gcc", "-fno-builtin", "-Wl,--as-needed", *words, "-o", "program"], cwd=tmp_path, capture_output=True)
        assert done.returncode == status

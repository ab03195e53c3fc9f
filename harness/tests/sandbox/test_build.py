"""Compiling a submission: what is the program's fault, and what the machine's."""
import errno
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

import pytest
import running

from shmlab import labs
from shmlab.explore import build as explored
from shmlab.sandbox import build, tiers

LAB = labs.find("05")
PROGRAM = LAB.programs[0]


def compiler_that_says(message):
    """A compiler whose runs in a box end with this message. It builds the harness's own parts."""
    return shlex.join(["sh", "-c", f'case "$*" in *{PROGRAM}.c*) echo "{message}" >&2; exit 1;; esac; exec cc "$@"', "cc"])


@pytest.mark.xdist_group("host")
@pytest.mark.parametrize("message, tier, number", [
    ("/tmp/x.s: Fatal error: can not write 12 bytes to section .text: No space left on device", "host", errno.ENOSPC),
    ("cc: fatal error: Killed signal terminated program cc1", "host", errno.ENOMEM),
    ("cc: fatal error: Killed signal terminated program cc1", "namespaces", errno.ENOMEM),
    ("clang: error: unable to execute command: Killed", "namespaces", errno.ENOMEM),
])
def test_what_the_machine_refuses_the_compiler_is_an_error_and_is_not_kept(message, tier, number):
    cc = compiler_that_says(message)
    with pytest.raises(OSError) as met:
        build.build(LAB, PROGRAM, labs.SOLUTIONS, tier, cc)
    assert met.value.errno == number
    checked = running.check("05", labs.SOLUTIONS, cc=cc, tier=tier)
    assert {check["status"] for check in checked.checks} == {"error"} and "what to do: " in checked.output, checked.output


def test_a_program_that_fills_its_own_box_is_told_what_the_compiler_said():
    cc = compiler_that_says("ld: final link failed: No space left on device")
    with pytest.raises(build.BuildProblem, match="No space left on device"):
        build.build(LAB, PROGRAM, labs.SOLUTIONS, "namespaces", cc)


@pytest.mark.parametrize("message", ["cc1: out of memory allocating 4064 bytes after a total of 2 bytes", "virtual memory exhausted: no",
                                     "LLVM ERROR: out of memory", "cc: fatal error: CPU time limit exceeded signal terminated program cc1"])
def test_a_compiler_that_meets_a_limit_by_itself_did_not_finish(message):
    with pytest.raises(build.BuildProblem, match="the compiler did not finish"):
        build.build(LAB, PROGRAM, labs.SOLUTIONS, "namespaces", compiler_that_says(message))


def compiler_elsewhere(directory, shell):
    """A compiler that is a script of this shell, in a directory that no box shows by itself."""
    cc = directory / "gcc" / "bin" / "cc"
    cc.parent.mkdir(parents=True)
    cc.write_text(f'#!{shell}\nexec cc "$@"\n')
    cc.chmod(0o755)
    return cc


def test_a_compiler_elsewhere_is_shown_to_the_box():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        checked = running.check("05", labs.SOLUTIONS, cc=str(compiler_elsewhere(Path(directory), "/bin/sh")), tier="namespaces")
    assert checked.score == 10, checked.output


def test_a_compiler_that_the_box_cannot_execute_is_no_fault_of_the_program(open_directory):
    cc = compiler_elsewhere(open_directory, "/bin/sh")  # /tmp is the box's own
    checked = running.check("05", labs.SOLUTIONS, cc=str(cc), tier="namespaces")
    assert {check["status"] for check in checked.checks} == {"error"}, checked.output
    assert f"could not execute the compiler: {cc}: No such file or directory" in checked.output


FORTIFIED = """
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
    char bytes[64] = "", copy[64];
    const int flags = argc > 1 ? O_RDONLY : O_RDWR;
    const size_t size = (size_t)argc * 10;
    const int fd = open(argv[0], flags);
    if (fd >= 0 && read(fd, bytes, size) < 0)
        return 1;
    memcpy(copy, bytes, size);
    return copy[argc];
}
"""


@pytest.mark.parametrize("instrumented", [False, True], ids=["plain", "explored"])
def test_no_call_is_replaced_by_a_checked_one(instrumented, tmp_path):
    """As on Ubuntu, whose gcc defines _FORTIFY_SOURCE by itself: the harness would not see the calls __open_2() and the like."""
    (tmp_path / LAB.name).mkdir()
    (tmp_path / LAB.name / f"{PROGRAM}.c").write_text(FORTIFIED)
    cc = "gcc -D_FORTIFY_SOURCE=2"
    if instrumented:
        path = explored.build(LAB, tmp_path, "namespaces", cc)[0].path
    else:
        path = build.build(LAB, PROGRAM, tmp_path, "namespaces", cc).path
    names = subprocess.run(["nm", path], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert not any(name in names for name in ("__open_2", "__read_chk", "__memcpy_chk")), names


def test_a_huge_program_is_refused_and_not_kept(tmp_path):
    source = (labs.SOLUTIONS / LAB.name / f"{PROGRAM}.c").read_text()
    (tmp_path / LAB.name).mkdir()
    (tmp_path / LAB.name / f"{PROGRAM}.c").write_text(source + "char ballast[20 << 20] = {1};\n")
    with pytest.raises(build.BuildProblem, match="has more than 16 MiB"):
        build.build(LAB, PROGRAM, tmp_path, tiers.choose_tier("auto"), "cc", False)


def test_of_the_programs_that_are_kept_the_oldest_go(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "CACHE_BYTES", 250)
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "program").write_bytes(bytes(100))
        os.utime(tmp_path / str(number), (0, 0) if number == 4 else (1000 + number,) * 2)
    os.utime(tmp_path / "0")  # used a moment ago
    build._forget_old(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".trimmed", "0", "3"]
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "program").write_bytes(bytes(1000))
    build._forget_old(tmp_path)
    assert (tmp_path / "5").exists(), "it was looked at a moment ago"

"""The list of allowed system calls against what right programs make: the kernel's own trace of them, and of the compiler's runs.

`pytest -rP` prints the calls. With FULL=1 all solutions, in all builds, and all variants run.
"""
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
import running

from shmlab import gallery, labs
from shmlab.sandbox import native

TRACE = Path("/sys/kernel/tracing")
BUILDS = [("gcc", False), ("clang", False), ("musl-gcc", False), ("gcc", True), ("clang", True)]
PROGRAMS = sorted({program for lab in labs.all_labs() for program in lab.programs})

pytestmark = [pytest.mark.xdist_group("tracer"), pytest.mark.skipif(
    os.getuid() != 0, reason="only root may look at the calls that the kernel is asked for")]


@contextmanager
def traced():
    """Gives a Counter of (name of the program, number of the call), which is complete afterwards."""
    if not (TRACE / "trace_pipe").exists():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACE], check=False)
    if not (TRACE / "events/raw_syscalls/sys_enter").exists():
        pytest.skip("this kernel has no trace of system calls")
    event, found = TRACE / "events/raw_syscalls/sys_enter", Counter()
    # The kernel keeps the first 15 characters of a name.
    (event / "filter").write_text(" || ".join(f'comm == "{name[:15]}"' for name in PROGRAMS))
    pipe = os.open(TRACE / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
    ended = threading.Event()

    def read():
        rest = b""
        while True:
            last = ended.is_set()
            try:
                raw = os.read(pipe, 1 << 16)
            except BlockingIOError:
                if last:
                    return
                ended.wait(0.05)
                continue
            *lines, rest = (rest + raw).split(b"\n")
            for line in lines:
                match = re.match(rb"\s*(\S+)-\d+ .*sys_enter: NR (\d+)", line)
                if match:
                    found[match[1].decode(), int(match[2])] += 1

    reader = threading.Thread(target=read)
    (event / "enable").write_text("1")
    reader.start()
    try:
        yield found
    finally:
        (event / "enable").write_text("0")
        (event / "filter").write_text("0")
        ended.set()
        reader.join()
        os.close(pipe)


def allowed(directory):
    """The calls of the list in seccomp.c, by number, as this machine's headers have them."""
    source = (native.NATIVE / "box/seccomp.c").read_text()
    listed = source.partition("static const unsigned allowed[] = {")[2].partition("};")[0]
    words = re.findall(r"^#.*$|\b(?:SYS|NR)_\w+", re.sub(r"/\*.*?\*/", "", listed, flags=re.S), re.M)
    program = "\n".join(["#include <stdio.h>", "#include <sys/syscall.h>", *re.findall(r"^enum \{.*?^\};", source, re.S | re.M),
                         "int main(void)", "{",
                         *(word if word.startswith("#") else f'    printf("%d {word}\\n", (int)({word}));' for word in words), "}"])
    subprocess.run(["gcc", "-x", "c", "-", "-o", directory / "numbers"], input=program, text=True, check=True)
    lines = subprocess.run([directory / "numbers"], capture_output=True, text=True, check=True).stdout
    return {int(number): name.partition("_")[2] for number, name in map(str.split, lines.splitlines())}


def programs(directory):
    """What is to be run: a directory with labs, and which lab, compiler and sanitizers."""
    everything = [(labs.SOLUTIONS, lab.number, cc, san) for lab in labs.all_labs() for cc, san in BUILDS]
    if not running.FULL:
        return [one for one in everything if one[1] in ("05", "14") and one[2:] in (("gcc", False), ("clang", True))]
    for variant in gallery.variants():
        everything.append((variant.apply(directory / str(variant).replace("/", "-")), variant.lab.number, "gcc", False))
    return everything


def test_right_programs_make_no_call_that_is_not_in_the_list(tmp_path):
    listed = allowed(tmp_path)
    assert len(listed) > 100
    with traced() as found:
        for directory, number, cc, san in programs(tmp_path):
            words = ["harness", "--lab", number, "--submission", directory, "--cc", cc, *(["--san"] if san else [])]
            subprocess.run([sys.executable, "-m", "pytest", "-p", "no:xdist", *map(str, words)], cwd=labs.ROOT,
                           stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert {name for name, _ in found} and sum(found.values()) > 1000
    made = Counter()
    for (_, number), times in found.items():
        made[number] += times
    print("\n".join(f"{listed.get(number, number)}: {times}" for number, times in sorted(made.items())))
    refused = {f"{name}: call {number}" for name, number in found if number not in listed}
    assert not refused, refused

"""Which compiler builds which of the harness's own C programs, and that they need no certain C library."""
import os
import shutil
import subprocess
import sys

import running

from shmlab.sandbox import native

SCRIPT = """
from shmlab.sandbox import native
native.build_box(), native.peer_program(), native.spy_preload()
native.spy_object("musl-gcc"), native.interposer("short_sleep", "musl-gcc")
"""


def test_cc_builds_what_is_linked_with_the_students_program_and_nothing_else(tmp_path):
    """The box and the peers are built by the machine's own compiler, whatever CC is."""
    log, tools = tmp_path / "log", tmp_path / "tools"
    tools.mkdir()
    for name in "cc", "gcc", "clang", "musl-gcc":
        (tools / name).write_text(f'#!/bin/sh\nprintf "%s %s\\n" {name} "$*" >>{log}\nexec {shutil.which(name)} "$@"\n')
        (tools / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SHMLAB_BUILD": str(tmp_path / "build"),
                   "PYTHONPATH": str(running.HARNESS), "CC": "musl-gcc"}
    subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True)
    used = {}
    for line in log.read_text().splitlines():
        for part in "box/main.c", "peer.c", "-DSPY_PRELOAD", "spy/spy.c", "interpose/short_sleep.c":
            if part in line:
                used.setdefault(part, line.split()[0])
                break
    assert used == {"box/main.c": "cc", "peer.c": "cc", "-DSPY_PRELOAD": "cc", "spy/spy.c": "musl-gcc",
                    "interpose/short_sleep.c": "musl-gcc"}


def test_the_box_with_another_c_library(tmp_path):
    """Where cc is one for musl, the box is built with it. Debian's musl-gcc has no kernel headers: they are lent to it."""
    machine = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True, check=True).stdout.strip()
    for name, path in ("linux", "linux"), ("asm-generic", "asm-generic"), ("asm", f"{machine}/asm"):
        (tmp_path / name).symlink_to(f"/usr/include/{path}")
    sources = sorted(str(path) for path in (native.NATIVE / "box").glob("*.c"))
    done = subprocess.run(["musl-gcc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-static", "-idirafter", tmp_path, *sources,
                           "-o", tmp_path / "box"], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    done = subprocess.run([tmp_path / "box", "--", "sh", "-c", "echo in the box; exit 3"], capture_output=True, text=True)
    assert done.stdout == "in the box\n" and "exit status 3" in done.stderr

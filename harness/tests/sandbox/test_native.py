"""Which compiler builds which of the harness's own C programs, and that they need no certain C library."""
import os
import shutil
import subprocess
import sys

import pytest
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


#: Prints what a program can see of its environment: getenv(), environ, and the memory that the kernel shows.
SEES = """#include <stdio.h>
#include <stdlib.h>
extern char **environ;
int main(void)
{
    char content[65536] = "";
    FILE *file = fopen("/proc/self/environ", "r");
    const size_t length = fread(content, 1, sizeof content, file);
    for (size_t i = 0; i < length; i++)
        putchar(content[i] ? content[i] : '\\n');
    for (char **entry = environ; *entry; entry++)
        puts(*entry);
    return getenv("LD_PRELOAD") != NULL;
}
"""


@pytest.mark.parametrize("cc", ["gcc", "clang", "musl-gcc"])
@pytest.mark.parametrize("name", sorted(path.stem for path in (native.NATIVE / "interpose").glob("*.c")))
def test_a_program_does_not_see_what_is_interposed(name, cc, tmp_path):
    (tmp_path / "sees.c").write_text(SEES)
    subprocess.run([cc, "-o", tmp_path / "sees", tmp_path / "sees.c"], check=True)
    told = ["SHMLAB_PAGE", "SHMLAB_DONE", "SHMLAB_FILL", "SHMLAB_IPC_SET", "SHMLAB_NAME", "SHMLAB_NEXT", "SHMLAB_MEANWHILE"]
    source = (native.NATIVE / "interpose" / f"{name}.c").read_text()
    variables = {variable: "x" for variable in told if f'"{variable}"' in source}
    done = subprocess.run([tmp_path / "sees"], env={"HOME": "/", "LD_PRELOAD": str(native.interposer(name, cc)), **variables, "LAST": "1"},
                          capture_output=True, text=True)
    assert done.returncode == 0 and "HOME=/" in done.stdout and "LAST=1" in done.stdout
    assert not any(word in done.stdout for word in ("SHMLAB", "PRELOAD", name)), done.stdout

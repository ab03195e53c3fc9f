"""Packs the students' edition (`make dist`) and Gradescope's autograder (`make gradescope`).

The students' edition is this project without solutions, mistakes, variants, hostile programs and the instructor's
commands. It contains the finished programs that checks run as peers in compiled form only.
"""
from __future__ import annotations

import gzip
import os
import platform
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Dict, IO, List, Optional, cast

from .sandbox import native
from .gallery import FAST, variants
from .labs import CHECKS, PEERS, ROOT, SOLUTIONS, Lab, UserError, all_labs, judging_modules

NAME = "shared-memory-lab"
_FILES = ["LICENSE", "compile_flags.txt", ".clang-format", ".editorconfig", ".gitignore", "harness/pytest.ini",
          "harness/conftest.py", "harness/setup.sh", "harness/other_make.mk", "docs/compare.md", "docs/machine.md",
          "docs/schedules.md", "docs/speed.md", "docs/which.md", "docs/trace.md", "docs/examples/trace_segment.out",
          "docs/examples/trace_pair.svg",
          "harness/native/race.c", "harness/native/measure.h", ".devcontainer/devcontainer.json", ".devcontainer/Dockerfile"]
_DIRECTORIES = ["labs", "harness/checks", "harness/native/box", "harness/native/spy", "harness/native/interpose",
                "harness/native/explore", "harness/scenarios", "docs/figures", ".vscode", "harness/ci"]
PROCESSORS = ("aarch64", "x86_64")  # for which peers are compiled, if there is a compiler
_STUDENT_MODULES = [*(Path(__file__).with_name(f"{name}.py") for name in ("__main__", "student")),
                    *(path for room in ("observe", "trace", "race") for path in sorted((Path(__file__).parent / room).glob("*.py")))]
_AUTOGRADER_MODULES = [Path(__file__).parent / "course" / f"{name}.py"
                       for name in ("__init__", "course_file", "tables", "unpack", "archive_reader", "choice", "intake", "cohort",
                                    "exports", "results_directory", "roster", "autograde")]


def _without(text: str, start: str, end: str) -> str:
    """Removes the parts of a text that are marked as not for students."""
    return re.sub(rf"^{re.escape(start)}\n.*?^{re.escape(end)}\n", "", text, flags=re.M | re.S)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def needs_peers(lab: Lab) -> bool:
    """Whether the checks of a lab run its finished programs as peers."""
    return "reference(" in (CHECKS / f"test_{lab.name}.py").read_text(encoding="utf-8")


def _compilers() -> Dict[str, Dict[str, str]]:
    """Returns a compiler for each processor, and for each C library that students may use there, as far as there is one.

    A peer needs the same C library as the student's program, because semaphores and mutexes differ in memory.
    """
    found = {platform.machine(): {"glibc": native.host_compiler()}}
    if shutil.which("musl-gcc"):
        found[platform.machine()]["musl"] = "musl-gcc"
    for machine in PROCESSORS:
        if machine not in found and shutil.which(f"{machine}-linux-gnu-gcc"):
            found[machine] = {"glibc": f"{machine}-linux-gnu-gcc"}
    return found


def _compile(cc: str, standard: str, source: Path, target: Path) -> None:
    """Compiles statically, so that the program runs on any distribution, and strips the symbols."""
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [*shlex.split(cc), f"-std={standard}", "-O2", "-s", "-static", "-pthread", source.name, "-o", str(target), "-lrt"]
    done = subprocess.run(command, cwd=source.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError(f"cannot build {source.name} with {cc}: {(done.stderr.strip().splitlines() or ['?'])[0]}")


def compile_peers(target: Path) -> None:
    """Compiles the peers that checks run to `target`/MACHINE/LIBRARY/, and writes there which these are."""
    for machine, libraries in _compilers().items():
        _compile(libraries["glibc"], "gnu17", native.NATIVE / "peer.c", target / machine / "glibc" / "peer")
        for library, cc in libraries.items():
            for lab in all_labs():
                for program in lab.programs if needs_peers(lab) else ():
                    _compile(cc, "c17", SOLUTIONS / lab.name / f"{program}.c", target / machine / library / lab.name / program)
        for patch in (patch for patch in variants() if patch.name == FAST):
            with tempfile.TemporaryDirectory() as scratch:
                fast, made = patch.apply(Path(scratch)) / patch.lab.name, target / machine / "glibc" / f"{patch.lab.name}_{FAST}"
                for program in patch.lab.programs:
                    _compile(libraries["glibc"], "c17", fast / f"{program}.c", made / program)
    text = "The finished programs that the checks run beside yours, compiled for these processors and C libraries:\n\n"
    (target / "README").write_text(text + "\n".join(peers()) + "\n", encoding="ascii")


def peers() -> List[str]:
    """Returns a line for each processor for which this machine can compile peers: with which C libraries."""
    return [f"{machine}: {', '.join(libraries)}" for machine, libraries in sorted(_compilers().items())]


def students_edition(target: Path, more_modules: Optional[List[Path]] = None) -> None:
    """Writes the tree of the students' edition."""
    if not SOLUTIONS.is_dir():
        raise UserError("this is already the students' edition: it has no solutions from which to compile the peers")
    for name in _FILES:
        _copy(ROOT / name, target / name)
    for name in _DIRECTORIES:
        for path in sorted((ROOT / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                _copy(path, target / path.relative_to(ROOT))
    for path in [*judging_modules(), *_STUDENT_MODULES, *(more_modules or [])]:
        _copy(path, target / path.relative_to(ROOT))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (target / "Makefile").write_text(_without(makefile, "# (not for students", "# not for students)"), encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (target / "README.md").write_text(_without(readme, "<!-- not for students -->", "<!-- for all -->"), encoding="utf-8")
    compile_peers(target / PEERS.relative_to(ROOT))


def _reproducible(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Removes owner and time, so that the same tree always makes the same archive."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info


def make_dist(out: Path) -> Path:
    """Writes the students' archive. Returns its path."""
    path = out / f"{NAME}.tar.gz"
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, NAME)
        students_edition(tree)
        out.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}")
        with open(part, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed, \
                tarfile.open(fileobj=cast(IO[bytes], packed), mode="w", format=tarfile.PAX_FORMAT) as archive:
            for item in [tree, *sorted(tree.rglob("*"))]:
                archive.add(item, str(item.relative_to(scratch)), recursive=False, filter=_reproducible)
        os.replace(part, path)
    return path


_SETUP = """#!/bin/bash
# Gradescope runs this once, as root, to build the image.
set -eu
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends gcc libc6-dev make python3 python3-pytest binutils
# The students' programs run as another user, which must not be able to read the checks and the peers.
chmod 700 "${AUTOGRADER:-/autograder}/source"
"""

_RUN = """#!/bin/bash
# Gradescope runs this, as root, for every submission; see harness/shmlab/course/autograde.py.
set -eu
cd "${AUTOGRADER:=/autograder}/source/lab"
PYTHONPATH=harness exec /usr/bin/python3 -m shmlab.course.autograde "$AUTOGRADER/submission" "$AUTOGRADER/results/results.json"
"""


def make_gradescope(out: Path, course: Optional[Path], labs: List[str]) -> Path:
    """Writes the zip file to upload to Gradescope as an autograder. Returns its path."""
    path = out / "gradescope.zip"
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        students_edition(tree / "lab", _AUTOGRADER_MODULES)
        for name, text in ("setup.sh", _SETUP), ("run_autograder", _RUN):
            (tree / name).write_text(text, encoding="utf-8")
            (tree / name).chmod(0o755)
        if course:
            from .course.course_file import read_course

            read_course(course)  # an error in it is better reported now than on Gradescope
            _copy(course, tree / "lab" / "course.ini")
        (tree / "lab" / "labs.txt").write_text(" ".join(labs) + "\n", encoding="utf-8")
        out.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for item in sorted(tree.rglob("*")):
                if item.is_file():
                    info = zipfile.ZipInfo(str(item.relative_to(tree)))
                    info.external_attr = (item.stat().st_mode & 0xFFFF) << 16
                    info.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(info, item.read_bytes())
        os.replace(part, path)
    return path

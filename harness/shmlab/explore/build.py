"""Compiles a student's programs for the explorer: with -fsanitize=thread, and our own run-time in place of the compiler's."""
from __future__ import annotations

import json
import shlex
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Dict, List, Tuple

from ..labs import Lab, UserError
from ..sandbox import build as building
from ..sandbox import native
from ..sandbox.build import BuildProblem, Built, Compilation
from .steps import WRAPPED

RUNTIME = ("turn.c", "template.c", "access.c", "files.c", "calls.c", "weak.c", "memory.c", "sysv.c")
SHARED = ("control.h", "runtime.h", "steps.def")

#: Calls that the compiler must leave calls, so that the linker can replace them.
PLAIN_CALLS = [f"-fno-builtin-{name}" for name in ("memcpy", "memmove", "memset", "memcmp", "strlen")]


def _paths(*names: str) -> Tuple[str, ...]:
    """The files of native/explore/, as paths below harness/native/."""
    return tuple(f"explore/{name}" for name in names)


def explorer_program() -> Path:
    """The explorer itself: see native/explore/search.c."""
    return native.compiled("explore", native.host_compiler(), ("-std=gnu17", "-O2"), _paths("search.c", "turn.c"),
                           _paths(*SHARED), static=True)


def runtime_object(cc: str) -> Path:
    """What is linked into a program built by this compiler."""
    return native.compiled("runtime.o", cc, ("-std=gnu17", "-O2", "-DEXPLORE_RUNTIME", "-r", "-nostdlib"), _paths(*RUNTIME),
                           _paths(*SHARED), visible=("__wrap_*", "__tsan_*"))


@lru_cache(maxsize=None)
def _own_flags(cc: str) -> Tuple[str, ...]:
    """clang leaves out the load of a load and store in a row, unless it is told not to: it is a step of its own."""
    done = subprocess.run([*shlex.split(cc), "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    return ("-mllvm", "-tsan-instrument-read-before-write=1") if "clang" in done.stdout else ()


def compile_command(program: str, cc: str) -> List[str]:
    """A shell command: to compile and to link at once would link the compiler's own run-time."""
    words = shlex.split(cc)
    flags = [*building.FLAGS, building.NOT_FORTIFIED, "-w", "-fsanitize=thread", *_own_flags(cc), *PLAIN_CALLS]
    first = [*words, *flags, "-c", f"{program}.c", "-o", f".{program}.o"]
    wraps = "-Wl," + ",".join(f"--wrap={name}" for name in WRAPPED)
    second = [*words, "-pthread", f".{program}.o", ".runtime.o", wraps, "-Wl,-z,now", "-o", program, "-lrt"]
    return ["/bin/sh", "-c", f"{shlex.join(first)} && exec {shlex.join(second)}"]


@lru_cache(maxsize=None)
def build(lab: Lab, submission: Path, tier: str, cc: str) -> List[Built]:
    """The programs of one lab, ready to be explored.

    Raises BuildProblem where the compiler cannot do this; what the student has to know the plain build has told.
    """
    wanted, files = _compilations(lab, submission, cc)
    building.compile_missing(wanted, files, tier)
    for one in wanted:
        note = one.target / f"{one.program}.json"
        if not note.exists() or json.loads(note.read_text(encoding="utf-8"))["error"] is not None:
            raise BuildProblem(f"{one.program}.c cannot be built for the explorer with {cc}")
    return [Built(one.program, one.target / one.program, "") for one in wanted]


@lru_cache(maxsize=None)
def build_both(lab: Lab, submission: Path, tier: str, cc: str) -> None:
    """Compiles the programs of one lab for the explorer and plainly, all at once. What cannot be built tells who asks for it."""
    plain, files = building.compilations(lab, submission, cc, False)
    explored, more = _compilations(lab, submission, cc)
    building.compile_missing([*plain, *explored], {**files, **more}, tier)


def _compilations(lab: Lab, submission: Path, cc: str) -> Tuple[List[Compilation], Dict[str, bytes]]:
    sources = building.read_sources(lab, submission)
    try:
        runtime = runtime_object(cc).read_bytes()
    except UserError as error:
        raise BuildProblem(str(error)) from None
    commands = {name: compile_command(name, cc) for name in lab.programs}
    wanted = [Compilation(name, command, building.target_of(command, cc, runtime, sources)) for name, command in commands.items()]
    return wanted, {**sources, ".runtime.o": runtime}

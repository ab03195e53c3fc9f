"""Compiles a student's programs, in the box, and keeps the results by content in build/programs/."""
from __future__ import annotations

import json
import os
import platform
import shlex
import stat
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from . import native
from .box import Box, BoxedProcess
from .calls import WRAPPED
from ..labs import PEERS, Lab, UserError, submitted_directory

FLAGS = ["-std=c17", "-O2", "-g", "-pthread", "-Wall", "-Wextra"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
SOURCE_LIMIT = 1 << 20  # bytes in one source file
COMPILE_SECONDS = 20  # the largest program with sanitizers takes one
MOST_TURNS = 4  # so many times as long where others have the processors

_gave_up: Dict[Path, str] = {}  # what took too long in this run; kept no longer, as the machine may have been busy


class BuildProblem(Exception):
    """A program that cannot be built; the text is for the student."""


@dataclass(frozen=True)
class Built:
    """A program ready to run: the file, and what the compiler said about it."""

    program: str
    path: Path
    warnings: str


def read_source(path: Path) -> bytes:
    """The text of one source file, taken without following a link. Raises BuildProblem for anything odd."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BuildProblem(f"{path} is not there: put your program under this name") from None
    except OSError as error:
        if path.is_symlink():
            raise BuildProblem(f"{path} is a symbolic link: put the file itself in its place") from None
        raise BuildProblem(f"{path} cannot be read: {error.strerror}") from None
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        os.close(fd)
        raise BuildProblem(f"{path} is not a file: put your program under this name")
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(status.st_mode):
            raise BuildProblem(f"{path} is not a file: put your program under this name")
        if status.st_size > SOURCE_LIMIT:
            raise BuildProblem(f"{path} has {status.st_size >> 20} MiB: a C source of this lab has some kilobytes")
        content = file.read(SOURCE_LIMIT + 1)
    if content.startswith(b"\x7fELF") or b"\0" in content:
        raise BuildProblem(f"{path} is a binary file: hand in the C source")
    return content


def read_sources(lab: Lab, submission: Path) -> Dict[str, bytes]:
    """All C sources and headers of one lab in a submission, by name."""
    directory = submitted_directory(submission, lab)
    if directory is None:
        raise BuildProblem(f"{submission} has no directory {lab.name}")
    names = {f"{program}.c" for program in lab.programs}
    names |= {entry.name for entry in os.scandir(directory) if entry.name.endswith((".c", ".h"))}
    if len(names) > 64:
        raise BuildProblem(f"{directory} has {len(names)} C files: this lab needs {len(lab.programs)}")
    sources = {}
    for name in sorted(names):
        try:
            sources[name] = read_source(directory / name)
        except BuildProblem:
            if name[:-2] in lab.programs or name.endswith(".h"):
                raise  # other stray files do no harm
    return sources


def compile_command(program: str, cc: str, san: bool) -> List[str]:
    """How a program is built by hand: what the harness does, less the spy."""
    return [*shlex.split(cc), *FLAGS, *(SANITIZE if san else []), f"{program}.c", "-o", program, "-lrt"]


@lru_cache(maxsize=None)
def build(lab: Lab, program: str, submission: Path, tier: str, cc: str = "cc", san: bool = False) -> Built:
    """Compiles the programs of one lab, or takes them from an earlier build of the same content; gives one of them.

    A source that changes while the harness runs is not looked at again.
    """
    if san and "musl" in cc:
        raise UserError("musl has no sanitizers: use SAN=1 with gcc or clang")
    sources = read_sources(lab, submission)
    spy = native.spy_object(cc).read_bytes()
    wraps = "-Wl," + ",".join(f"--wrap={name}" for name in WRAPPED)
    parts = [part for name, content in sources.items() for part in (name.encode(), content)]
    targets: Dict[str, Path] = {}
    missing: Dict[str, List[str]] = {}
    for name in lab.programs:
        command = compile_command(name, cc, san)
        # The spy first: what is linked first is initialised first.
        command[command.index(f"{name}.c"):command.index(f"{name}.c")] = [".spy.o", wraps]
        key = native.fingerprint(native.find_compiler(cc).encode(), " ".join(command).encode(), spy, *parts)
        targets[name] = native.build_directory() / "programs" / key
        if targets[name] not in _gave_up and not (targets[name] / f"{name}.json").exists():
            missing[name] = command
    if program in missing:
        _compile(missing, {**sources, ".spy.o": spy}, tier, targets)
    if targets[program] in _gave_up:
        raise BuildProblem(_gave_up[targets[program]])
    said = json.loads((targets[program] / f"{program}.json").read_text(encoding="utf-8"))
    if said["error"] is not None:
        raise BuildProblem(said["error"])
    return Built(program, targets[program] / program, said["warnings"])


def ready_made(lab: Lab, program: str, cc: str) -> Built:
    """A finished program as the students' edition has it: for each machine and C library, linked statically."""
    path = PEERS / platform.machine() / ("musl" if "musl" in cc else "glibc") / lab.name / program
    if not path.exists():
        raise UserError(f"there is no finished {program} for this machine ({platform.machine()}, {path.parts[-3]}) in "
                        f"harness/peers/: this edition was made for {', '.join(sorted(p.name for p in PEERS.glob('*')))}")
    return Built(program, path, "")


def _compile(commands: Dict[str, List[str]], files: Dict[str, bytes], tier: str, targets: Dict[str, Path]) -> None:
    """Compiles programs side by side, each in a box of its own, and writes down what came of it."""
    with ExitStack() as boxes:
        runs: List[Tuple[str, Box, BoxedProcess]] = []
        for program, command in commands.items():
            box = boxes.enter_context(Box(tier))
            for name, content in files.items():
                box.put(name, content)
            # No limit of processor time comes before: it would end a part of the compiler, which says so in its own words.
            most = MOST_TURNS * COMPILE_SECONDS
            run = box.start(command, address_mb=0, wall_ms=most * 1000, cpu_s=most)
            runs.append((program, box, run))
        for program, box, run in runs:
            _wait(box, run)
            _keep(program, box, run, targets[program])


def _wait(box: Box, run: BoxedProcess) -> None:
    """Waits for a compiler; longer for one that is at work and has not had the processors for half of the time."""
    for _ in range(MOST_TURNS):
        if box.wait(run, COMPILE_SECONDS):
            return
        processes = box.processes()
        if sum(process.cpu for process in processes) > COMPILE_SECONDS / 2 or all(process.state != "R" for process in processes):
            return


def _keep(program: str, box: Box, run: BoxedProcess, target: Path) -> None:
    """Takes what a compiler has made out of its box."""
    binary: Optional[bytes] = None
    error: Optional[str] = None
    said = run.output[2].decode("utf-8", "replace").replace(box.work + "/", "")
    if run.timed_out or run.over_memory or run.status is None or run.status & 0x7F:
        error = f"the compiler did not finish {program}.c within {COMPILE_SECONDS} s or within its memory"
        if run.timed_out or run.status is None:
            _gave_up[target] = error
            return
    elif run.status != 0:
        error = f"{program}.c does not compile:\n{said[:8000].rstrip()}"
    else:
        try:
            binary = box.get(program, 64 << 20)
        except OSError as problem:
            error = f"the compiler made no program of {program}.c: {problem.strerror}"
    target.mkdir(parents=True, exist_ok=True)
    if binary is not None:
        _write(target / program, binary, 0o755)
    note = {"error": error, "warnings": said[:8000].rstrip() if error is None else ""}
    _write(target / f"{program}.json", json.dumps(note).encode(), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Writes a file whole or not at all."""
    handle, scratch = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
    os.replace(scratch, path)

"""Compiles a student's programs in a box and caches the results in build/programs/, by a hash of the sources and options."""
from __future__ import annotations

import errno
import json
import os
import platform
import re
import shlex
import shutil
import stat
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from . import native
from .box import Box
from .calls import WRAPPED
from .channel import EXIT_EXEC, BoxedProcess, BoxRefused
from ..labs import PEERS, Lab, UserError, submitted_directory

FLAGS = ["-std=c17", "-O2", "-g", "-pthread", "-Wall", "-Wextra"]
#: Some distributions' compilers turn calls such as open() and memcpy() into others, __open_2() and __memcpy_chk(), which
#: nothing here wraps.
NOT_FORTIFIED = "-U_FORTIFY_SOURCE"
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
SOURCE_LIMIT = 1 << 20  # bytes in one source file
MOST_BYTES = 16 << 20  # of an executable; with sanitizers, one of a lab has 2 MiB
CACHE_BYTES = 1 << 30  # of all executables that are kept
TRIM_SECONDS = 900  # between two looks at that; what was used since then stays, and a lab takes no longer
COMPILE_SECONDS = 20  # the largest program with sanitizers takes one second
MAX_ENTRIES = 100  # of a directory, that are looked at for a file with another name
MAX_WAITS = 4  # of COMPILE_SECONDS each, if other processes keep the processors busy

#: What took too long to compile, with the message. Not kept in a file: the machine may have been busy.
_timed_out: Dict[Path, str] = {}


class BuildProblem(Exception):
    """A program cannot be built; the text is the message for the student."""


@dataclass(frozen=True)
class Built:
    """A compiled program: its name, the executable, and the compiler's warnings."""

    program: str
    path: Path
    warnings: str


@dataclass(frozen=True)
class Compilation:
    """What compiles one program, and the directory for the executable and the compiler's messages."""

    program: str
    command: List[str]
    target: Path

    @property
    def is_missing(self) -> bool:
        return self.target not in _timed_out and not (self.target / f"{self.program}.json").exists()


def read_source(path: Path) -> bytes:
    """Returns the content of one source file.

    Raises BuildProblem if it is missing, not a regular file (links are not followed), too large or binary; OSError if the
    machine refuses to read it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BuildProblem(f"{path} is not there: put your program under this name") from None
    except OSError as error:
        if path.is_symlink():
            raise BuildProblem(f"{path} is a symbolic link: put the file itself in its place") from None
        if error.errno in (errno.ENXIO, errno.ENOTDIR):
            raise BuildProblem(f"{path} is not a file: put your program under this name") from None
        raise
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        os.close(fd)
        raise BuildProblem(f"{path} is not a file: put your program under this name")
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(status.st_mode):
            raise BuildProblem(f"{path} is not a file: put your program under this name")
        if status.st_size > SOURCE_LIMIT:
            raise BuildProblem(f"{path} has {status.st_size >> 20} MiB: a C source of this lab needs a few kilobytes")
        content = file.read(SOURCE_LIMIT + 1)
    if content.startswith(b"\x7fELF") or b"\0" in content:
        raise BuildProblem(f"{path} is a binary file: hand in the C source")
    return content


def misnamed(directory: Path, program: str, lab: Lab) -> str:
    """Returns a phrase about a file that is probably the missing source of a program under another name; else an empty one."""
    wanted = f"{program}.c"
    found: List[str] = []
    for where in [directory, *islice(sorted(path for path in directory.glob("*/") if not path.is_symlink()), MAX_ENTRIES)]:
        try:
            with os.scandir(where) as entries:
                found += [str(Path(entry.path).relative_to(directory)) for entry in islice(entries, MAX_ENTRIES)
                          if entry.is_file(follow_symlinks=False)]
        except OSError:
            continue

    def bare(name: str) -> str:
        stem = re.sub(r"\s*\(\d+\)$", "", name.rsplit("/", 1)[-1].split(".")[0].lower())
        return re.sub(r"[^a-z0-9]", "", stem)

    others = {f"{other}.c" for other in lab.programs}
    same = [name for name in found if bare(name) == bare(program) and name not in others]
    # If this lab has only one program, any other C source is probably it.
    sources = [name for name in found if name.endswith((".c", ".C", ".cpp", ".cc")) and name not in others]
    likely = sorted(same, key=lambda name: (name.count("/"), name)) or (sources if len(lab.programs) == len(sources) == 1 else [])
    if not likely:
        return ""
    move = "/" in likely[0] and likely[0].endswith(f"/{wanted}")
    return f"{likely[0]} is there: {f'move it to {directory.name}/' if move else f'call it {wanted}'}"


def read_sources(lab: Lab, submission: Path) -> Dict[str, bytes]:
    """Returns the content of each C source and header of one lab in a submission, by name.

    Raises BuildProblem if one that the lab needs cannot be read, or if there are too many.
    """
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
        except OSError:
            if name[:-2] in lab.programs or name.endswith(".h"):
                raise
        except BuildProblem as problem:
            instead = misnamed(directory, name[:-2], lab) if name[:-2] in lab.programs and not (
                directory / name).is_symlink() and not (directory / name).exists() else ""
            if instead:
                raise BuildProblem(f"{directory / name} is not there, but {instead}") from problem
            if name[:-2] in lab.programs or name.endswith(".h"):
                raise  # the lab needs no other .c file, so one that cannot be read does not matter
    return sources


def compile_command(program: str, cc: str, san: bool) -> List[str]:
    """Returns the command that builds a program as the harness does, but without the spy."""
    return [*shlex.split(cc), *FLAGS, *(SANITIZE if san else []), f"{program}.c", "-o", program, "-lrt"]


@lru_cache(maxsize=None)
def build(lab: Lab, program: str, submission: Path, tier: str, cc: str = "cc", san: bool = False) -> Built:
    """Compiles the programs of one lab, unless the same sources were compiled before, and returns one of them.

    A source that changes while the harness runs is not compiled again.

    @param program  the name of the program to return
    @param cc       the compiler's command
    @param san      whether to build with the address and undefined behaviour sanitizers
    @throws BuildProblem  if the program does not compile
    """
    wanted, files = compilations(lab, submission, cc, san)
    one = next(compilation for compilation in wanted if compilation.program == program)
    if one.is_missing:
        compile_missing(wanted, files, tier)
    if one.target in _timed_out:
        raise BuildProblem(_timed_out[one.target])
    os.utime(one.target)  # see _forget_old()
    result = json.loads((one.target / f"{program}.json").read_text(encoding="utf-8"))
    if result["error"] is not None:
        raise BuildProblem(result["error"])
    return Built(program, one.target / program, result["warnings"])


def compilations(lab: Lab, submission: Path, cc: str, san: bool) -> Tuple[List[Compilation], Dict[str, bytes]]:
    """What compiles the programs of one lab, and the files that this takes. Raises BuildProblem, see read_sources()."""
    if san and "musl" in cc:
        raise UserError("musl has no sanitizers: use SAN=1 with gcc or clang")
    sources = read_sources(lab, submission)
    spy = native.spy_object(cc).read_bytes()
    wraps = "-Wl," + ",".join(f"--wrap={name}" for name in WRAPPED)
    wanted = []
    for name in lab.programs:
        command = compile_command(name, cc, san)
        # The spy comes first, because constructors run in the order of linking: it must be ready before the program's own.
        command[command.index(f"{name}.c"):command.index(f"{name}.c")] = [NOT_FORTIFIED, ".spy.o", wraps]
        wanted.append(Compilation(name, command, target_of(command, cc, spy, sources)))
    return wanted, {**sources, ".spy.o": spy}


def target_of(command: List[str], cc: str, linked: bytes, sources: Dict[str, bytes]) -> Path:
    """The directory for what a command makes of these sources, and of an object file that it links."""
    parts = [part for name, content in sources.items() for part in (name.encode(), content)]
    key = native.fingerprint(native.find_compiler(cc).encode(), " ".join(command).encode(), linked, *parts)
    return native.build_directory() / "programs" / key


def ready_made(lab: Lab, program: str, cc: str) -> Built:
    """Returns a finished program of the students' edition, which has one for each machine and C library, linked statically."""
    path = PEERS / platform.machine() / ("musl" if "musl" in cc else "glibc") / lab.name / program
    if not path.exists():
        made = sorted(f"{path.parent.name} with {path.name}" for path in PEERS.glob("*/*"))
        raise UserError(f"there is no finished {program} for this machine ({platform.machine()}, {path.parts[-3]}) in "
                        f"harness/peers/: this edition was made for {', '.join(made)}")
    return Built(program, native.unpacked(path), "")


def compile_missing(wanted: Sequence[Compilation], files: Dict[str, bytes], tier: str) -> None:
    """Compiles what was not compiled before, all at once and each in its own box, and stores the results."""
    with ExitStack() as boxes:
        runs: List[Tuple[Compilation, Box, BoxedProcess]] = []
        for one in [one for one in wanted if one.is_missing]:
            box = boxes.enter_context(Box(tier, show=native.shown_for(one.command[0])))
            for name, content in files.items():
                box.put(name, content)
            # The limit of processor time is no shorter: it would kill only a part of the compiler, which then reports a
            # confusing error.
            limit = MAX_WAITS * COMPILE_SECONDS
            run = box.start(one.command, address_mb=0, wall_ms=limit * 1000, cpu_s=limit)
            runs.append((one, box, run))
        for one, box, run in runs:
            _wait(box, run)
            _store_result(one.program, box, run, one.target)
    if runs:
        _forget_old(native.build_directory() / "programs")


def _wait(box: Box, run: BoxedProcess) -> None:
    """Waits for a compiler: again if it is ready to run but had a processor for less than half of the time."""
    for _ in range(MAX_WAITS):
        if box.wait(run, COMPILE_SECONDS):
            return
        processes = box.processes()
        if sum(process.cpu for process in processes) > COMPILE_SECONDS / 2 or all(process.state != "R" for process in processes):
            return


def _forget_old(programs: Path) -> None:
    """Removes the oldest programs if all together take more than CACHE_BYTES; at most every TRIM_SECONDS, and none that is new."""
    stamp, now = programs / ".trimmed", time.time()
    try:
        if now - stamp.stat().st_mtime < TRIM_SECONDS:
            return
    except FileNotFoundError:
        pass
    stamp.touch()
    found = []
    for entry in os.scandir(programs):
        try:
            if entry.is_dir():
                sizes = [file.stat().st_size for file in os.scandir(entry.path)]
                found.append((entry.stat().st_mtime, sum(sizes), entry.path))
        except FileNotFoundError:
            pass  # another harness has removed it
    total = sum(size for _, size, _ in found)
    for made, size, path in sorted(found):
        if total <= CACHE_BYTES or now - made < TRIM_SECONDS:
            break
        shutil.rmtree(path, ignore_errors=True)
        total -= size


#: What a compiler says that has met a limit by itself, before the box has looked.
_LIMIT_MET = re.compile(r"out of memory allocating|memory exhausted|LLVM ERROR: out of memory|CPU time limit exceeded signal terminated")


def _refused_by_the_machine(messages: str, tier: str) -> int:
    """Returns the error number if the compiler ran out of what the machine has, and not of what the box grants; else 0."""
    if "Killed signal terminated program" in messages or "unable to execute command: Killed" in messages:
        return errno.ENOMEM  # the kernel has killed a part of it; the box kills all
    full = next((number for number in (errno.ENOSPC, errno.EDQUOT) if os.strerror(number) in messages), 0)
    return full if tier == "host" else 0  # a box in namespaces has a directory of its own, and only the program fills it


def _store_result(program: str, box: Box, run: BoxedProcess, target: Path) -> None:
    """Copies the executable out of the box, and stores it with the compiler's messages."""
    binary: Optional[bytes] = None
    error: Optional[str] = None
    messages = run.output[2].decode("utf-8", "replace").replace(box.work + "/", "")
    if run.machine_full:
        raise OSError(errno.ENOMEM, f"the compiler of {program}.c: {os.strerror(errno.ENOMEM)}")
    if run.timed_out or run.over_memory or run.status is None or run.status & 0x7F or _LIMIT_MET.search(messages) and run.status != 0:
        error = f"the compiler did not finish {program}.c within {COMPILE_SECONDS} s or within its memory"
        if run.timed_out or run.status is None:
            _timed_out[target] = error
            return
    elif run.status != 0:
        if run.status == EXIT_EXEC << 8 and messages.startswith("box: "):
            raise BoxRefused(f"it could not execute the compiler: {messages[len('box: '):].strip()}")
        refused = _refused_by_the_machine(messages, box.tier)
        if refused:
            raise OSError(refused, f"the compiler of {program}.c: {os.strerror(refused)}")
        error = f"{program}.c does not compile:\n{messages[:8000].rstrip()}"
    else:
        try:
            binary = box.get(program, MOST_BYTES + 1)
            if len(binary) > MOST_BYTES:
                binary, error = None, f"the program of {program}.c has more than {MOST_BYTES >> 20} MiB: a few KiB are usual"
        except FileNotFoundError as problem:
            error = f"the compiler produced no program from {program}.c: {problem.strerror}"
    target.mkdir(parents=True, exist_ok=True)
    if binary is not None:
        _write(target / program, binary, 0o755)
    result = {"error": error, "warnings": messages[:8000].rstrip() if error is None else ""}
    _write(target / f"{program}.json", json.dumps(result).encode(), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Writes a file atomically: another process sees all of it or nothing."""
    handle, scratch = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
    os.replace(scratch, path)

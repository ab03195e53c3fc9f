"""Builds the harness's own C programs into build/native/, and again only if their sources or the compiler change."""
from __future__ import annotations

import errno
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import List, Sequence

from ..labs import PEERS, ROOT, UserError

NATIVE = ROOT / "harness" / "native"


def build_directory() -> Path:
    """Returns the directory for generated files: $SHMLAB_BUILD if set (the project may be read-only), else build/."""
    return Path(os.environ.get("SHMLAB_BUILD") or ROOT / "build")


def fingerprint(*parts: bytes) -> str:
    """Returns a name for some content: 20 hexadecimal digits of its SHA-256 hash."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:20]


@lru_cache(maxsize=None)
def find_compiler(cc: str) -> str:
    """Returns a compiler's command, path, time and size, which identify its version. Raises UserError if there is none."""
    path = shutil.which(shlex.split(cc)[0]) if cc.strip() else None
    if not path:
        raise UserError(f"there is no compiler '{cc}': install it, or name another with CC=")
    status = os.stat(os.path.realpath(path))
    return f"{cc} {os.path.realpath(path)} {status.st_mtime_ns} {status.st_size}"


@lru_cache(maxsize=None)
def compiled(name: str, cc: str, flags: Sequence[str], sources: Sequence[str], included: Sequence[str] = (),
              static: bool = False, visible: Sequence[str] = ()) -> Path:
    """Compiles a program, unless the same sources were compiled before, and returns its path.

    @param sources  the files to compile, below harness/native/
    @param included the files that these include
    @param static   link statically if the machine has static libraries: the program then starts and forks faster
    @param visible  of an object file: patterns for the names that others can use, see objcopy(1); no others clash with theirs
    """
    content = [(NATIVE / source).read_bytes() for source in (*sources, *included)]
    key = fingerprint(find_compiler(cc).encode(), f"{' '.join(flags)} {static} {visible}".encode(), *content)
    target = build_directory() / "native" / key / name
    if target.exists():
        return _can_run(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=target.parent)
    except OSError as error:
        raise UserError(f"cannot write to {error.filename}: {error.strerror}; set SHMLAB_BUILD to a directory that you can "
                        "write to") from None
    os.close(handle)
    command: List[str] = [*shlex.split(cc), *flags, *(str(NATIVE / source) for source in sources), "-o", scratch]
    attempts: List[List[str]] = [["-static"], []] if static else [[]]
    for options in attempts:
        done = subprocess.run([*command, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        if done.returncode == 0:
            break
    if done.returncode != 0:
        Path(scratch).unlink(missing_ok=True)  # some compilers remove it
        reason = _reason(done.stderr)
        remedy = "; make space, or set SHMLAB_BUILD to a directory with free space" if os.strerror(errno.ENOSPC) in reason else ""
        raise UserError(f"cannot build {name} with {cc}: {reason}{remedy}")
    if visible and shutil.which("objcopy"):
        subprocess.run(["objcopy", "--wildcard", *(f"--keep-global-symbol={pattern}" for pattern in visible), scratch],
                       stdin=subprocess.DEVNULL, capture_output=True)
    os.chmod(scratch, 0o755)
    os.replace(scratch, target)
    return _can_run(target)


def _reason(messages: str) -> str:
    """Returns the line of a compiler's messages that tells why it failed."""
    lines = messages.strip().splitlines() or ["?"]
    return next((line for line in lines if "No space left" in line or "rror:" in line), lines[0])


def _can_run(program: Path) -> Path:
    """Returns its argument. Raises UserError if the file system is mounted noexec."""
    if not os.access(program, os.X_OK):
        raise UserError(f"{build_directory()} is on a file system where programs cannot be started (noexec): set SHMLAB_BUILD "
                        "to a directory on another one")
    return program


def host_compiler() -> str:
    """Returns the compiler for the harness's own programs; the student's programs may be built with another."""
    for cc in ("cc", "gcc", "clang"):
        if shutil.which(cc):
            return cc
    raise UserError("there is no C compiler: install one, for example with `apt-get install gcc`")


def _files(directory: str, *endings: str) -> Sequence[str]:
    """The files of a directory below harness/native/, by the ends of their names."""
    return tuple(sorted(f"{directory}/{path.name}" for path in (NATIVE / directory).iterdir() if path.suffix in endings))


def _spy_parts() -> Sequence[str]:
    """What spy.c includes: the spy is one translation unit, so that none of its names can clash with a student's."""
    return tuple(name for name in _files("spy", ".c", ".h", ".def") if name != "spy/spy.c")


def shown_for(cc: str) -> List[str]:
    """Returns the directory that a compiler needs and a box does not show by itself: its own, or /srv/gcc-15 of /srv/gcc-15/bin."""
    found = shutil.which(cc.split()[0]) if cc.strip() else None
    if not found:
        return []
    directory = Path(os.path.realpath(found)).parent
    shown = directory.parent if directory.name in ("bin", "sbin") else directory
    always = any(Path("/", name) in (shown, *shown.parents) for name in ("usr", "bin", "sbin", "lib", "opt", "nix", "gnu"))
    of_the_box = shown.parent == Path("/") and shown.name in ("tmp", "dev", "proc", "etc")
    private = (ROOT, *ROOT.parents, Path.home(), *Path.home().parents)
    return [] if always or of_the_box or shown in private else [str(shown)]


@lru_cache(maxsize=None)
def box_program() -> Path:
    """The box: the installed one if AppArmor restricts all others and it is the same; see apparmor.py."""
    from . import apparmor

    built = build_box()
    if apparmor.is_restricted() and apparmor.INSTALLED.exists() and apparmor.INSTALLED.read_bytes() == built.read_bytes():
        return apparmor.INSTALLED
    return built


def build_box() -> Path:
    return compiled("box", host_compiler(), ("-std=gnu17", "-O2"), _files("box", ".c"), _files("box", ".h"), static=True)


def unpacked(program: Path) -> Path:
    """Returns its argument, a program of the students' edition. Whatever unpacked it may have lost the permission to execute."""
    if program.stat().st_mode & 0o555 != 0o555:
        program.chmod(0o755)
    return program


def peer_program() -> Path:
    made = PEERS / platform.machine() / "glibc" / "peer"  # the students' edition has no source: it would give solutions away
    if made.exists():
        return unpacked(made)
    return compiled("peer", host_compiler(), ("-std=gnu17", "-O2"), ("peer.c",), static=True)


def bench_program(name: str) -> Path:
    """Returns a program that measures: ring_bench, or race."""
    return compiled(name, host_compiler(), ("-std=gnu17", "-O2", "-pthread"), (f"{name}.c",), ("measure.h",))


def spy_object(cc: str) -> Path:
    """Returns the object file of the spy that is linked into programs built by this compiler."""
    return compiled("spy.o", cc, ("-std=gnu17", "-O2", "-c"), ("spy/spy.c",), _spy_parts())


def spy_preload() -> Path:
    """Returns the spy as a shared library for LD_PRELOAD, see ld.so(8)."""
    return compiled("spy.so", host_compiler(), ("-std=gnu17", "-O2", "-fPIC", "-shared", "-DSPY_PRELOAD"), ("spy/spy.c",),
                     _spy_parts())


def interposer(name: str, cc: str) -> Path:
    """Returns a library of native/interpose/ for LD_PRELOAD, for programs that this compiler has built."""
    return compiled(f"{name}.so", cc, ("-std=gnu17", "-O2", "-fPIC", "-shared", "-Wl,--no-as-needed", "-ldl"),
                     (f"interpose/{name}.c",), _files("interpose", ".h"))

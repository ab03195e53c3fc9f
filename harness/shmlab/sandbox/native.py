"""Builds the harness's own C programs, once for each state of their sources, into build/native/."""
from __future__ import annotations

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
    """Where everything made goes: build/, or what SHMLAB_BUILD says where the project's directory is read-only."""
    return Path(os.environ.get("SHMLAB_BUILD") or ROOT / "build")


def fingerprint(*parts: bytes) -> str:
    """A short name for some content."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:20]


@lru_cache(maxsize=None)
def find_compiler(cc: str) -> str:
    """The compiler's path and version, as part of a fingerprint. A compiler that is not there is the user's error."""
    path = shutil.which(shlex.split(cc)[0]) if cc.strip() else None
    if not path:
        raise UserError(f"there is no compiler '{cc}': install it, or name another with CC=")
    status = os.stat(os.path.realpath(path))
    return f"{cc} {os.path.realpath(path)} {status.st_mtime_ns} {status.st_size}"


@lru_cache(maxsize=None)
def _make(name: str, cc: str, flags: Sequence[str], sources: Sequence[str], included: Sequence[str] = (),
          static: bool = False) -> Path:
    """Compiles C files in one command.

    @param sources  the files to compile, below harness/native/
    @param included the files that these include
    @param static   link without shared libraries if the machine has static ones: the program starts and forks faster
    """
    content = [(NATIVE / source).read_bytes() for source in (*sources, *included)]
    key = fingerprint(find_compiler(cc).encode(), f"{' '.join(flags)} {static}".encode(), *content)
    target = build_directory() / "native" / key / name
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {error.filename}: {error.strerror}; set SHMLAB_BUILD to a directory "
                        "where things may be made") from None
    handle, scratch = tempfile.mkstemp(dir=target.parent)
    os.close(handle)
    command: List[str] = [*shlex.split(cc), *flags, *(str(NATIVE / source) for source in sources), "-o", scratch]
    for options in [["-static"], []] if static else [[]]:
        done = subprocess.run([*command, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        if done.returncode == 0:
            break
    if done.returncode != 0:
        os.unlink(scratch)
        raise UserError(f"cannot build {name} with {cc}: {(done.stderr.strip().splitlines() or ['?'])[0]}")
    os.chmod(scratch, 0o755)
    os.replace(scratch, target)
    return target


def host_compiler() -> str:
    """The compiler for what runs outside the box; not the one that the student's programs are built with."""
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


@lru_cache(maxsize=None)
def box_program() -> Path:
    """The box: the installed one if AppArmor restricts all others and it is the same; see apparmor.py."""
    from . import apparmor

    built = build_box()
    if apparmor.is_restricted() and apparmor.INSTALLED.exists() and apparmor.INSTALLED.read_bytes() == built.read_bytes():
        return apparmor.INSTALLED
    return built


def build_box() -> Path:
    return _make("box", host_compiler(), ("-std=gnu17", "-O2"), _files("box", ".c"), _files("box", ".h"), static=True)


def peer_program() -> Path:
    made = PEERS / platform.machine() / "glibc" / "peer"  # the students' edition has it compiled: it shows how things are done
    if made.exists():
        return made
    return _make("peer", host_compiler(), ("-std=gnu17", "-O2"), ("peer.c",), static=True)


def bench_program(name: str) -> Path:
    return _make(name, host_compiler(), ("-std=gnu17", "-O2", "-pthread"), (f"{name}.c",))


def spy_object(cc: str) -> Path:
    """The spy that is linked into a program built by this compiler."""
    return _make("spy.o", cc, ("-std=gnu17", "-O2", "-c"), ("spy/spy.c",), _spy_parts())


def spy_preload() -> Path:
    """The spy as a library for LD_PRELOAD."""
    return _make("spy.so", host_compiler(), ("-std=gnu17", "-O2", "-fPIC", "-shared", "-DSPY_PRELOAD"), ("spy/spy.c",),
                 _spy_parts())

"""The student's commands other than `make check`: watch, hint, doctor and clean-ipc."""
from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Dict, List

from .labs import ROOT, Lab, UserError, submitted_directory
from .sandbox import apparmor, box, kernel, native, tiers

PROJECT_ID = ord("S")  # the handouts pass it to ftok()
OBJECT_PREFIXES = ("shmlab", "sem.shmlab")  # of the names of objects and semaphores in the handouts


# ---- watch ------------------------------------------------------------------------------------------------


def _modification_times(directory: Path) -> Dict[str, int]:
    """Returns the modification time of each source in a directory, in nanoseconds."""
    found = {}
    for path in sorted(directory.glob("*.[ch]")):
        try:
            found[path.name] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue  # an editor is replacing it at this moment
    return found


def watch(lab: Lab, submission: Path, options: List[str]) -> int:
    """Runs the checks now and after every save, until Ctrl-C. Returns the exit status."""
    directory = submitted_directory(submission, lab) or submission
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = [sys.executable, "-m", "pytest", str(ROOT / "harness"), "--submission", str(submission),
               "--lab", lab.number, *options]
    try:
        while True:
            before = _modification_times(directory)
            if sys.stdout.isatty():
                print("\x1b[2J\x1b[H", end="", flush=True)
            status = subprocess.run(command).returncode
            if status == 4:
                return 1  # a usage error: saving a file cannot fix it
            print(f"\nwatching {os.path.relpath(directory)}: save a file to check again, Ctrl-C to stop", flush=True)
            while _modification_times(directory) == before:
                time.sleep(0.2)
    except KeyboardInterrupt:
        print()
        return 0


# ---- hint -------------------------------------------------------------------------------------------------


def hint(lab: Lab) -> int:
    """Prints the next hint of a lab, or the last one again. build/hints.json counts the hints shown of each lab."""
    hints = lab.hints()
    if not hints:
        raise UserError(f"lab {lab.number} has no hints: read its handout, labs/{lab.name}/README.md")
    path = native.build_directory() / "hints.json"
    try:
        shown = json.loads(path.read_text())
        assert isinstance(shown, dict)
    except (OSError, ValueError, AssertionError):
        shown = {}
    number = min(int(shown.get(lab.name, 0)), len(hints) - 1)
    title, text = hints[number]
    print(f"Lab {lab.number}, {title[0].lower() + title[1:]}\n")
    for paragraph in text.split("\n\n"):
        print(paragraph if paragraph.startswith("```") else textwrap.fill(" ".join(paragraph.split()), 90), end="\n\n")
    left = len(hints) - number - 1
    print(f"({left} more: make hint LAB={lab.number})" if left else "(that was the last hint)")
    shown[lab.name] = number + 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(shown))
    return 0


# ---- doctor -----------------------------------------------------------------------------------------------


def _can_build(cc: str, *flags: str) -> bool:
    """Whether a compiler can compile and link an empty program."""
    done = subprocess.run([cc, "-x", "c", *flags, "-o", "/dev/null", "-"], input="int main(void){return 0;}",
                          capture_output=True, text=True)
    return done.returncode == 0


def _version(command: str) -> str:
    done = subprocess.run([command, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace")
    return ((done.stdout + done.stderr).strip().splitlines() or ["?"])[0]


def doctor() -> int:
    """Prints what this machine supports: compilers, sanitizers, the tier, and the limits of shared memory."""
    import pytest

    rows = [("system", f"{platform.system()} {platform.release()}, {os.cpu_count()} processors, "
                       f"{'root' if os.getuid() == 0 else 'ordinary user'}"),
            ("python", f"{platform.python_version()}, pytest {pytest.__version__}")]
    for cc, package in (("cc", "gcc"), ("gcc", "gcc"), ("clang", "clang"), ("musl-gcc", "musl-tools")):
        if not shutil.which(cc):
            rows.append((cc, f"missing (package {package})"))
            continue
        note = _version(cc) if cc != "musl-gcc" else "works" if _can_build(cc) else "does not work"
        if cc != "musl-gcc":
            note += "; sanitizers " + ("work" if _can_build(cc, "-fsanitize=address,undefined") else "missing")
        rows.append((cc, note))
    tier = tiers.choose_tier(None)
    rows.append(("tier", tier))
    rows.append(("", tiers.describe_tier(tier)))
    if tier != "namespaces" and apparmor.remedy():
        rows.append(("", f"remedy: {apparmor.remedy()}"))
    shm = os.statvfs("/dev/shm")
    rows.append(("/dev/shm", f"{shm.f_frsize * shm.f_blocks >> 20} MiB, {shm.f_frsize * shm.f_bavail >> 20} MiB free; "
                             "each box has its own of 64 MiB" if tier == "namespaces" else "shared with all users"))
    for name in ("shmmni", "shmmax", "shmall"):
        rows.append((f"kernel.{name}", Path(f"/proc/sys/kernel/{name}").read_text().strip()))
    if tier == "namespaces":
        with box.Box(tier) as inside:
            rows.append(("faults", "the kernel's own: a check can make it refuse segments inside the box" if inside.can_set_limits
                         else "injected by the spy: limits cannot be set in the box"))
    for label, text in rows:
        print(f"{label:<14} {text}")
    return 0


# ---- clean-ipc --------------------------------------------------------------------------------------------


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return True
    except PermissionError:
        return True
    except ProcessLookupError:
        return False


def clean_ipc() -> int:
    """Removes what the labs' programs left: segments with the labs' project id in their key that no process uses, and
    objects whose name has one of OBJECT_PREFIXES.

    Only those of this user; for root also those of the box's users. Waits for checks that run without namespaces.
    """
    box.HostLock.take()
    users = {os.getuid(), *(box.USERS if os.getuid() == 0 else ())}
    libc = ctypes.CDLL(None, use_errno=True)
    removed = 0
    for segment in kernel.parse_segments(Path("/proc/sysvipc/shm").read_bytes()):
        is_labs = segment.key >> 24 == PROJECT_ID and segment.uid in users
        if is_labs and segment.nattch == 0 and not _is_alive(segment.cpid):
            if libc.shmctl(segment.shmid, 0, None) == 0:
                print(f"removed segment {segment.shmid}, key 0x{segment.key:08x}, {segment.size} bytes")
                removed += 1
    for entry in os.scandir("/dev/shm"):
        if entry.name.startswith(OBJECT_PREFIXES) and entry.is_file(follow_symlinks=False) \
                and entry.stat(follow_symlinks=False).st_uid in users:
            os.unlink(entry.path)
            print(f"removed object /{entry.name}")
            removed += 1
    if not removed:
        print("the labs left nothing on this machine")
    box.HostLock.drop()
    return 0

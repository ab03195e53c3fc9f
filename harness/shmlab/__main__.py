"""The commands of the Makefile that are not pytest."""
from __future__ import annotations

import argparse
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

from .sandbox import apparmor, box, kernel, native, tiers
from .labs import LABS, ROOT, Lab, UserError, find, submitted_directory

PROJECT_ID = ord("S")  # what the labs give to ftok()
OBJECT_PREFIXES = ("shmlab", "sem.shmlab")  # what the handouts tell to begin names with


def _one_lab(word: str) -> Lab:
    if not word:
        raise UserError("say which lab: LAB=05")
    return find(word)


# ---- watch ------------------------------------------------------------------------------------------------


def _state(directory: Path) -> Dict[str, int]:
    """Time of the last change of every source in a directory."""
    found = {}
    for path in sorted(directory.glob("*.[ch]")):
        try:
            found[path.name] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue  # an editor is just replacing it
    return found


def watch(lab: Lab, submission: Path, options: List[str]) -> int:
    """Checks at once, and again after every save, until Ctrl-C."""
    directory = submitted_directory(submission, lab) or submission
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = [sys.executable, "-m", "pytest", str(ROOT / "harness"), "--submission", str(submission),
               "--lab", lab.number, *options]
    try:
        while True:
            before = _state(directory)
            if sys.stdout.isatty():
                print("\x1b[2J\x1b[H", end="", flush=True)
            status = subprocess.run(command).returncode
            if status == 4:
                return 1  # a usage error does not go away by saving a file
            print(f"\nwatching {os.path.relpath(directory)}: save a file to check again, Ctrl-C to stop", flush=True)
            while _state(directory) == before:
                time.sleep(0.2)
    except KeyboardInterrupt:
        print()
        return 0


# ---- hint -------------------------------------------------------------------------------------------------


def hint(lab: Lab) -> int:
    """Shows the hints up to the next one; each call goes a rung further."""
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


def _works(cc: str, *flags: str) -> bool:
    done = subprocess.run([cc, "-x", "c", *flags, "-o", "/dev/null", "-"], input="int main(void){return 0;}",
                          capture_output=True, text=True)
    return done.returncode == 0


def _version(command: str) -> str:
    done = subprocess.run([command, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace")
    return ((done.stdout + done.stderr).strip().splitlines() or ["?"])[0]


def doctor() -> int:
    """What this machine has, what it lacks, and what follows from that."""
    import pytest

    rows = [("system", f"{platform.system()} {platform.release()}, {os.cpu_count()} processors, "
                       f"{'root' if os.getuid() == 0 else 'ordinary user'}"),
            ("python", f"{platform.python_version()}, pytest {pytest.__version__}")]
    for cc, package in (("cc", "gcc"), ("gcc", "gcc"), ("clang", "clang"), ("musl-gcc", "musl-tools")):
        if not shutil.which(cc):
            rows.append((cc, f"missing (package {package})"))
            continue
        note = _version(cc) if cc != "musl-gcc" else "works" if _works(cc) else "does not work"
        if cc != "musl-gcc":
            note += "; sanitizers " + ("work" if _works(cc, "-fsanitize=address,undefined") else "missing")
        rows.append((cc, note))
    tier = tiers.choose_tier(None)
    rows.append(("tier", tier))
    rows.append(("", tiers.describe_tier(tier)))
    if tier != "namespaces" and apparmor.remedy():
        rows.append(("", f"remedy: {apparmor.remedy()}"))
    shm = os.statvfs("/dev/shm")
    rows.append(("/dev/shm", f"{shm.f_frsize * shm.f_blocks >> 20} MiB, {shm.f_frsize * shm.f_bavail >> 20} MiB free; "
                             "each box has its own of 64 MiB" if tier == "namespaces" else "shared with everybody"))
    for name in ("shmmni", "shmmax", "shmall"):
        rows.append((f"kernel.{name}", Path(f"/proc/sys/kernel/{name}").read_text().strip()))
    if tier == "namespaces":
        with box.Box(tier) as inside:
            rows.append(("faults", "the kernel can be made to refuse segments, for the box alone" if inside.can_set_limits else
                         "limits cannot be set in the box: such faults are injected"))
    for label, text in rows:
        print(f"{label:<14} {text}")
    return 0


# ---- clean-ipc --------------------------------------------------------------------------------------------


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return True
    except PermissionError:
        return True
    except ProcessLookupError:
        return False


def clean_ipc() -> int:
    """Removes this user's segments with a key of the labs' project id that nobody uses, and objects with our names; for
    root, those of the box's users as well. If checks are running on this machine's own IPC, they are waited for.
    """
    box.HostLock.take()
    mine = {os.getuid(), *(box.USERS if os.getuid() == 0 else ())}
    libc = ctypes.CDLL(None, use_errno=True)
    removed = 0
    for segment in kernel.parse_segments(Path("/proc/sysvipc/shm").read_bytes()):
        ours = segment.key >> 24 == PROJECT_ID and segment.uid in mine
        if ours and segment.nattch == 0 and not _alive(segment.cpid):
            if libc.shmctl(segment.shmid, 0, None) == 0:
                print(f"removed segment {segment.shmid}, key 0x{segment.key:08x}, {segment.size} bytes")
                removed += 1
    for entry in os.scandir("/dev/shm"):
        if entry.name.startswith(OBJECT_PREFIXES) and entry.is_file(follow_symlinks=False) \
                and entry.stat(follow_symlinks=False).st_uid in mine:
            os.unlink(entry.path)
            print(f"removed object /{entry.name}")
            removed += 1
    if not removed:
        print("nothing of the labs is left on this machine")
    box.HostLock.drop()
    return 0


# ---- grade ------------------------------------------------------------------------------------------------


def _grade(words: argparse.Namespace) -> int:
    from .course import grade  # its pages need Jinja2, which a student need not have
    from .judging import parallel

    if not words.source:
        raise UserError("say where the submissions are: make grade FROM=submissions OUT=results")
    jobs = parallel.number_of_jobs(words.jobs)
    native.find_compiler(words.cc)
    labs = [word for item in words.lab for word in item.replace(",", " ").split()]
    return grade.main(Path(words.source), Path(words.out), Path(words.course) if words.course else None, labs, words.cc,
                      words.san, jobs, words.tier, words.trust)


def _hand_out(words: argparse.Namespace) -> int:
    from . import dist

    out = Path(words.out) if words.out else native.build_directory()
    if words.command == "dist":
        path = dist.make_dist(out)
    else:
        labs = [find(word).number for word in words.lab.replace(",", " ").split()]
        path = dist.make_gradescope(out, Path(words.course) if words.course else None, labs)
    print(f"{os.path.relpath(path)}: {path.stat().st_size / 1024:.0f} KiB")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="shmlab")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("watch", "hint"):
        sub = commands.add_parser(name)
        sub.add_argument("--lab", default="")
        if name == "watch":
            sub.add_argument("--in", dest="directory", default=str(LABS))
            sub.add_argument("options", nargs="*")
    sub = commands.add_parser("grade")
    sub.add_argument("--from", dest="source", required=True)
    sub.add_argument("--out", default="results")
    sub.add_argument("--course")
    sub.add_argument("--lab", action="append", default=[])
    sub.add_argument("--cc", default="cc")
    sub.add_argument("--san", action="store_true")
    sub.add_argument("--tier")
    sub.add_argument("--jobs", default="")
    sub.add_argument("--trust", action="store_true")
    commands.add_parser("dist").add_argument("--out", default="")
    sub = commands.add_parser("gradescope")
    sub.add_argument("--out", default="")
    sub.add_argument("--course")
    sub.add_argument("--lab", default="")
    for name in ("doctor", "box", "unbox"):
        commands.add_parser(name)
    commands.add_parser("clean-ipc")
    commands.add_parser("bench")
    commands.add_parser("docs").add_argument("--instructor", action="store_true")
    words = parser.parse_args()
    try:
        if words.command == "watch":
            lab = _one_lab(words.lab)
            options = [word for word in words.options if word not in ("--lab", words.lab)]
            return watch(lab, Path(words.directory).resolve(), options)
        if words.command == "hint":
            return hint(_one_lab(words.lab))
        if words.command == "bench":
            from . import bench

            return bench.main()
        if words.command == "grade":
            return _grade(words)
        if words.command in ("dist", "gradescope"):
            return _hand_out(words)
        if words.command == "docs":
            from .site import docs

            return docs.main(words.instructor)
        if words.command in ("box", "unbox"):
            apparmor.install() if words.command == "box" else apparmor.remove()
            return 0
        return doctor() if words.command == "doctor" else clean_ipc()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""The student's commands other than `make check`: watch, hint, doctor and clean-ipc."""
from __future__ import annotations

import ctypes
import dataclasses
import json
import math
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from . import results
from .judging import causes
from .labs import ROOT, Lab, UserError, submitted_directory
from .observe import machine, objects, orphans, processes
from .sandbox import apparmor, box, native, tiers
from .sandbox.calls import DEFINITIONS

PROJECT_ID = ord("S")  # the handouts pass it to ftok()
STOP_SECONDS = 3.0  # for a run of the checks to end after SIGTERM
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


def _stop(run: "subprocess.Popen[bytes]") -> None:
    """Ends a run of the checks: SIGTERM lets it remove what the programs made."""
    run.terminate()
    try:
        run.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        run.kill()
        run.wait()


def watch(lab: Lab, submission: Path, options: List[str]) -> int:
    """Runs the checks now and after every save, until Ctrl-C. Returns the exit status.

    If a file is saved while they run, they are stopped and begin again: their verdict would be about an older program.
    """
    directory = submitted_directory(submission, lab) or submission
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = [sys.executable, "-m", "pytest", str(ROOT / "harness"), "--submission", str(submission),
               "--lab", lab.number, "--short", *options]
    run: "Optional[subprocess.Popen[bytes]]" = None
    try:
        while True:
            before = _modification_times(directory)
            if sys.stdout.isatty():
                print("\x1b[2J\x1b[H", end="", flush=True)
            run = subprocess.Popen(command)
            while run.poll() is None and _modification_times(directory) == before:
                time.sleep(0.05)
            if run.poll() is None:
                _stop(run)
                print("\nsaved: checking again", flush=True)
                continue
            if run.returncode == 4:
                return 1  # a usage error: saving a file cannot fix it
            print(f"  watching {os.path.relpath(directory)}: save a file to check again, Ctrl-C to stop", flush=True)
            while _modification_times(directory) == before:
                time.sleep(0.1)
    except KeyboardInterrupt:
        if run and run.poll() is None:
            _stop(run)
        print()
        return 0


# ---- hint -------------------------------------------------------------------------------------------------


def _words(text: str) -> Dict[str, int]:
    """Returns how often each word of a text occurs; names of calls and constants count three times."""
    found: Dict[str, int] = {}
    for word in re.findall(r"[A-Za-z_]{4,}", text):
        stem = word.lower().rstrip("s")
        found[stem] = found.get(stem, 0) + (3 if "_" in word or word.isupper() or word in _CALLS else 1)
    return found


_CALLS = frozenset(name for name, _ in DEFINITIONS)


def fitting_hint(hints: Sequence[Tuple[str, str]], message: str) -> int:
    """Returns the index of the hint that has most in common with a failed check's message; 0 if none has anything.

    A word that few hints have counts more. A hint that has the whole solution is left out: it fits everything.
    """
    bags = [_words(f"{title} {text}") for title, text in hints]
    asked = _words(message)
    scores = [0.0] * len(bags)
    for number, (bag, (title, _)) in enumerate(zip(bags, hints)):
        if re.search(r"nearly written|: the calls$", title):
            continue
        for word in asked.keys() & bag.keys():
            rarity = math.log(len(bags) / sum(word in other for other in bags))
            scores[number] += min(asked[word], 3) * min(bag[word], 3) * rarity
        scores[number] /= math.sqrt(sum(count * count for count in bag.values()) or 1)
    return scores.index(max(scores))


def _nearest_failure(lab: Lab) -> Tuple[str, str, str]:
    """Returns which failure of the last run is nearest to its cause, the check's sentence, and the whole message."""
    fields = {field.name for field in dataclasses.fields(results.Outcome)}
    failed = [results.Outcome(**{name: value for name, value in check.items() if name in fields})
              for check in results.kept(lab) if check["status"] == results.FAILED]
    if not failed:
        return "", "", ""
    nearest = min(failed, key=causes.distance)
    message = " ".join([nearest.sentence, nearest.expected, *nearest.saw, nearest.read])
    if nearest.expected in (causes.COMPILES, causes.FINISHED):  # nothing is known about the check
        message = " ".join(nearest.saw) if nearest.expected == causes.FINISHED else ""
    if "usage:" in nearest.expected:
        message = ""  # no hint is about the command line
    return f"{nearest.check}: {' '.join(causes.key(nearest))}", causes.title(nearest), message


def _is_first_todo(message: str) -> bool:
    return re.match(r"\w+\.c stopped at its TODO 1\b", message) is not None


def hint(lab: Lab, back: bool = False) -> int:
    """Prints the next hint of a lab, or with `back` the one before, and remembers it in build/hints.json.

    After a run of the checks whose nearest failure is another one than at the last hint, the hint that fits it is next.
    """
    hints = lab.hints()
    if not hints:
        raise UserError(f"lab {lab.number} has no hints: read its handout, labs/{lab.name}/README.md")
    path = native.build_directory() / "hints.json"
    try:
        shown = json.loads(path.read_text())
        assert isinstance(shown, dict)
    except (OSError, ValueError, AssertionError):
        shown = {}
    last = shown.get(lab.name)
    last = last if isinstance(last, dict) else {"hint": int(last or 0), "failure": ""}  # an older edition wrote a number
    before, failure = int(last.get("hint", 0)), str(last.get("failure", ""))  # 1 is the first hint, 0 stands for none
    now, sentence, message = _nearest_failure(lab)
    fits = 0 if not message or _is_first_todo(message) else fitting_hint(hints, message)
    jump = not back and bool(now) and now != failure and fits + 1 != before
    number = max(before - 2, 0) if back else fits if jump else min(before, len(hints) - 1)
    title, text = hints[number]
    print(f"Lab {lab.number}, {title[0].lower() + title[1:]}")
    if jump and number > 0:
        print(textwrap.fill(f"(for the check that failed: {sentence})", 90))
    print()
    for paragraph in text.split("\n\n"):
        print(paragraph if paragraph.startswith("```") else textwrap.fill(" ".join(paragraph.split()), 90), end="\n\n")
    left = len(hints) - number - 1
    steps = [f"{left} more: make hint LAB={lab.number}" if left else "that was the last hint"]
    steps += [f"the previous one: make hint LAB={lab.number} BACK=1"] if number else []
    print(f"({'; '.join(steps)})")
    shown[lab.name] = {"hint": number + 1, "failure": now}
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
    with box.Box(tier) as inside:
        rows.append(("memory", inside.describe_memory_limit()))
        if tier == "namespaces":
            rows.append(("faults", "the kernel's own: a check can make it refuse segments inside the box" if inside.can_set_limits
                         else "injected by the spy: limits cannot be set in the box"))
    for label, text in rows:
        print(f"{label:<14} {text}")
    return 0


# ---- clean-ipc --------------------------------------------------------------------------------------------


def _is_labs(item: objects.Object, own_ipc: str) -> bool:
    """Whether a program of the labs made an object: by the project id in a segment's key, by an object's name."""
    if item.kind == "sysv":
        return item.identity[1] == own_ipc and item.key is not None and item.key >> 24 == PROJECT_ID
    return item.path is not None and item.path.startswith(tuple(f"/dev/shm/{prefix}" for prefix in OBJECT_PREFIXES))


def clean_ipc() -> int:
    """Removes what the labs' programs left: segments with the labs' project id in their key whose creator has ended, and objects
    whose name has one of OBJECT_PREFIXES. Those that a process still has are kept.

    Only those of this user; for root also those of the box's users. Waits for checks that run without namespaces.
    """
    box.HostLock.take()
    users = {os.getuid(), *(box.USERS if os.getuid() == 0 else ())}
    libc = ctypes.CDLL(None, use_errno=True)
    removed = kept = 0
    found = machine.Machine()
    for item in found.objects:
        if not _is_labs(item, found.own_ipc) or item.uid not in users or item.state == objects.REMOVED:
            continue
        name = f"segment {item.identity[2]}, key {item.name}" if item.kind == "sysv" else f"object {objects.plain(item.name)}"
        if item.state != objects.ORPHAN or item.kind == "sysv" and orphans.creator_lives(item):
            pids = sorted(item.holders) or [item.creator or 0]
            print(f"kept {name}: process {pids[0]} ({processes.command_of(pids[0])}) has it" if pids[0] else f"kept {name}: in use")
            kept += 1
        elif item.kind != "sysv":
            Path(str(item.path)).unlink(missing_ok=True)
            print(f"removed {name}")
            removed += 1
        elif libc.shmctl(item.identity[2], 0, None) == 0:
            print(f"removed {name}, {item.size} bytes")
            removed += 1
    if not removed and not kept:
        print("the labs left nothing on this machine")
    box.HostLock.drop()
    return 0

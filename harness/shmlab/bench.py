"""The measured figures of the harness, as ratios within one run: `make bench`.

Each round measures every candidate in turn, so that a noisy machine is noisy for all of them; what is printed is
the median over the rounds, with the range of the per-round ratio to the first candidate.
"""
from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List

from . import box, calls, labs, native

ROUNDS = 15


def _table(title: str, unit: str, measured: Dict[str, List[float]]) -> None:
    print(f"\n{title}")
    base = next(iter(measured.values()))
    for name, values in measured.items():
        ratios = [value / first for value, first in zip(values, base)]
        print(f"  {name:<34} {statistics.median(values):9.3f} {unit}   "
              f"x {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def start_up() -> None:
    """Starting a program that does nothing, in ways that isolate it more or less."""
    tier = box.choose_tier(None)

    def plain() -> None:
        subprocess.run(["/bin/true"], close_fds=False)

    def whole_box() -> None:
        subprocess.run([native.box_program(), "--tier", tier, "--", "/bin/true"], stderr=subprocess.DEVNULL, close_fds=False)

    ways: Dict[str, Callable[[], None]] = {"plain start": plain, "box, opened for one program": whole_box}
    if shutil.which("bwrap"):
        ways["bwrap --unshare-all"] = lambda: subprocess.run(
            ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--tmpfs", "/tmp", "/bin/true"],
            close_fds=False) and None  # type: ignore[func-returns-value]
    if shutil.which("strace"):
        ways["strace -f"] = lambda: subprocess.run(["strace", "-f", "-o", "/dev/null", "/bin/true"],
                                                   close_fds=False) and None  # type: ignore[func-returns-value]
    measured: Dict[str, List[float]] = {name: [] for name in ways}
    measured["one more program in an open box"] = []
    with box.Box(tier) as inside:
        for _ in range(ROUNDS):
            for name, way in ways.items():
                began = time.perf_counter()
                for _ in range(5):
                    way()
                measured[name].append((time.perf_counter() - began) / 5 * 1000)
            began = time.perf_counter()
            for _ in range(5):
                started = inside.start(["/bin/true"])
                inside.wait(started, 5)
            measured["one more program in an open box"].append((time.perf_counter() - began) / 5 * 1000)
    _table("Starting /bin/true", "ms", measured)


def spy_cost() -> None:
    """What the spy adds to a call, beside strace."""
    with tempfile.TemporaryDirectory() as folder:
        source = native.NATIVE / "calls_bench.c"
        plain, spied = os.path.join(folder, "plain"), os.path.join(folder, "spied")
        wraps = "-Wl," + ",".join(f"--wrap={name}" for name in calls.WRAPPED)
        common = [native.host_compiler(), "-std=gnu17", "-O2", "-pthread", str(source)]
        subprocess.run([*common, "-o", plain, "-lrt"], check=True)
        subprocess.run([*common, str(native.spy_object(native.host_compiler())), wraps, "-o", spied, "-lrt"], check=True)
        where = os.open(folder, os.O_RDONLY)
        calls.Ring(where).close()
        os.close(where)

        def run(command: List[str], rounds: int, environment: Dict[str, str]) -> Dict[str, float]:
            text = subprocess.run([*command, str(rounds), os.path.join(folder, "file")], env={**os.environ, **environment}, check=True, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
            return {name: float(value) for name, value in (line.split() for line in text.splitlines())}

        rows: Dict[str, Dict[str, List[float]]] = {}
        for _ in range(ROUNDS):
            candidates = {"plain": run([plain], 5000, {}),
                          "with the spy": run([spied], 5000, {"SHMLAB_RING": os.path.join(folder, "ring")})}
            if shutil.which("strace"):
                candidates["under strace -f"] = run(["strace", "-f", "-o", "/dev/null", plain], 300, {})
            for candidate, figures in candidates.items():
                for pair, value in figures.items():
                    rows.setdefault(pair, {}).setdefault(candidate, []).append(value)
        for pair, measured in rows.items():
            if not pair.startswith("create:"):
                _table(pair, "ns", measured)
        _table("Making a page of shared memory, storing to it, removing it", "ns",
               {pair[7:].replace("_", " "): measured["plain"] for pair, measured in rows.items() if pair.startswith("create:")})


def lab_times() -> None:
    """Wall time of the checks of each lab: the student's wait, compilation included, and once more from the cache."""
    print("\nmake check, wall time")
    for lab in labs.all_labs():
        with tempfile.TemporaryDirectory() as empty:
            for what in "compiled anew", "compiled before":
                environment = {**os.environ, "SHMLAB_BUILD": empty}
                if what == "compiled anew":  # but the harness's own programs are there, as on any second run
                    shutil.copytree(native.build_folder() / "native", Path(empty, "native"))
                began = time.perf_counter()
                done = subprocess.run([sys.executable, "-m", "pytest", str(labs.ROOT / "harness"), "--lab", lab.number, "--submission",
                                       str(labs.SOLUTIONS)], env=environment, stdout=subprocess.DEVNULL)
                print(f"  {lab.name:<24} {what:<16} {time.perf_counter() - began:6.2f} s   exit {done.returncode}")


def main() -> int:
    start_up()
    spy_cost()
    lab_times()
    return 0

"""`make bench`: measures the harness, the explorer and the ring of lab 18, as ratios within one run.

Each round measures every candidate in turn, so that load on the machine affects all of them. The tables show the median
over the rounds, and the median and the range of each round's ratio to the first candidate.
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
from typing import Any, Callable, Dict, List, Sequence, Tuple

from . import labs, speed
from .explore.search import Search
from .judging.fixture import LabFixture
from .sandbox import box, calls, native, tiers

ROUNDS = 15


def _table(title: str, unit: str, measured: Dict[str, List[float]]) -> None:
    print(f"\n{title}")
    base = next(iter(measured.values()))
    for name, values in measured.items():
        ratios = [value / first for value, first in zip(values, base)]
        print(f"  {name:<34} {statistics.median(values):9.3f} {unit}   "
              f"x {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def start_up() -> None:
    """Measures how long it takes to start /bin/true plainly, in a box, and with other tools if they are installed."""
    tier = tiers.choose_tier(None)

    def run(*command: str) -> None:
        subprocess.run(command, stderr=subprocess.DEVNULL, close_fds=False)

    ways: Dict[str, Callable[[], None]] = {
        "plain start": lambda: run("/bin/true"),
        "box, opened for one program": lambda: run(str(native.box_program()), "--tier", tier, "--", "/bin/true")}
    if shutil.which("bwrap"):
        ways["bwrap --unshare-all"] = lambda: run(
            "bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--tmpfs", "/tmp", "/bin/true")
    if shutil.which("strace"):
        ways["strace -f"] = lambda: run("strace", "-f", "-o", "/dev/null", "/bin/true")
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
    """Measures what recording with the spy adds to a call, compared with strace."""
    with tempfile.TemporaryDirectory() as directory:
        source = native.NATIVE / "calls_bench.c"
        plain, spied = os.path.join(directory, "plain"), os.path.join(directory, "spied")
        wraps = "-Wl," + ",".join(f"--wrap={name}" for name in calls.WRAPPED)
        common = [native.host_compiler(), "-std=gnu17", "-O2", "-pthread", str(source)]
        subprocess.run([*common, "-o", plain, "-lrt"], check=True)
        subprocess.run([*common, str(native.spy_object(native.host_compiler())), wraps, "-o", spied, "-lrt"], check=True)
        directory_fd = os.open(directory, os.O_RDONLY)
        calls.Ring(directory_fd).close()
        os.close(directory_fd)

        def run(command: List[str], rounds: int, environment: Dict[str, str]) -> Dict[str, float]:
            text = subprocess.run([*command, str(rounds), os.path.join(directory, "file")], env={**os.environ, **environment},
                                  check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
            return {name: float(value) for name, value in (line.split() for line in text.splitlines())}

        rows: Dict[str, Dict[str, List[float]]] = {}
        for _ in range(ROUNDS):
            candidates = {"plain": run([plain], 5000, {}),
                          "with the spy": run([spied], 5000, {"SHMLAB_RING": os.path.join(directory, "ring")})}
            if shutil.which("strace"):
                candidates["under strace -f"] = run(["strace", "-f", "-o", "/dev/null", plain], 300, {})
            for candidate, figures in candidates.items():
                for pair, value in figures.items():
                    rows.setdefault(pair, {}).setdefault(candidate, []).append(value)
        for pair, measured in rows.items():
            if not pair.startswith("create:"):
                _table(pair, "ns", measured)
        _table("Create a page of shared memory, store to it, remove it", "ns",
               {pair[7:].replace("_", " "): measured["plain"] for pair, measured in rows.items() if pair.startswith("create:")})


SCENARIOS: Dict[str, Tuple[str, Sequence[Sequence[object]], Dict[str, Any]]] = {
    "two processes of lab 12": ("12", [("first_comer", "/shmlab-bench", 7), ("first_comer", "/shmlab-bench", 9)], {}),
    "writer and reader of lab 11": ("11", [("writer", "/shmlab-bench"), ("reader", "/shmlab-bench")], {}),
    "sender and receiver of lab 18, weak memory": ("18", [("ring_send", "/shmlab-bench", 4), ("ring_recv", "/shmlab-bench")],
                                                   {"preemptions": 1, "weak": True})}


def explorer() -> None:
    """Measures how many schedules a second the explorer runs, on the one processor that it uses; see native/explore/search.c."""
    tier = tiers.choose_tier(None)
    print("\nEvery schedule, on one processor")
    for title, (number, commands, options) in SCENARIOS.items():
        fixture = LabFixture(labs.find(number), labs.SOLUTIONS, tier, "cc", False)
        rates: List[float] = []
        for _ in range(ROUNDS // 3):
            fixture.reset()
            search = Search(fixture, "bench.1", commands, options.get("preemptions", 2), 0, weak=bool(options.get("weak")))
            search.inputs = {0: b"ab\n"}
            list(search.ends())
            if not search.figures:
                print(f"  {title}: {search.summary}")
                break
            rates.append(search.figures.schedules / max(1e-6, search.figures.seconds))
        fixture.close()
        if rates and search.figures:
            print(f"  {title:<44} {statistics.median(rates):7.0f} schedules/s ({min(rates):.0f} to {max(rates):.0f})   "
                  f"{search.figures.schedules} in all, "
                  f"{1e6 * search.figures.processor / search.figures.schedules:.0f} us of processor each")
    LabFixture.close_spare()


PROCESSES = 505

#: Becomes PROCESSES processes with about sixty mappings each, three of them shared, until standard input ends.
_CROWD = """
import mmap, os, sys
held = [mmap.mmap(-1, 16384) for _ in range(3)]
for memory in held:
    memory[:] = bytes(1) * 16384
for _ in range(int(sys.argv[1]) - 1):
    if os.fork() == 0:
        os.read(0, 1)
        os._exit(0)
print(len(open("/proc/self/maps").readlines()), flush=True)
os.read(0, 1)
for _ in range(int(sys.argv[1]) - 1):
    os.wait()
"""


def observer() -> None:
    """Measures a look at all shared memory of a machine with many processes, compared with other tools if they are installed."""
    ls = [sys.executable, "-m", "shmlab", "ls"]
    ways = {"shmlab ls": ls, "shmlab ls --pss": [*ls, "--pss"], "python3 that does nothing": [sys.executable, "-c", ""]}
    others = {"lsof": ["lsof", "-n", "-w"], "lsfd": ["lsfd"], "smem": ["smem"]}
    ways.update({name: words for name, words in others.items() if shutil.which(name)})
    measured: Dict[str, List[float]] = {name: [] for name in ways}
    crowd = subprocess.Popen([sys.executable, "-c", _CROWD, str(PROCESSES)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert crowd.stdout
        mappings = int(crowd.stdout.readline())
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        for _ in range(ROUNDS):
            for name, words in ways.items():
                began = time.perf_counter()
                subprocess.run(words, cwd=labs.ROOT / "harness", env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                measured[name].append((time.perf_counter() - began) * 1000)
    finally:
        crowd.communicate()
    _table(f"All shared memory of a machine with {PROCESSES} more processes of {mappings} mappings", "ms", measured)


def lab_times() -> None:
    """Measures the wall time of `make check` for each lab: with compilation, and again with the program in the cache."""
    print("\nmake check, wall time")
    for lab in labs.all_labs():
        with tempfile.TemporaryDirectory() as empty:
            for what in "compiled now", "compiled before":
                environment = {**os.environ, "SHMLAB_BUILD": empty}
                if what == "compiled now":  # the harness's own programs exist, as on every run but the very first
                    shutil.copytree(native.build_directory() / "native", Path(empty, "native"))
                began = time.perf_counter()
                command = [sys.executable, "-m", "pytest", str(labs.ROOT / "harness"), "--lab", lab.number]
                done = subprocess.run([*command, "--submission", str(labs.SOLUTIONS)], env=environment,
                                      stdout=subprocess.DEVNULL)
                print(f"  {lab.name:<24} {what:<16} {time.perf_counter() - began:6.2f} s   exit {done.returncode}")


def main() -> int:
    """Runs all measurements. Returns the exit status."""
    start_up()
    spy_cost()
    explorer()
    speed.ring()
    observer()
    lab_times()
    return 0

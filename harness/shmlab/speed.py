"""Measures the ring of lab 18: `make bench` prints it, `make speed` also writes the tables of docs/speed.md and the handout.

All figures come from native/ring_bench.c and native/race.c. They are compared as ratios within one round, because load on the
machine affects all that is measured in the same minute.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import labs
from .labs import UserError
from .race import chart
from .race.command import choose_processors, describe_machine
from .sandbox import box, native

#: The rings, each with one trick more than the one before it: how the tables call them.
STEPS = {"ring_plain": "none of them", "ring_mask": "`&` in place of `%`", "ring_one_copy": "one copy", "ring_cached": "looking seldom",
         "ring_batched": "batches", "ring_fast": "a short spin"}
WAYS = {"ring_fast": "ring, in batches", "ring_unbatched": "ring, each message at once",
        "ring_one_line": "the same, both counts on one line",
        "pipe": "pipe", "pipe_same_cpu": "pipe, on one processor", "socket_stream": "stream socket",
        "socket_seqpacket": "seqpacket socket", "sysv_queue": "System V queue", "memcpy": "memcpy out of the other cache"}
TRIPS = {"line_round_trip": "a cache line", "ring_round_trip": "8 bytes through two rings, spinning",
         "futex_round_trip": "a futex, asleep", "ring_asleep_round_trip": "8 bytes through two rings, asleep"}

#: What the ring has to reach: size, of, to, the ratio, and whether that is the most or the least.
GOALS: Tuple[Tuple[Sequence[int], str, str, float, str], ...] = (
    ((64, 1024, 8192, 65536), "ring_fast", "memcpy", 2.0, "most"),
    ((8,), "ring_round_trip", "line_round_trip", 2.0, "most"),
    ((8,), "ring_asleep_round_trip", "futex_round_trip", 1.2, "most"),
    ((64,), "pipe", "ring_fast", 20.0, "least"),
    ((64,), "pipe", "ring_unbatched", 10.0, "least"))
FASTEST_NS = 10.0  # for 8 bytes, in batches, at most


def _lines(*options: str) -> List[Dict[str, Any]]:
    done = subprocess.run([native.bench_program("ring_bench"), *options], stdout=subprocess.PIPE, text=True)
    if done.returncode == 3:
        raise UserError("there is one processor: two processes in turns on one are no measure of a ring")
    if done.returncode:
        raise UserError(f"the ring was not measured: ring_bench ended with exit status {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _of_kind(lines: List[Dict[str, Any]], kind: str) -> List[Dict[str, Any]]:
    return [line for line in lines if line["kind"] == kind]


def _grid(corner: str, sizes: Sequence[int], names: Dict[str, str], medians: Dict[Tuple[str, int], float]) -> List[str]:
    """A Markdown table of nanoseconds by name and size."""
    rows = ["| " + " | ".join([corner, *map(chart.bytes_in_words, sizes)]) + " |", "|" + "---|" * (len(sizes) + 1)]
    for way, name in names.items():
        cells = [f"{medians[way, size]:.3g}" if medians.get((way, size), 1e9) < 100 else f"{medians[way, size]:.0f}"
                 if (way, size) in medians else "–" for size in sizes]
        rows.append("| " + " | ".join([name, *cells]) + " |")
    return rows


def _pairs_of_processors() -> Dict[str, List[int]]:
    """Which pairs of processors this machine has, by how near they are."""
    mine = sorted(box.PROCESSORS)
    found = {"the same processor, in turns": mine[:1]}
    siblings = Path(f"/sys/devices/system/cpu/cpu{mine[0]}/topology/thread_siblings_list")
    numbers = {int(word) for word in re.findall(r"\d+", siblings.read_text())} if siblings.exists() else set()
    for name, others in (("two threads of one core", [number for number in mine[1:] if number in numbers]),
                         ("two cores", choose_processors()[1:])):
        if others and others[0] not in (number for pair in found.values() for number in pair[1:]):
            found[name] = [mine[0], others[0]]
    return found


def _near_and_far() -> List[str]:
    rows = ["| between | round trip of a cache line |", "|---|---|"]
    for name, processors in _pairs_of_processors().items():
        words = map(str, processors if len(processors) > 1 else (-1, -1))
        command = [str(native.bench_program("race")), "floors", *words]
        os.sched_setaffinity(0, processors)  # the program inherits it
        values = sorted(float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[1])
                        for _ in range(11))
        os.sched_setaffinity(0, box.PROCESSORS)
        least, median, most = (chart.time_in_words(value) for value in (values[0], values[5], values[-1]))
        rows.append(f"| {name} | {median} ({least} to {most}) |")
    return rows


class Figures:
    """All measurements of one run, and the tables made of them."""

    def __init__(self) -> None:
        self.load = os.getloadavg()[0]
        self.lines = _lines()
        self.medians = {(line["way"], line["size"]): float(line["ns_median"]) for line in _of_kind(self.lines, "way")}
        self.sizes = sorted({size for _, size in self.medians})
        self.ratios = {(line["size"], line["of"], line["to"]): line for line in _of_kind(self.lines, "ratio")}

    def goals(self) -> List[str]:
        """What the ring has to reach, and whether it did, in lines."""
        fastest = self.medians["ring_fast", 8]
        said = [f"  {'ok' if fastest <= FASTEST_NS else 'MISSED':<7} {'8 B':>7}  ring_fast: {fastest:.1f} ns, at most {FASTEST_NS:.0f}"]
        for sizes, of, to, limit, kind in GOALS:
            for size in sizes:
                line = self.ratios[size, of, to]
                good = line["median"] <= limit if kind == "most" else line["median"] >= limit
                said.append(f"  {'ok' if good else 'MISSED':<7} {chart.bytes_in_words(size):>7}  {of} / {to}: {line['median']:.3g} "
                            f"({line['least']:.3g} to {line['greatest']:.3g}), at {kind} {limit:g}")
        return said

    def tables(self, more: bool = True) -> Dict[str, List[str]]:
        """The tables of the pages, by name, in lines of Markdown; `more`: also those that are measured only now."""
        trips = {line["trip"]: line for line in _of_kind(self.lines, "trip")}
        found = {
            "machine": [f"Measured on {describe_machine()}, with a load average of {self.load:.1f}."],
            "steps": _grid("with", [8, 64, 1024], STEPS, self.medians),
            "ways": _grid("nanoseconds for a message of", self.sizes, WAYS, self.medians),
            "trips": ["| there and back | median | range |", "|---|---|---|", *(
                f"| {name} | {chart.time_in_words(trips[trip]['ns_median'])} | {chart.time_in_words(trips[trip]['ns_least'])} to "
                f"{chart.time_in_words(trips[trip]['ns_greatest'])} |" for trip, name in TRIPS.items())]}
        if more:
            rest = _lines("-f")
            found["counters"] = ["| bytes apart | an addition takes |", "|---|---|", *(
                f"| {line['apart']} | {chart.time_in_words(line['ns_median'])} |" for line in _of_kind(rest, "counters"))]
            pages = {line["pages"]: chart.time_in_words(line["ns_median"]) for line in _of_kind(rest, "pages")}
            found["pages"] = ["| pages | a load takes |", "|---|---|", f"| 4 KiB | {pages['ordinary']} |",
                              f"| 2 MiB | {pages.get('huge', 'this machine has none set aside')} |"]
            found["near"] = _near_and_far()
        return found

    def picture(self) -> str:
        rates = {WAYS[way]: {size: size / self.medians[way, size] * 1e9 for size in self.sizes if (way, size) in self.medians}
                 for way in WAYS if way != "ring_one_line"}
        return chart.draw("One message between two processes", [chart.Panel("bytes per second", chart.rate_in_words, rates)])


def ring(figures: Optional[Figures] = None) -> None:
    """Prints how the ring compares with a pipe, sockets and a queue; writes the picture to build/bench/ring.svg."""
    figures = figures or Figures()
    for name, table in figures.tables(more=False).items():
        print(f"\n{name}")
        for line in table if name == "machine" else [line for line in table if not line.startswith("|---")]:
            cells = line.strip("|").split("|")
            print("  " + f"{cells[0].strip():<38}" + "".join(f"{cell.strip():>22}" if name == "trips" else f"{cell.strip():>10}"
                                                           for cell in cells[1:]))
    print("\ngoals of the ring, as ratios in one round (median, range)")
    print("\n".join(figures.goals()))
    target = native.build_directory() / "bench" / "ring.svg"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(figures.picture(), encoding="utf-8")
    target.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, figures.lines)) + "\n", encoding="utf-8")
    print(f"\nfigure: {target}; all measurements: {target.with_suffix('.jsonl')}")


def replaced(text: str, tables: Dict[str, List[str]]) -> str:
    """Returns a page with its measured parts replaced, each between the comments “make speed: NAME” and “make speed ends”."""
    def new(found: "re.Match[str]") -> str:
        return "\n".join([found[1], *tables[found[2]], found[3]])

    return re.sub(r"^(<!-- make speed: (\w+) -->)$.*?^(<!-- make speed ends -->)$", new, text, flags=re.M | re.S)


PAGES = (labs.ROOT / "docs" / "speed.md", labs.LABS / "18_ring" / "README.md")


def main() -> int:
    """Measures the ring and writes the tables of the pages. Returns the exit status."""
    figures = Figures()
    ring(figures)
    tables = figures.tables()
    for page in PAGES:
        page.write_text(replaced(page.read_text(encoding="utf-8"), tables), encoding="utf-8")
        print(f"{page.relative_to(labs.ROOT)}: the figures are new")
    return 0

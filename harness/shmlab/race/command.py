"""`make race LAB=18`: one table and one picture of how fast a student's ring is, beside others; no points."""
from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from ..labs import LABS, Lab, UserError, submitted_directory
from ..sandbox import box, native, tiers
from ..sandbox.channel import BoxRefused
from . import chart
from .runs import LONGEST_SECONDS, MOST_BYTES, Runs, Way, Wrong, compiled, reference

SIZES = [8, 64, 1024, 8192, 65536]
ALONE = [8, 1024, 65536]  # sizes of lines that are sent one at a time
LAB = "18"
QUEUE_MOST = 8192  # bytes in a message of a queue: kernel.msgmax of most machines
TARGET_SECONDS = 0.02  # of one measurement
FIRST_LINES = {8: 4000, 64: 4000, 1024: 2000, 8192: 500, 65536: 100}  # of the first run, which is compared and not timed
PINGS = 40
LEAST_ROUNDS, MOST_ROUNDS, BUDGET_SECONDS = 3, 11, 12.0
NOISY = 0.3  # of the median: if the middle half of the rounds is wider, the machine was busy
YOURS, FAST, MEMCPY = "yours", "the fast pair", "memcpy between two caches"


@dataclass
class Race:
    """All measurements: seconds for a line by way and size, one for each round; what went wrong, by way."""

    machine: str
    carried: Dict[str, Dict[int, List[float]]] = field(default_factory=dict)
    alone: Dict[str, Dict[int, List[float]]] = field(default_factory=dict)
    floors: Dict[str, List[float]] = field(default_factory=dict)  # nanoseconds
    wrong: Dict[str, str] = field(default_factory=dict)
    rounds: int = 0
    processors: List[int] = field(default_factory=list)
    load: float = 0.0

    def rate(self, way: str, size: int) -> float:
        """Bytes per second."""
        return size / statistics.median(self.carried[way][size])


def choose_processors() -> List[int]:
    """Returns two processors that are no threads of one core, if this process may use two; else one."""
    def core(number: int) -> Tuple[str, str]:
        directory = Path(f"/sys/devices/system/cpu/cpu{number}/topology")
        try:
            return (directory / "physical_package_id").read_text(), (directory / "core_id").read_text()
        except OSError:
            return "", str(number)

    mine = sorted(box.PROCESSORS)
    others = [number for number in mine if core(number) != core(mine[0]) and core(number)[0] == core(mine[0])[0]] or mine[1:]
    return mine[:1] + others[:1]


def describe_machine() -> str:
    """Returns the processor's name, the kernel and the date."""
    found = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{found[0] if found else platform.machine()}, {platform.system()} {platform.release()}, {datetime.date.today().isoformat()}"


class _Measuring:
    """Measures all ways in turns."""

    def __init__(self, race: Race, runs: Runs, ways: List[Way]) -> None:
        self.race, self.runs, self.ways = race, runs, ways
        self.counts: Dict[Tuple[str, int], int] = {}
        self.starts: Dict[str, float] = {}  # seconds that one line takes: the least, as other processes only add to it

    def sizes(self, way: Way) -> List[int]:
        return [size for size in SIZES if way.kind != "queue" or size <= QUEUE_MOST]

    def note_start(self, way: Way) -> None:
        self.starts[way.name] = min(self.runs.carry(way, 8, 1), self.starts.get(way.name, LONGEST_SECONDS))

    def first(self) -> None:
        """Sends some lines of each size by each way, and compares. A way that does not carry them is not measured."""
        for way in list(self.ways):
            try:
                self.note_start(way)
                for size in self.sizes(way):
                    count = FIRST_LINES[size]
                    seconds = max(self.runs.carry(way, size, count) - self.starts[way.name], 1e-4)
                    most = min(MOST_BYTES // size, 1 << 20)
                    wanted = max(64, min(most, int(count * TARGET_SECONDS / seconds)))
                    self.counts[way.name, size] = 1 << wanted.bit_length() - 1  # few different inputs
                for size in ALONE if self.answers(way) else ():
                    if size in self.sizes(way):
                        self.runs.ping(way, size, 10)
            except Wrong as wrong:
                self._leave_out(way, wrong)

    def _leave_out(self, way: Way, wrong: Wrong) -> None:
        """Notes what a way did wrong, and measures it no more. What was measured of it does not count."""
        self.race.wrong[way.name] = str(wrong)
        self.ways.remove(way)
        self.race.carried.pop(way.name, None)
        self.race.alone.pop(way.name, None)

    @staticmethod
    def answers(way: Way) -> bool:
        """Whether a line that is sent alone comes out at once."""
        return way.kind not in ("copy", "buffered")

    def round(self, number: int) -> None:
        """Measures each way once. One that goes wrong only now is left out from now on."""
        for name, value in self.runs.floors(self.race.processors, SIZES).items():
            self.race.floors.setdefault(name, []).append(value)
        first = number % max(1, len(self.ways))
        for way in self.ways[first:] + self.ways[:first]:
            try:
                self._measure(way)
            except Wrong as wrong:
                self._leave_out(way, wrong)

    def _measure(self, way: Way) -> None:
        self.note_start(way)
        for size in self.sizes(way):
            count = self.counts[way.name, size]
            seconds = self.runs.carry(way, size, count) - self.starts[way.name]
            self.race.carried.setdefault(way.name, {}).setdefault(size, []).append(max(seconds, 1e-6) / count)
        for size in ALONE if self.answers(way) else ():
            if size in self.sizes(way):
                self.race.alone.setdefault(way.name, {}).setdefault(size, []).append(self.runs.ping(way, size, PINGS))


def run(lab: Lab, submission: Path, tier: str, cc: str, least: int = LEAST_ROUNDS) -> Race:
    """Measures a submission's pair beside the others. What is wrong with it is in Race.wrong. Raises UserError."""
    if lab.number != LAB:
        raise UserError(f"lab {lab.number} has no ring: make race LAB={LAB}")
    if not submitted_directory(submission, lab):
        raise UserError(f"there is no directory {lab.name} in {os.path.relpath(submission)}: IN=directory names another")
    native.find_compiler(cc)
    box.also_hidden.add(str(submission))
    chosen = tiers.choose_tier(tier or None)
    own, fast = compiled(lab, submission, chosen, cc), reference(lab, chosen)
    ways = [Way(YOURS, "ring", own, own=True), Way(FAST, "ring", fast), Way("pipe, a write for each line", "stream"),
            Way("pipe, lines in batches", "buffered"), Way("Unix socket", "socket"), Way("System V queue", "queue"),
            Way("one process, no way between", "copy")]
    race = Race(describe_machine(), processors=choose_processors(), load=os.getloadavg()[0])
    runs = Runs(chosen, race.processors, ways)
    began = time.monotonic()
    try:
        measuring = _Measuring(race, runs, ways)
        measuring.first()
        while race.rounds < MOST_ROUNDS:
            took = (time.monotonic() - began) / (race.rounds + 1)
            over = time.monotonic() - began + took - BUDGET_SECONDS
            if over > 0 and (race.rounds >= least or race.rounds and over > BUDGET_SECONDS):
                break
            measuring.round(race.rounds)
            race.rounds += 1
    finally:
        runs.close()
    return race


def _spread(values: List[float]) -> float:
    """The width of the middle half of some values, as a part of their median."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return (high - low) / middle


def _row(name: str, cells: List[str]) -> str:
    return f"  {name:<28}" + "".join(f"{cell:>10}" for cell in cells)


def table(race: Race) -> List[str]:
    """Returns the table in lines, with what it can tell and what it cannot."""
    ways = list(dict.fromkeys([*race.carried, *race.alone]))
    ways.sort(key=lambda name: (name != YOURS, name != FAST))
    out = [f"{race.machine}; processors {' and '.join(map(str, race.processors))}; "
           f"median of {race.rounds} rounds, in turns; load {race.load:.1f}", "",
           "A line from a file through a sender and a receiver to a file, in nanoseconds",
           _row("", [chart.bytes_in_words(size) for size in SIZES])]

    def nanoseconds(values: Optional[List[float]]) -> str:
        return f"{statistics.median(values) * 1e9:.0f}" if values else "-"

    for way in ways:
        out.append(_row(way, [nanoseconds(race.carried.get(way, {}).get(size)) for size in SIZES]))
    floors = {name: statistics.median(values) for name, values in race.floors.items()}
    if "8" in floors:
        out.append(_row(MEMCPY, [f"{floors[str(size)]:.0f}" for size in SIZES]))
    if YOURS in race.carried and FAST in race.carried:
        out += ["", "Yours takes so many times as long as the fast pair (median, and range over the rounds)"]
        for size in SIZES:
            ratios = [a / b for a, b in zip(race.carried[YOURS][size], race.carried[FAST][size])]
            out.append(f"  {chart.bytes_in_words(size):>7}  x {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")
    out += ["", "One line at a time, from the write of it until it has come out, in microseconds",
            _row("", [chart.bytes_in_words(size) for size in ALONE])]
    for way in ways:
        if way in race.alone:
            out.append(_row(way, [f"{statistics.median(race.alone[way][size]) * 1e6:.1f}" if size in race.alone[way] else "-"
                                  for size in ALONE]))
    if "line" in floors:
        out += ["", f"A cache line goes to the other processor and back in {floors['line']:.0f} ns." if len(race.processors) > 1 else
                f"Two processes on this processor take turns in {floors['line']:.0f} ns."]
    return out + [""] + _cautions(race)


def _cautions(race: Race) -> List[str]:
    """What a reader has to know before believing the table."""
    said = ["Reading lines and writing them costs the same for all: it is the row “one process, no way between”."]
    if race.rounds < LEAST_ROUNDS:
        said.append(f"There was time for {race.rounds} of {LEAST_ROUNDS} rounds: on a machine this busy the table tells little.")
    if len(race.processors) < 2:
        said.append("There is one processor: no byte moves between two caches, and sender and receiver never run at the same time. "
                    "The table tells what calls and sleeps cost, not how fast a ring is.")
    spreads = {(way, size): _spread(values) for way, sizes in race.carried.items() for size, values in sizes.items()}
    if spreads:
        (way, size), widest = max(spreads.items(), key=lambda item: item[1])
        typical = statistics.median(spreads.values())
        if typical > NOISY:
            said.append(f"The machine was busy: the middle half of the rounds spreads over {typical:.0%} of the median, at most over "
                        f"{widest:.0%} ({way}, {chart.bytes_in_words(size)}). Differences below a factor of two tell nothing.")
        else:
            said.append(f"The middle half of the rounds spreads over {typical:.0%} of the median, at most over {widest:.0%} "
                        f"({way}, {chart.bytes_in_words(size)}): smaller differences tell nothing.")
    return said


def picture(race: Race) -> str:
    """Returns the picture: bytes per second, and the time of a line that is sent alone, by size."""
    rates = {way: {size: race.rate(way, size) for size in sizes} for way, sizes in race.carried.items()}
    copies = {size: size / statistics.median(race.floors[str(size)]) * 1e9 for size in SIZES if str(size) in race.floors}
    if copies:
        rates[MEMCPY] = copies
    alone = {way: {size: statistics.median(values) * 1e9 for size, values in sizes.items()} for way, sizes in race.alone.items()}
    panels = [chart.Panel("bytes per second", chart.rate_in_words, rates),
              chart.Panel("a line that is sent alone", chart.time_in_words, alone)]
    return chart.draw(f"Lab 18: lines between two processes ({race.machine})", [panel for panel in panels if panel.series])


def main(lab: Lab, submission: Path, tier: str, cc: str) -> int:
    """Prints the table, and writes the picture and all measurements to build/race/. Returns 1 if the student's pair is wrong."""
    try:
        race = run(lab, submission, tier, cc)
    except BoxRefused as problem:
        raise UserError(f"the box does not work here: {problem}; `make doctor` says more") from None
    part = "" if submission == LABS else f".{submission.name}"
    target = native.build_directory() / "race" / f"{lab.name}{part}.svg"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(picture(race), encoding="utf-8")
    target.with_suffix(".json").write_text(json.dumps({**race.__dict__}), encoding="utf-8")
    print("\n".join(table(race)))
    if YOURS in race.wrong:
        print(f"\nYour pair {race.wrong[YOURS]}\nIt was not timed. `make check LAB={lab.number}` tells more.")
    for name in race.wrong.keys() - {YOURS}:
        print(f"\nnot measured here: {name}, which {race.wrong[name]}")
    print(f"\n{os.path.relpath(target)}: open it in a browser")
    return 1 if YOURS in race.wrong else 0

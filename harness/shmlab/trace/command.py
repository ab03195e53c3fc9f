"""`make trace`: records a scenario, a check or a schedule, and writes its picture to build/trace/."""
from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

from ..explore import by_hand
from ..explore.ends import RawEnd
from ..explore.search import Search, split_schedule
from ..judging.fixture import LabFixture
from ..judging.program import LookFailed
from ..judging.require import CheckFailed
from ..labs import CHECKS, LABS, Lab, UserError, submitted_directory
from ..results import plain
from ..sandbox import box, build, native, tiers
from ..sandbox.build import BuildProblem
from ..sandbox.channel import BoxRefused
from . import page, svg
from . import text as in_words
from .recorded import trace_of_check, trace_of_schedule
from .rows import Trace, shortened
from .scenario import read_scenario, scenario_of
from .stepper import Stepper


def _fixture(lab: Lab, submission: Path, tier: str, cc: str) -> LabFixture:
    """A fixture whose programs are compiled. Raises UserError, with the compiler's first error, if one cannot be."""
    if not submitted_directory(submission, lab):
        raise UserError(f"there is no directory {lab.name} in {os.path.relpath(submission)}: IN=directory names another")
    native.find_compiler(cc)
    box.also_hidden.add(str(submission))
    for program in lab.programs:
        try:
            build.build(lab, program, submission, tier, cc, False)
        except BuildProblem as problem:
            lines = str(problem).splitlines()
            first = next((line for line in lines if " error: " in line), lines[0] if lines else "it cannot be compiled")
            raise UserError(f"{first}; `make check LAB={lab.number}` shows all") from None
    return LabFixture(lab, submission, tier, cc, False)


def _check(lab: Lab, name: str) -> Callable[[LabFixture], None]:
    """The function of a check. Raises UserError for one that there is not."""
    path = CHECKS / f"test_{lab.name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names = [key for key, value in vars(module).items() if key.startswith("test_") and callable(value)]
    wanted = name if name.startswith("test_") else f"test_{name}"
    if wanted not in names:
        raise UserError(f"lab {lab.number} has no check '{name}': it has {', '.join(key[5:] for key in names)}")
    return inspect.unwrap(vars(module)[wanted])  # type: ignore[no-any-return]


def _verdict(check: Callable[[LabFixture], None], fixture: LabFixture) -> List[str]:
    """Runs a check, and returns what it says, in lines; none if it passes."""
    try:
        check(fixture)
    except CheckFailed as failure:
        return [f"expected: {failure.expected}", *(f"but: {line}" for line in failure.saw[:4])]
    except LookFailed as failure:
        return [f"the harness could not examine the program: {failure}"]
    return []


class _Kept(by_hand.Replay):
    """Runs one schedule, and keeps its end."""

    found: List[Tuple["_Kept", RawEnd]] = []

    def ends(self) -> Iterator[RawEnd]:
        if not self.is_wanted:
            return
        for end in Search.ends(self):
            self.found.append((self, end))
            yield end


def _record_check(fixture: LabFixture, name: str) -> Trace:
    check = _check(fixture.lab, name)
    verdict = _verdict(check, fixture)
    calls = fixture.read_calls()
    fixture.stop()
    short = name[5:] if name.startswith("test_") else name
    return trace_of_check(fixture, calls, f"Lab {fixture.lab.number}, check {short}: {'failed' if verdict else 'passed'}", verdict)


def _record_schedule(fixture: LabFixture, schedule: str) -> Trace:
    try:
        scenario, _ = split_schedule(schedule)
    except ValueError as error:
        raise UserError(str(error)) from None
    name = scenario.partition(".")[0]
    _Kept.wanted, fixture.explorer, fixture.check = schedule, _Kept, name
    verdict = _verdict(_check(fixture.lab, name), fixture)
    if not _Kept.found:
        reason = next((search.unavailable for search in fixture.searches if search.unavailable), "the check has no such scenario")
        raise UserError(f"the schedule {schedule} was not run: {reason}")
    search, end = _Kept.found[-1]
    commands = [" ".join(words) for words in search.commands]
    return trace_of_schedule(end, search.listing(end), commands, f"Lab {fixture.lab.number}, schedule {scenario}", verdict)


def record(lab: Lab, submission: Path, check: str = "", schedule: str = "", tier: str = "", cc: str = "cc") -> Trace:
    """Records a scenario, a check or a schedule. Raises UserError for what the user can fix."""
    try:
        fixture = _fixture(lab, submission, tiers.choose_tier(tier or None), cc)
        try:
            if schedule:
                trace = _record_schedule(fixture, schedule)
            elif check:
                trace = _record_check(fixture, check)
            else:
                trace = Stepper(fixture, f"Lab {lab.number}  {lab.title}").perform(read_scenario(lab, scenario_of(lab)))
        finally:
            fixture.close()
    except BoxRefused as problem:
        raise UserError(f"the box does not work here: {problem}; `make doctor` says more") from None
    for row in trace.rows:
        row.text = plain(row.text)
    return shortened(trace)


def write(trace: Trace, directory: Path, stem: str) -> Path:
    """Writes the page, the picture and the events of a trace. Returns the page's path."""
    directory.mkdir(parents=True, exist_ok=True)
    contents: Dict[str, str] = {".svg": svg.draw(trace), ".json": json.dumps(page.events(trace)), ".html": page.page(trace)}
    for ending, content in contents.items():
        (directory / f"{stem}{ending}").write_text(content, encoding="utf-8", errors="replace")
    return directory / f"{stem}.html"


def main(lab: Lab, submission: Path, check: str, schedule: str, tier: str, cc: str, text: bool) -> int:
    """Makes one picture, and says where it is; with `text`, prints it as text, too."""
    if check and schedule:
        raise UserError("give CHECK=… or SCHEDULE=…, not both")
    trace = record(lab, submission, check, schedule, tier, cc)
    part = "" if submission == LABS else f".{submission.name}"
    what = f".{check.replace('test_', '', 1)}" if check else f".{split_schedule(schedule)[0]}" if schedule else ""
    path = write(trace, native.build_directory() / "trace", f"{lab.name}{part}{what}")
    if text:
        width = os.get_terminal_size().columns if sys.stdout.isatty() else 150
        print("\n".join(in_words.lines(trace, max(100, width))))
        print()
    print(f"{os.path.relpath(path)}: {len(trace.rows)} rows; open it in a browser" + ("" if text else ", or see it as text: TEXT=1"))
    return 0

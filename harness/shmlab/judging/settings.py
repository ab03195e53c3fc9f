"""What a run of checks was asked for: the options of the command line, parsed and checked."""
from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import List, Optional

import pytest

from .. import labs, results
from ..explore import by_hand
from ..explore.build import build_both
from ..labs import Lab, UserError
from ..sandbox import box, native, tiers
from ..sandbox.build import BuildProblem, Built, build, misnamed
from ..sandbox.channel import BoxRefused
from . import parallel


def add_options(parser: pytest.Parser) -> None:
    """Adds the options to pytest's own."""
    group = parser.getgroup("shared memory lab")
    group.addoption("--lab", action="append", default=[], metavar="NN", help="check this lab (may be repeated)")
    group.addoption("--submission", metavar="DIR", help="directory with the programs (default: labs)")
    group.addoption("--cc", default="cc", help="C compiler for the programs (default: cc)")
    group.addoption("--san", action="store_true", help="build the programs with address and UB sanitizers")
    group.addoption("--tier", help="namespaces, host or auto (default: the best that the machine has)")
    group.addoption("--results", metavar="FILE",
                    help="write the outcomes as JSON; into a directory: a file for each lab, as soon as it is done")
    group.addoption("--grade", metavar="DIR", help="grade every submission in this directory; see `make grade`")
    group.addoption("--out", metavar="DIR", help="where --grade writes its results")
    group.addoption("--course", metavar="FILE", help="for --grade: weights and deadlines")
    group.addoption("--jobs", metavar="N",
                    help="how many labs, or checks of one lab, to run at once (default: one per processor)")
    group.addoption("--explore", metavar="SECONDS", help="run many more schedules, for this many seconds in each scenario; see "
                                                         "`make explore`")
    group.addoption("--schedule", metavar="S", help="run one schedule again and show it; see `make replay`")
    group.addoption("--gdb", metavar="LETTER", help="with --schedule: examine one of its processes with gdb; see `make replay`")
    group.addoption("--student", action="store_true", help="as `make check` does in labs/: name the next step, keep the "
                    "outcomes for `make hint`, and show several labs in brief")
    group.addoption("--short", action="store_true", help="as `make watch` does: only the first failure, in a few lines")
    group.addoption("--trust", action="store_true", help="for --grade: run these programs even without a box")


class Settings:
    """The options, parsed and checked. Raises UserError for one that is wrong."""

    def __init__(self, config: pytest.Config) -> None:
        words = [word for item in config.getoption("lab") for word in item.replace(",", " ").split()]
        here = labs.LABS in (Path.cwd(), *Path.cwd().parents) and re.match(r"\d\d_", Path.cwd().name)
        self.labs: List[Lab] = [labs.find(word) for word in words or ([Path.cwd().name] if here else [])]
        directory = config.getoption("submission")
        self.submission = Path(config.invocation_params.dir, directory).resolve() if directory else labs.LABS
        if not self.submission.is_dir():
            raise UserError(f"there is no directory '{directory}': name the directory that contains your programs")
        if self.labs and directory and not any(labs.submitted_directory(self.submission, lab) for lab in self.labs):
            instead = misnamed(self.submission, self.labs[0].programs[0], self.labs[0])
            raise UserError(f"'{directory}' has no directory {self.labs[0].name} and no {self.labs[0].programs[0]}.c"
                            + (f", but {results.plain(instead)}" if instead else ""))
        box.also_hidden.add(str(self.submission))
        self.cc: str = config.getoption("cc")
        self.san: bool = config.getoption("san")
        native.find_compiler(self.cc)
        self.tier = tiers.choose_tier(config.getoption("tier"))
        self.schedule: Optional[str] = config.getoption("schedule")
        self.explorer = by_hand.chosen(config.getoption("explore"), self.schedule, config.getoption("gdb"))
        self.jobs = parallel.number_of_jobs(config.getoption("jobs"))

    def try_to_build(self, lab: Lab, program: str) -> Optional[Built]:
        """Returns a compiled program of the submission; None if it cannot be built, which the checks will report."""
        if self.tier == "namespaces" and lab.explores and not self.san:
            with suppress(BuildProblem, UserError, BoxRefused, OSError):  # what is wrong the plain build tells
                build_both(lab, self.submission, self.tier, self.cc)
        try:
            return build(lab, program, self.submission, self.tier, self.cc, self.san)
        except (BuildProblem, UserError, BoxRefused, OSError):
            return None

    def build_problem(self, lab: Lab, program: str) -> str:
        """Returns the message of why a program of the submission cannot be built; empty if it can, or if the machine failed."""
        try:
            build(lab, program, self.submission, self.tier, self.cc, self.san)
        except BuildProblem as problem:
            return str(problem)
        except (UserError, BoxRefused, OSError):
            pass
        return ""

    def wants(self, path: Path) -> bool:
        return any(path.name == f"test_{lab.name}.py" for lab in self.labs or labs.all_labs())

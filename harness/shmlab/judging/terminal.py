"""What a student sees of a run in the terminal: a line for each check as it ends, then the failures, the score, the next step."""
from __future__ import annotations

import os
import re
import time
from typing import Any, Iterator, List, Optional, Tuple

import pytest
from _pytest.terminal import TerminalReporter

from .. import labs, results
from ..labs import Lab
from ..results import Outcome
from ..sandbox import tiers
from . import feedback
from .causes import COMPILES, FINISHED, Causes
from .settings import Settings


REPORTED_BY_DEFAULT = "fE"  # pytest's own value of -r


class StudentReporter(TerminalReporter):  # type: ignore[misc]  # pytest has no other way to replace its output
    """Replaces pytest's own terminal output when checks run.

    A terminal may have 24 lines. So each check is one line as soon as it ends, and the messages of the failures follow the
    last check: each cause once, the nearest first. Failures with the same cause have the same number in brackets.
    """

    def __init__(self, config: pytest.Config, settings: Settings, outcomes: List[Outcome]) -> None:
        super().__init__(config)
        self.page = feedback.TerminalText()
        self.settings, self.outcomes = settings, outcomes
        self.scores: List[Tuple[Lab, List[Outcome]]] = []
        self.problems: List[str] = []
        self.causes = Causes()
        self.unbuilt: List[str] = []  # the first lines of what is said under the heading about programs that cannot be built
        self.short: bool = config.getoption("short")
        self.student: bool = config.getoption("student")
        self.in_brief = False  # whether one line is shown for each lab; set when it is known how many there are

    @property
    def current(self) -> Optional[Lab]:
        return self.scores[-1][0] if self.scores else None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session
        self._sessionstarttime = time.time()
        if not self.short:
            self.page.line(self.page.style(tiers.describe_tier(self.settings.tier), "faint"))

    def pytest_report_header(self, config: pytest.Config) -> List[str]:
        return []

    def pytest_collection(self) -> None:
        pass

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.problems.append(str(report.longrepr))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.in_brief = self.student and len({item.nodeid.partition("::")[0] for item in session.items}) > 1
        if self.config.getoption("collectonly"):
            super().pytest_collection_finish(session)

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        pass

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        pass

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        category = self.config.hook.pytest_report_teststatus(report=report, config=self.config)[0]
        self.stats.setdefault(category, []).append(report)
        outcome: Optional[Outcome] = getattr(report, "outcome_of_check", None)
        if outcome is None:
            if report.failed:
                self.problems.append(f"{report.nodeid}, {report.when}: {report.longrepr}")
            return
        if self.current is None or self.current.name != outcome.lab:
            self._finish_lab()
            self._begin_lab(labs.find(outcome.lab))
        if not self.in_brief:
            self._show_check(outcome)
        self.scores[-1][1].append(outcome)

    def _begin_lab(self, this: Lab) -> None:
        self.scores.append((this, []))
        if not self.in_brief:
            self._show_heading(this)

    def _show_heading(self, this: Lab) -> None:
        built = [self.settings.try_to_build(this, program) for program in this.programs]
        problems = list(dict.fromkeys(filter(None, (self.settings.build_problem(this, program) for program in this.programs))))
        self.causes, self.unbuilt = Causes(), [results.plain(problem.splitlines()[0]) for problem in problems]
        feedback.show_heading(self.page, this, [b.warnings for b in built if b and b.warnings], problems)

    def _show_check(self, outcome: Outcome) -> None:
        if outcome.expected == COMPILES and outcome.saw[0] in self.unbuilt:
            feedback.show_check(self.page, outcome, "", self.short)
            return
        known = len(self.causes)
        number = self.causes.add(outcome)
        note = f"[{number}]" if number > known else f"(as [{number}])" if number else ""
        feedback.show_check(self.page, outcome, note, self.short)

    def _show_failures(self, this: Lab, outcomes: List[Outcome]) -> None:
        """Shows what follows the last check of a lab: the failures' messages and the score."""
        found = self.causes.nearest_first()
        if self.short and found:
            # Besides these rows: the heading, one of each check, and four about the score and what the command waits for.
            rows = self.page.height - len(outcomes) - 8
            feedback.show_in_brief(self.page, this, found[0][1], max(6, rows))
        elif not self.short:
            for number, group in found:
                feedback.show_cause(self.page, number, group, whole=number == found[0][0] or not self.student)
        if found and not self.short:
            self.page.line()
        feedback.show_score(self.page, this, outcomes, found[0][0] if len(found) > 1 and not self.short else 0,
                            self._next_step(this) if self.student else "", stuck=not self.short, where=self._where)

    @property
    def _reports_more(self) -> bool:
        """Whether an option -r asks for pytest's list of outcomes."""
        return bool(self.config.getoption("reportchars") != REPORTED_BY_DEFAULT)

    @property
    def _where(self) -> str:
        submission = self.settings.submission
        return "" if submission == labs.LABS else f" IN={os.path.relpath(submission, labs.ROOT)}"

    def _next_step(self, this: Lab) -> str:
        """Returns what to do when this lab has full points."""
        every = labs.all_labs()
        there = every.index(this)
        for other in [*every[there + 1:], *every[:there]]:
            if not results.is_finished(results.kept(other)):
                return (f"next: lab {other.number}, {other.title}: labs/{other.name}/README.md, then "
                        f"`make watch LAB={other.number}`")
        return "you have finished all labs"

    def _finish_lab(self) -> None:
        if not self.scores:
            return
        this, outcomes = self.scores[-1]
        if self.in_brief:
            got, most = sum(o.score for o in outcomes), sum(o.points for o in outcomes)
            note = "finished" if got == most else "begun" if self._is_begun(this, outcomes) else "not begun"
            feedback.show_board_row(self.page, this.number, this.title, got, most, note)
        else:
            self._show_failures(this, outcomes)

    def _is_begun(self, this: Lab, outcomes: List[Outcome]) -> bool:
        """Returns whether a lab differs from its skeleton: a check does more than stop at a TODO, or a TODO's line is gone."""
        if any(outcome.expected != FINISHED for outcome in outcomes):
            return True
        directory = labs.submitted_directory(self.settings.submission, this) or this.directory
        for program in this.programs:
            try:
                text = (directory / f"{program}.c").read_text(encoding="utf-8", errors="replace")
            except OSError:
                return True
            stops = set(re.findall(r'"TODO (\d+):', text))
            if set(re.findall(r"TODO (\d+):", re.sub(r'"[^"\n]*"', "", text))) != stops:
                return True
        return False

    def _show_overview(self) -> None:
        """Shows the first lab that is begun and not finished in full, then how far the student is in all labs."""
        begun = [(this, outcomes) for this, outcomes in self.scores
                 if any(o.status != results.PASSED for o in outcomes) and self._is_begun(this, outcomes)]
        for this, outcomes in begun[:1]:
            self._show_heading(this)
            for outcome in outcomes:
                self._show_check(outcome)
            self._show_failures(this, outcomes)
        scores = [(this, sum(o.score for o in outcomes), sum(o.points for o in outcomes)) for this, outcomes in self.scores]
        left = [this for this, _ in begun] or [this for this, got, most in scores if got < most]
        step = (f"next: lab {left[0].number}, {left[0].title}: `make watch LAB={left[0].number}`" if left
                else "you have finished all labs")
        feedback.show_progress(self.page, scores, step)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Iterator[None]:
        outcome = yield
        del outcome
        if exitstatus == pytest.ExitCode.INTERRUPTED and self.short:
            return  # `make watch` begins again
        self._finish_lab()
        if self.in_brief:
            self._show_overview()
        elif len(self.scores) > 1:
            rows, score, maximum = [], 0, 0
            for this, outcomes in self.scores:
                got, most = sum(o.score for o in outcomes), sum(o.points for o in outcomes)
                rows.append([this.number, this.title, str(got), str(most)])
                score, maximum = score + got, maximum + most
            feedback.show_board(self.page, rows, score, maximum)
        for problem in self.problems:
            self.page.line(f"the harness has a problem of its own: {problem}")
        if not self.scores and not self.problems and not self.config.getoption("collectonly"):
            self.page.line("no check matches what was asked for" if self.settings.explorer is None else
                           "none of these checks runs every schedule")
        if session.shouldfail or session.shouldstop:
            self.page.line(str(session.shouldfail or session.shouldstop))
        if self.config.getoption("durations") is not None or self._reports_more:
            self.config.hook.pytest_terminal_summary(terminalreporter=self, exitstatus=exitstatus, config=self.config)

    pytest_sessionfinish = pytest.hookimpl(hookwrapper=True)(pytest_sessionfinish)

    def pytest_terminal_summary(self) -> Iterator[None]:
        yield  # pytest's own plugin shows the --durations
        if self._reports_more:
            self.short_test_summary()

    pytest_terminal_summary = pytest.hookimpl(hookwrapper=True)(pytest_terminal_summary)

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        if not self.short and type(excinfo.value) is KeyboardInterrupt:  # pytest's own subclass is for -x and --sw
            self.page.line("interrupted")

    def pytest_unconfigure(self) -> None:
        pass

    def pytest_warning_recorded(self, *_: Any, **__: Any) -> None:
        pass

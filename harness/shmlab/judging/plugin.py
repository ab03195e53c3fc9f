"""The pytest plugin: options, selection of checks, the `lab` fixture, points, outcomes, and the student's view.

    pytest harness --lab 05 --submission DIR -k outlives --junitxml=r.xml
"""
from __future__ import annotations

import errno
import os
import re
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

import pytest
from _pytest.terminal import TerminalReporter

from .. import labs, results
from ..explore import by_hand
from ..labs import Lab, UserError
from ..results import ERROR, FAILED, Outcome
from ..sandbox import box, native, tiers
from ..sandbox.build import BuildProblem, Built, build, misnamed
from ..sandbox.channel import BoxRefused
from . import feedback, parallel
from .causes import COMPILES, FINISHED, Causes
from .fixture import LabFixture
from .require import CheckFailed


def points(number: int, read: str = "") -> pytest.MarkDecorator:
    """Marks a check with the points it is worth, and where a student who fails it can read on."""
    return pytest.mark.points(number, read=read)


def pytest_addoption(parser: pytest.Parser) -> None:
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
                    help="how many labs to run at once, or checks of one lab (default: one lab per processor, one check)")
    group.addoption("--explore", metavar="SECONDS", help="run many more schedules, so long for each scenario; see `make explore`")
    group.addoption("--schedule", metavar="S", help="run one schedule again and show it; see `make replay`")
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
            raise UserError(f"there is no directory '{directory}': name the one with your programs in it")
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
        self.explorer = by_hand.chosen(config.getoption("explore"), self.schedule)
        self.jobs = parallel.number_of_jobs(config.getoption("jobs"))

    def try_to_build(self, lab: Lab, program: str) -> Optional[Built]:
        """Returns a compiled program of the submission; None if it cannot be built, which the checks will report."""
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


def pytest_cmdline_main(config: pytest.Config) -> None:
    """Replaces this process with `make grade` if --grade is given."""
    if not config.getoption("grade"):
        return
    here = config.invocation_params.dir
    words = [sys.executable, "-m", "shmlab", "grade", "--from", str(here / config.getoption("grade")),
             "--cc", config.getoption("cc"), "--out", str(here / (config.getoption("out") or "results"))]
    words += ["--course", str(here / config.getoption("course"))] if config.getoption("course") else []
    words += [word for name in ("jobs", "tier") if config.getoption(name) for word in (f"--{name}", config.getoption(name))]
    words += [word for number in config.getoption("lab") for word in ("--lab", number)]
    words += [f"--{name}" for name in ("trust", "san") if config.getoption(name)]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(labs.ROOT / "harness"), os.environ.get("PYTHONPATH")]))
    os.execv(sys.executable, words)


def _is_check_run(config: pytest.Config) -> bool:
    """Returns whether this run is of checks, and not of the harness's own tests."""
    own_tests = labs.ROOT / "harness" / "tests"
    paths = [Path(config.invocation_params.dir, str(arg).split("::")[0]).resolve() for arg in config.args]
    return not any(own_tests == path or own_tests in path.parents for path in paths)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "points(number, read): what a check is worth, and where to read on")
    if not _is_check_run(config):
        return
    try:
        settings = Settings(config)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    except OSError as error:
        raise pytest.UsageError(str(UserError.from_refusal(error))) from None
    config.pluginmanager.register(Run(settings), RUN)
    if not hasattr(config, "workerinput"):
        # SIGTERM cleans up as Ctrl-C does: without namespaces, the kernel does not remove what the programs have made.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    # An xdist worker has no terminal; with -v, pytest's own view with tracebacks is wanted.
    standard = config.pluginmanager.getplugin("terminalreporter")
    if standard and config.getoption("verbose") <= 0 and not hasattr(config, "workerinput"):
        config.pluginmanager.unregister(standard)
        config.pluginmanager.register(StudentReporter(config), "terminalreporter")


class Run:
    """One run of checks: what the options ask for, and the outcomes so far.

    It is registered as a plugin, because pytest 6 has no stash.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.outcomes: List[Outcome] = []


RUN = "shmlab run"


def _run_of(config: pytest.Config) -> Optional[Run]:
    """Returns None if the harness's own tests run."""
    run: Optional[Run] = config.pluginmanager.getplugin(RUN)
    return run


def _ignore(path: Path, config: pytest.Config) -> Optional[bool]:
    run = _run_of(config)
    if run is None:
        return None
    if path == labs.ROOT / "harness" / "tests":
        return True
    if path.parent == labs.CHECKS and path.name.startswith("test_"):
        return None if run.settings.wants(path) else True
    return None


# pytest 7 gave this hook a pathlib.Path under another name, and pytest 9 no longer has the older one.
if int(pytest.__version__.split(".")[0]) < 7:
    def pytest_ignore_collect(path: Any, config: pytest.Config) -> Optional[bool]:
        return _ignore(Path(str(path)), config)
else:
    def pytest_ignore_collect(  # type: ignore[misc]
            collection_path: Path, config: pytest.Config) -> Optional[bool]:
        return _ignore(collection_path, config)


def _path_of(item: Any) -> Path:
    """The file of a test, in pytest 6 too."""
    return Path(item.path if hasattr(item, "path") else str(item.fspath))


def pytest_collection_modifyitems(config: pytest.Config, items: List[pytest.Item]) -> None:
    """`make explore` and `make replay` want the checks that run schedules."""
    run = _run_of(config)
    if run is None or run.settings.explorer is None:
        return
    check = (run.settings.schedule or "").partition(".")[0]
    kept = [item for item in items if by_hand.explores(item.function)  # type: ignore[attr-defined]
            and item.name in (f"test_{check}", item.name if not check else "")]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _lab_of(item: pytest.Item) -> Optional[Lab]:
    path = _path_of(item)
    match = re.fullmatch(r"test_(\d\d_\w+)\.py", path.name)
    return labs.find(match.group(1)) if match and path.parent == labs.CHECKS else None


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[LabFixture]:
    """The fixture of one check: see fixture.py."""
    run, this = _run_of(request.config), _lab_of(request.node)
    assert run is not None and this is not None
    settings = run.settings
    fixture = LabFixture(this, settings.submission, settings.tier, settings.cc, settings.san)
    path = _results_path(request.config)
    fixture.check = request.node.name[len("test_"):]
    fixture.explorer = settings.explorer or fixture.explorer
    # With a directory for the results, a course is graded: the feedback is for students, who have their programs in labs/.
    fixture.in_student_layout = settings.submission == labs.LABS or bool(path and path.is_dir())
    yield fixture
    fixture.close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Optional[bool]:
    """Runs several labs in parallel, and the checks of one lab if --jobs is given.

    Without --jobs the checks of one lab run in one process. They are short, so distributing them takes longer than it
    saves: on two processors 0.05 to 0.25 s of a lab that takes one to two seconds.
    """
    config, this_run = session.config, _run_of(session.config)
    if this_run is None:
        return None
    settings = this_run.settings
    # Not with pytest's own view, which is for debugging; nor when grading, which runs many of these processes at once.
    path = _results_path(config)
    lab_of = [_lab_of(item) for item in session.items]
    portions = [[i for i, other in enumerate(lab_of) if other is this] for this in dict.fromkeys(lab_of)]
    one_process = settings.jobs < 2 or (len(portions) == 1 and not config.getoption("jobs"))
    if one_process or settings.tier != "namespaces" or session.testsfailed or (path and path.is_dir()) or any(
            config.getoption(name) for name in ("collectonly", "maxfail", "usepdb")) or not isinstance(
            config.pluginmanager.getplugin("terminalreporter"), StudentReporter):
        parallel.pin_to_processor()
        return None
    if len(portions) == 1 and lab_of[0]:
        for program in lab_of[0].programs:  # once, so that the processes need not all do it
            settings.try_to_build(lab_of[0], program)
        portions = [[i] for i in range(len(session.items))]
    for report in parallel.run(session, portions, settings.jobs):
        if hasattr(report, "outcome_of_check"):
            this_run.outcomes.append(report.outcome_of_check)
    return True


# ---- outcomes ---------------------------------------------------------------------------------------------


#: Errors that a program cannot have caused in the harness.
HARNESS_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG, errno.EAGAIN)

#: The limits of this process that make a call fail so: what they limit, and the shell's option.
_LIMITS = {errno.EMFILE: (resource.RLIMIT_NOFILE, "open files", "-n"),
           errno.ENOMEM: (resource.RLIMIT_AS, "bytes of memory", "-v"),
           errno.EFBIG: (resource.RLIMIT_FSIZE, "bytes in a file", "-f"),
           errno.EAGAIN: (resource.RLIMIT_NPROC, "processes", "-u")}


def _limit_behind(error: BaseException) -> str:
    """One line about the limit of this process that an error comes from; empty if it has no such limit."""
    if not isinstance(error, OSError) or error.errno not in _LIMITS:
        return ""
    kind, what, option = _LIMITS[error.errno]
    most = resource.getrlimit(kind)[1]
    return "" if most == resource.RLIM_INFINITY else (
        f"{os.strerror(error.errno)}: the limit here is {most} {what} (ulimit -H {option}), and this check needs more: "
        "use a machine with a higher limit")


MAX_PROCESSES = 128  # of one program, as native/box/confine.c has it


def _fork_met_a_limit(fixture: LabFixture) -> bool:
    """Whether fork() failed in a program because of a limit of this machine's that is lower than the box's own."""
    return 0 <= resource.getrlimit(resource.RLIMIT_NPROC)[1] < MAX_PROCESSES and any(
        call.name == "fork" and call.error == errno.EAGAIN and not call.injected for call in fixture.read_calls())


#: What to do about an error of the machine, which a check met.
REMEDIES = {
    errno.ENOSPC: "free some space in /tmp, /dev/shm and the project's directory, then check again",
    errno.EDQUOT: "free some of your disk quota, then check again",
    errno.ENOMEM: "end other programs on this machine, then check again",
    errno.EMFILE: "raise the limit of open files (ulimit -n), then check again",
    errno.ENFILE: "end other programs on this machine, then check again",
    errno.EACCES: "run `make doctor`, and check who owns the project's directory and what its mode is",
    errno.EPERM: "run `make doctor`: it reports what this machine allows",
    errno.EROFS: "unpack the project in a directory that you can write to",
}
EXIT_EXEC = 127  # of a child of pid 1 that could not execute its program: see native/box/box.h
CHECK_AGAIN = "check again; if the error comes back, report it to the person who runs the lab"


def sentence_of(item: Any) -> str:
    """Returns the requirement that a check states: the first paragraph of its docstring."""
    return " ".join((item.function.__doc__ or item.name).strip().split("\n\n")[0].split())


def _outcome_of(item: pytest.Item, error: Optional[BaseException], seconds: float) -> Outcome:
    """Returns the outcome of a check that ended with this exception, or with None."""
    marker = item.get_closest_marker("points")
    this = _lab_of(item)
    outcome = Outcome(this.name if this else "?", item.name, sentence_of(item), marker.args[0] if marker else 0,
                      read=marker.kwargs.get("read", "") if marker else "", seconds=round(seconds, 4))
    fixture: Optional[LabFixture] = getattr(item, "funcargs", {}).get("lab")
    outcome.explored = fixture.schedules_run if fixture else {}
    if error is None:
        return outcome
    outcome.status = FAILED
    if fixture:
        fixture.stop()
    if isinstance(error, BuildProblem):
        first, _, rest = str(error).partition("\n")
        outcome.expected, outcome.saw = COMPILES, [first, *rest.splitlines()[:10]]
        return outcome
    if isinstance(error, CheckFailed) and fixture and _fork_met_a_limit(fixture):
        error = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    not_executed = _not_executed(fixture) if fixture and isinstance(error, CheckFailed) else None
    if not_executed:
        return _error(outcome, not_executed)
    if isinstance(error, CheckFailed):
        outcome.expected, outcome.saw = error.expected, error.saw
        if fixture:
            # If one program is unfinished, that may be why another one fails, so it is reported instead.
            said = [(program.name, bytes(program.started.output[2]).decode("utf-8", "replace"))
                    for program in [*filter(None, [fixture.subject]), *fixture.history[::-1]]]
            said += [(run.command.split()[0], run.stderr) for run in (fixture.end.runs if fixture.end else [])]
            for name, stderr in said:
                # The code that cleans up may be unfinished, too. The last TODO in the output is where the program stopped.
                todos = re.findall(r"TODO \d+[^/\n]*", stderr)
                if todos:
                    outcome.expected = FINISHED
                    outcome.saw = [f"{name}.c stopped at its {todos[-1].rstrip(' :')}"]
                    outcome.read = f"labs/{outcome.lab}/README.md, Steps"
                    return outcome
            # The command line does not show what the check or another process did, so the message says it.
            if fixture.preparations:
                outcome.saw = [*outcome.saw, "(this check had " + ", and ".join(fixture.preparations[-3:]) + ")"]
            if fixture.end:
                outcome.calls, outcome.by_hand = fixture.end.shortened(), feedback.replay(fixture)
            else:
                outcome.calls, outcome.by_hand = feedback.recent_calls(fixture), feedback.reproduce(fixture, error.saw)
        return outcome
    seen = _seen_of(error, fixture) if fixture and isinstance(error, OSError) and error.errno not in HARNESS_ERRORS else None
    if seen:
        outcome.expected, outcome.saw = seen
        outcome.calls = feedback.recent_calls(fixture) if fixture else []
        return outcome
    return _error(outcome, error)


def _seen_of(error: OSError, fixture: LabFixture) -> Optional[Tuple[str, List[str]]]:
    """Returns what was expected and seen if a program caused an error in the check, which must be seen; else None."""
    changes = fixture.changes(error.filename)
    if changes:
        return "the program leaves alone what the check has made", [*changes, f"so the check failed: {error.strerror}"]
    pid = fixture.ended_early(error.filename)
    ended = next((program for program in fixture.history if program.pid == pid), None) if pid else None
    if ended:
        return f"{ended.name} is still there when the check looks at it", ended.wait().ending
    return None


def _error(outcome: Outcome, error: BaseException) -> Outcome:
    """Makes this the outcome of a check that could not be finished for a reason of the machine or the harness."""
    outcome.status = ERROR
    outcome.expected = "the check itself works: this is not your fault"
    if isinstance(error, BoxRefused):
        outcome.saw = [f"the box stopped working: {error}"]
    elif isinstance(error, OSError) and _limit_behind(error):
        outcome.saw = [_limit_behind(error)]
        return outcome
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        outcome.saw = [f"{errno.errorcode.get(error.errno or 0, 'OSError')}: {where}{error.strerror or error}"]
    else:
        outcome.saw = [f"{type(error).__name__}: {error}"]
    number = error.errno if isinstance(error, OSError) else None
    outcome.saw.append("what to do: " + REMEDIES.get(number or 0, CHECK_AGAIN))
    return outcome


def _not_executed(fixture: LabFixture) -> Optional[OSError]:
    """Returns the error if the box could not execute the program that a failure is about; None if it ran, or was replaced."""
    program = fixture.subject
    if not program or not program.finished or program.finished.exit_status != EXIT_EXEC or program.recorded():
        return None
    said = re.fullmatch(r"box: ([^:\n]+): (.+)\n?", program.finished.stderr)
    if not said or not fixture.has_executable(program.built):
        return None
    number = next((number for number in errno.errorcode if os.strerror(number) == said.group(2)), 0)
    return OSError(number, f"the box could not execute {program.name}, at {said.group(1)}: {said.group(2)}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> Iterator[None]:
    done = yield
    run = _run_of(item.config)
    if run is None or _lab_of(item) is None:
        return
    report = done.get_result()  # type: ignore[attr-defined]
    error = call.excinfo.value if call.excinfo else None
    if call.when == "call" or (call.when == "setup" and error is not None):
        outcome = _outcome_of(item, error, call.duration)
        outcome.make_plain()
        run.outcomes.append(outcome)
        report.outcome_of_check = outcome
        # pytest copies these properties to the JUnit file when the item's teardown is reported.
        item.user_properties += [("points", outcome.points), ("score", outcome.score)]
        if error is not None and item.config.getoption("verbose") <= 0:
            report.longrepr = "\n".join([outcome.sentence, f"expected: {outcome.expected}", *outcome.saw])
        elif error is not None and outcome.status == ERROR:
            outcome.saw += traceback.format_tb(error.__traceback__)[-1].strip().splitlines()


def _results_path(config: pytest.Config) -> Optional[Path]:
    path = config.getoption("results", None)
    return Path(config.invocation_params.dir, path) if path and _run_of(config) else None


def pytest_runtest_teardown(item: pytest.Item, nextitem: Optional[pytest.Item]) -> None:
    path, this, run = _results_path(item.config), _lab_of(item), _run_of(item.config)
    if run and path and path.is_dir() and this and (nextitem is None or _lab_of(nextitem) != this):
        mine = [outcome for outcome in run.outcomes if outcome.lab == this.name]
        results.write_json(path / f"{this.name}.json", mine, run.settings.tier)


def pytest_sessionfinish(session: pytest.Session) -> None:
    LabFixture.close_spare()
    path, run = _results_path(session.config), _run_of(session.config)
    if run and session.config.getoption("student") and not hasattr(session.config, "workerinput"):
        results.keep(run.outcomes, run.settings.tier)
    if run and path and not path.is_dir():
        results.write_json(path, run.outcomes, run.settings.tier)


# ---- the student's view -------------------------------------------------------------------------------------


class StudentReporter(TerminalReporter):  # type: ignore[misc]  # pytest has no other way to replace its output
    """Replaces pytest's own terminal output when checks run.

    A terminal may have 24 lines. So each check is one line as soon as it ends, and the messages of the failures follow the
    last check: each cause once, the nearest first. Failures with the same cause have the same number in brackets.
    """

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config)
        self.page = feedback.Page()
        run = _run_of(config)
        assert run is not None
        self.settings, self.outcomes = run.settings, run.outcomes
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
        self.in_brief = self.student and len({item.path for item in session.items}) > 1
        if self.config.getoption("collectonly"):
            super().pytest_collection_finish(session)

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        pass

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        pass

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
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
                            self._next_step(this) if self.student else "", stuck=not self.short)

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
            self.page.line("no check fits what was asked for")
        if session.shouldfail or session.shouldstop:
            self.page.line(str(session.shouldfail or session.shouldstop))

    pytest_sessionfinish = pytest.hookimpl(hookwrapper=True)(pytest_sessionfinish)

    def pytest_terminal_summary(self) -> Iterator[None]:
        yield

    pytest_terminal_summary = pytest.hookimpl(hookwrapper=True)(pytest_terminal_summary)

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        if not self.short:
            self.page.line("interrupted")

    def pytest_unconfigure(self) -> None:
        pass

    def pytest_warning_recorded(self, *_: Any, **__: Any) -> None:
        pass

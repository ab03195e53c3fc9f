"""The pytest plugin: selects the checks, provides the `lab` fixture, and passes on what came of each check.

    pytest harness --lab 05 --submission DIR -k outlives --junitxml=r.xml
"""
from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, Iterator, List, Optional

import pytest

from .. import labs, results
from ..explore import by_hand
from ..labs import Lab, UserError
from ..results import ERROR, FAILED, Outcome
from . import parallel
from .fixture import LabFixture
from .outcomes import outcome_of
from .settings import Settings, add_options
from .terminal import StudentReporter


def points(number: int, read: str = "") -> pytest.MarkDecorator:
    """Marks a check with the points it is worth, and where a student who fails it can read on."""
    return pytest.mark.points(number, read=read)


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


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
    if config.getoption("dist", "no") != "no" or config.getoption("tx", None):
        raise pytest.UsageError("the checks do not run in pytest-xdist's processes, because each has its own processor and box: "
                                "write --jobs 2 instead of -n 2")
    try:
        settings = Settings(config)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    except OSError as error:
        raise pytest.UsageError(str(UserError.from_refusal(error))) from None
    run = Run(settings)
    config.pluginmanager.register(run, RUN)
    # SIGTERM cleans up as Ctrl-C does: without namespaces, the kernel does not remove what the programs have made.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # With -v, pytest's own view with tracebacks is wanted.
    standard = config.pluginmanager.getplugin("terminalreporter")
    if standard and config.getoption("verbose") <= 0:
        config.pluginmanager.unregister(standard)
        config.pluginmanager.register(StudentReporter(config, settings, run.outcomes), "terminalreporter")


RUN = "shmlab run"


class Run:
    """One run of checks: what the options ask for, and the outcomes so far.

    It is registered as a plugin, because pytest 6 has no stash.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.outcomes: List[Outcome] = []


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
    """Runs several labs in parallel, or the checks of one."""
    config, this_run = session.config, _run_of(session.config)
    if this_run is None:
        return None
    settings = this_run.settings
    # Not with pytest's own view, which is for debugging, nor where a schedule is shown step by step, nor where a failure ends
    # the run; nor when grading, which runs many of these processes at once.
    path = _results_path(config)
    lab_of = [_lab_of(item) for item in session.items]
    portions = [[i for i, other in enumerate(lab_of) if other is this] for this in dict.fromkeys(lab_of)]
    modules = [item.getparent(pytest.Module) for item in session.items[:1]]
    alone = len(portions) == 1 and any(getattr(module.obj, "ONE_AT_A_TIME", False) for module in modules if module)
    in_order = any(config.getoption(name, None) for name in ("collectonly", "maxfail", "usepdb", "stepwise"))
    if settings.jobs < 2 or settings.explorer or alone or settings.tier != "namespaces" or session.testsfailed or in_order or (
            path and path.is_dir()) or not isinstance(config.pluginmanager.getplugin("terminalreporter"), StudentReporter):
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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> Iterator[None]:
    run, this = _run_of(item.config), _lab_of(item)
    if run and this and item.config.getoption("verbose") <= 0:
        # The message below replaces pytest's own traceback, for which it would parse every file in it: 0.2 s a failed check.
        setattr(item, "repr_failure", lambda _excinfo: "")
    done = yield
    if run is None or this is None:
        return
    report = done.get_result()  # type: ignore[attr-defined]
    error = call.excinfo.value if call.excinfo else None
    if call.when == "call" or (call.when == "setup" and error is not None):
        outcome = outcome_of(item, this, error, call.duration)
        outcome.make_plain()
        path = _results_path(item.config)
        if outcome.status == FAILED and path and path.is_dir() and not any(
                other.lab == outcome.lab and other.status == FAILED for other in run.outcomes):
            _draw(item, outcome)
        run.outcomes.append(outcome)
        report.outcome_of_check = outcome
        # pytest copies these properties to the JUnit file when the item's teardown is reported.
        item.user_properties += [("sentence", outcome.sentence), ("points", outcome.points), ("score", outcome.score)]
        if error is not None and item.config.getoption("verbose") <= 0:
            report.longrepr = "\n".join([outcome.sentence, f"expected: {outcome.expected}", *outcome.saw])
        elif error is not None and outcome.status == ERROR:
            outcome.saw += traceback.format_tb(error.__traceback__)[-1].strip().splitlines()


def _draw(item: pytest.Item, outcome: Outcome) -> None:
    """Adds the picture of a failed check, which must not cost the student anything if there is none."""
    fixture = item.funcargs.get("lab")  # type: ignore[attr-defined]
    if fixture is None:
        return
    from ..trace.of_failure import picture_of  # most runs need no picture
    try:
        outcome.picture, outcome.picture_text = picture_of(fixture, outcome, outcome.lab)
    except Exception as error:
        outcome.picture_text = [results.plain(f"there is no picture: {type(error).__name__}: {error}")]


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
    if run and session.config.getoption("student"):
        results.keep(run.outcomes, run.settings.tier)
    if run and path and not path.is_dir():
        results.write_json(path, run.outcomes, run.settings.tier)

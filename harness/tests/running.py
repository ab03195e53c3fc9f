"""Runs the checks as a student does, in a separate pytest process, and reads the outcomes."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import pytest

HARNESS = Path(__file__).resolve().parents[1]
ROOT = HARNESS.parent

#: Set by `make test FULL=1`. Otherwise a sample runs where many cases test the same thing, so that `make test` is fast.
FULL = bool(os.environ.get("FULL"))


def sample(things: Sequence[object], each: int) -> List[object]:
    """Returns parameters for a test and marks all but each `each`-th as "full": see conftest.py."""
    return [pytest.param(thing, marks=[pytest.mark.full] if number % each else []) for number, thing in enumerate(things)]


class Checked:
    """The outcomes of one lab's checks, and the output."""

    def __init__(self, output: str, exit_status: int, data: Dict) -> None:
        self.output, self.exit_status, self.checks = output, exit_status, data.get("checks", [])

    @property
    def score(self) -> int:
        return sum(check["score"] for check in self.checks)

    @property
    def maximum(self) -> int:
        return sum(check["points"] for check in self.checks)

    def not_passed(self) -> Dict[str, Dict]:
        """Returns the checks that did not pass, by name."""
        return {check["check"]: check for check in self.checks if check["status"] != "passed"}


def pytest_command(*words: str) -> List[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:xdist", *words]


#: Forks a pytest for each line that it reads, because loading pytest takes as long as the checks of a small lab.
_SERVER = """
import json, os, sys
import pytest
from shmlab.judging import plugin

for line in sys.stdin:
    directory, words, output = json.loads(line)
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            for fd, path in (0, "/dev/null"), (1, output), (2, output):
                os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), fd)
            os.chdir(directory)
            os._exit(int(pytest.main(words)))
        finally:
            os._exit(70)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
_server: Optional["subprocess.Popen[str]"] = None


def _run(words: List[str], output: Path, timeout: float) -> int:
    """Runs pytest in the project's directory, in a separate process. Returns its exit status."""
    global _server
    if _server is None:
        environment = {**os.environ, "TERM": "dumb", "PYTHONPATH": str(HARNESS)}
        _server = subprocess.Popen([sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   env=environment)
    assert _server.stdin and _server.stdout
    _server.stdin.write(json.dumps([str(ROOT), words, str(output)]) + "\n")
    _server.stdin.flush()
    pid = int(_server.stdout.readline())
    guard = threading.Timer(timeout, os.killpg, (pid, signal.SIGKILL))
    guard.start()
    try:
        return int(_server.stdout.readline())
    finally:
        guard.cancel()


def check(lab: Optional[str], submission: Path, cc: str = "cc", san: bool = False, tier: Optional[str] = None,
          timeout: float = 300, only: str = "") -> Checked:
    """Runs the checks of one lab (None: of all labs) on a submission; `only` those that an expression of pytest's -k selects."""
    with tempfile.TemporaryDirectory() as directory:
        results, output = Path(directory, "results.json"), Path(directory, "output.txt")
        # One job, because the tests themselves run in parallel.
        words = ["-p", "no:xdist", "-p", "no:cacheprovider", str(HARNESS), "--submission", str(submission), "--cc", cc,
                 "--results", str(results), "--jobs", "1"]
        words += (["--lab", lab] if lab else []) + (["--san"] if san else []) + (["--tier", tier] if tier else [])
        words += ["-k", only] if only else []
        status = _run(words, output, timeout)
        data = json.loads(results.read_text()) if results.exists() else {}
        return Checked(output.read_text(), status, data)

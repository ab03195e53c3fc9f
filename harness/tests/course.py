"""For the tests: runs the checks as a person would, in a pytest of their own, and reads the outcomes."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Optional

HARNESS = Path(__file__).resolve().parents[1]
ROOT = HARNESS.parent


class Checked:
    """The outcomes of one lab's checks, and what was printed."""

    def __init__(self, output: str, exit_status: int, data: Dict) -> None:
        self.output, self.exit_status, self.checks = output, exit_status, data.get("checks", [])

    @property
    def score(self) -> int:
        return sum(check["score"] for check in self.checks)

    @property
    def maximum(self) -> int:
        return sum(check["points"] for check in self.checks)

    def not_passed(self) -> Dict[str, Dict]:
        """Checks that did not pass, by name."""
        return {check["check"]: check for check in self.checks if check["status"] != "passed"}


def pytest_command(*words: str) -> List[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:xdist", *words]


def check(lab: Optional[str], submission: Path, cc: str = "cc", san: bool = False, tier: Optional[str] = None,
          timeout: float = 300) -> Checked:
    """Runs the checks of one lab (None: of all) on a submission."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.json")
        command = pytest_command(str(HARNESS), "--submission", str(submission), "--cc", cc, "--results", str(results))
        command += ["--jobs", "1"]  # the tests themselves run side by side
        command += (["--lab", lab] if lab else []) + (["--san"] if san else []) + (["--tier", tier] if tier else [])
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, env={**os.environ, "TERM": "dumb"})
        data = json.loads(results.read_text()) if results.exists() else {}
        return Checked(done.stdout + done.stderr, done.returncode, data)

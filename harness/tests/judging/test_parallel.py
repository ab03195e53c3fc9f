"""Checks that run in several processes are reported as if one had run them, even if a process dies."""
import ast
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml

import running
import pytest

from shmlab import gallery, labs
from shmlab.sandbox import tiers

CONFTEST = f"""
import os, sys
sys.path.insert(0, {str(running.HARNESS)!r})
from shmlab.judging import parallel
PARENT = os.getpid()

def pytest_runtestloop(session):
    session.config.heard = list(parallel.run(session, [[0], [1, 2, 3], [4]], 2))
    return True
"""

TESTS = """
import os, signal
import pytest
from conftest import PARENT

def test_in_another_process(): assert os.getpid() != PARENT
def test_fails(): print("said"); assert 1 == 2
def test_kills_its_process(): os.getpid() == PARENT or os.kill(os.getpid(), signal.SIGKILL)
def test_lost_with_it(): pass
@pytest.mark.skip(reason="so")
def test_skipped(): pass
"""


def test_nothing_is_lost_with_a_process(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_some.py").write_text(TESTS)
    done = subprocess.run(running.pytest_command("-v", "-p", "no:cacheprovider", "--junitxml=r.xml"), cwd=tmp_path,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert re.findall(r"::(\w+) (\w+)", done.stdout) == [
        ("test_in_another_process", "PASSED"), ("test_fails", "FAILED"), ("test_kills_its_process", "PASSED"),
        ("test_lost_with_it", "PASSED"), ("test_skipped", "SKIPPED")], done.stdout + done.stderr
    assert "assert 1 == 2" in done.stdout and done.returncode == 1
    cases = list(xml.parse(tmp_path / "r.xml").iter("testcase"))
    assert len(cases) == 5 and sum(case.find("failure") is not None for case in cases) == 1


def test_the_same_is_told_by_one_process_and_by_three(tmp_path):
    """The checks of a single lab are distributed; several labs are distributed as wholes. Various failures occur."""
    wrong = next(mistake for mistake in gallery.mistakes() if str(mistake) == "05_sysv_create/exit_status_0_on_failure")
    directory = wrong.apply(tmp_path)
    for name in "08_posix_create", "09_posix_attach":
        (directory / name).mkdir(exist_ok=True)
        for path in ((labs.LABS if name < "09" else labs.SOLUTIONS) / name).glob("*.c"):
            (directory / name / path.name).write_bytes(path.read_bytes())
    for numbers in ["05"], ["05", "08", "09"]:
        told = []
        for jobs in "1", "3":
            words = [word for number in numbers for word in ("--lab", number)]
            command = running.pytest_command(str(running.HARNESS), "--submission", str(directory), *words, "--jobs", jobs,
                                             f"--junitxml={tmp_path}/r.xml", f"--results={tmp_path}/r.json")
            done = subprocess.run(command, cwd=running.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=120)
            data = json.loads((tmp_path / "r.json").read_text())
            cases = [(case.get("name"), case.find("failure") is None) for case in xml.parse(tmp_path / "r.xml").iter("testcase")]
            outcomes = [(check["lab"], check["check"], check["status"], check["expected"]) for check in data["checks"]]
            text = re.sub(r"shmlab-[0-9a-f]{8}|0x[0-9a-f]+|\d+\.\d+ |process \d+", "#", done.stdout)
            told.append((text, outcomes, cases, done.returncode))
        assert told[0] == told[1]
        assert any(state == "failed" for _, _, state, _ in told[0][1])


KEEPER = """
import os, sys
from shmlab.sandbox import box, tiers
from shmlab.judging import parallel
parallel.pin_to_processor()
with box.Box(tiers.choose_tier(None)) as inside:
    run = inside.start(["grep", "Cpus_allowed_list", "/proc/1/status", "/proc/self/status"])
    inside.wait(run, 10)
print(sorted(os.sched_getaffinity(0)), sorted(box.PROCESSORS), run.output[1].decode().split()[1::2], flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor")
@pytest.mark.skipif(tiers.choose_tier(None) != "namespaces", reason="pid 1 is the machine's")
def test_each_keeps_to_a_processor_and_programs_to_none():
    """While a processor is free, a process gets one of its own. A later process may use all of them."""
    allowed = sorted(os.sched_getaffinity(0))[:2]
    keepers = [subprocess.Popen([sys.executable, "-c", KEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                env={**os.environ, "PYTHONPATH": str(running.HARNESS)},
                                preexec_fn=lambda: os.sched_setaffinity(0, allowed)) for _ in range(3)]
    try:
        told = [ast.literal_eval(keeper.stdout.readline().replace("] [", "], [")) for keeper in keepers]
    finally:
        for keeper in keepers:
            keeper.communicate()
    kept = [own for own, _, _ in told if len(own) == 1]
    assert len(kept) == len(set(map(tuple, kept))) <= 2
    for own, every, (of_pid_1, of_program) in told:
        assert every == allowed and processors(of_pid_1) == own and processors(of_program) == allowed


def processors(text):
    """Parses a list such as 0-1,4."""
    ends = [part.split("-") for part in text.split(",")]
    return [number for words in ends for number in range(int(words[0]), int(words[-1]) + 1)]

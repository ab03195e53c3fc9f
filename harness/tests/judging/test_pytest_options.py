"""pytest's own options do to the checks what they do to other tests, and change no verdict."""
import json
import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest
import running

from shmlab import gallery, labs

LAB = labs.find("05")
NAMES = [check.name for check in LAB.checks()]
WRONG = "test_taken_key"  # what the submission fails


@pytest.fixture(scope="module")
def submission(tmp_path_factory):
    wrong = next(mistake for mistake in gallery.mistakes() if mistake.lab == LAB and mistake.caught_by == (WRONG,))
    return wrong.apply(tmp_path_factory.mktemp("wrong"))


def run(submission, tmp_path, *options):
    """Returns the process, and the status of each check that ran."""
    command = running.pytest_command(str(running.HARNESS), "--lab", "05", "--submission", str(submission), "-o",
                                     f"cache_dir={tmp_path}/cache", f"--results={tmp_path}/r.json", f"--junitxml={tmp_path}/r.xml")
    (tmp_path / "r.json").unlink(missing_ok=True)
    done = subprocess.run([*command, *options], cwd=running.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert "INTERNALERROR" not in done.stdout + done.stderr and "Traceback" not in done.stdout + done.stderr
    checks = json.loads((tmp_path / "r.json").read_text())["checks"] if (tmp_path / "r.json").exists() else []
    return done, {check["check"]: check["status"] for check in checks}


RIGHT = {name: "failed" if name == WRONG else "passed" for name in NAMES}


@pytest.mark.parametrize("option, shows", [("-rA", f"::{WRONG}\n"), ("--durations=3", "slowest 3 durations"), ("-q", "9 of 10 points"),
                                           ("--tb=short", "9 of 10 points"), ("--ff", "9 of 10 points")])
def test_options_that_change_what_is_shown(submission, tmp_path, option, shows):
    done, statuses = run(submission, tmp_path, option)
    assert statuses == RIGHT and done.returncode == 1 and shows in done.stdout, done.stdout
    assert ("PASSED" in done.stdout) == (option == "-rA") and ("slowest" in done.stdout) == (option == "--durations=3")


def test_options_that_choose_checks_by_the_run_before(submission, tmp_path):
    assert run(submission, tmp_path)[1] == RIGHT
    done, statuses = run(submission, tmp_path, "--lf")
    assert statuses == {WRONG: "failed"} and "0 of 1 points" in done.stdout
    done, statuses = run(submission, tmp_path, "--ff")
    assert list(statuses)[0] == WRONG and statuses == RIGHT
    assert run(labs.SOLUTIONS, tmp_path, "--lf")[1] == {WRONG: "passed"}
    assert run(labs.SOLUTIONS, tmp_path, "--lf")[1] == dict.fromkeys(NAMES, "passed"), "none failed before"


@pytest.mark.parametrize("option", ["-x", "--sw"])
def test_options_that_end_a_run_early(submission, tmp_path, option):
    done, statuses = run(submission, tmp_path, option)
    until = NAMES[:NAMES.index(WRONG) + 1]
    assert statuses == {name: RIGHT[name] for name in until} and "interrupted" not in done.stdout
    assert list(run(submission, tmp_path, option)[1]) == ([WRONG] if option == "--sw" else until)


@pytest.mark.parametrize("words", [["-n", "2"], ["--dist", "load", "--tx", "popen"]])
def test_xdist_is_refused_in_one_line(submission, words):
    command = [sys.executable, "-m", "pytest", str(running.HARNESS), "--lab", "05", "--submission", str(submission), *words]
    done = subprocess.run(command, cwd=running.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR and done.stdout == ""
    assert done.stderr.count("\n") <= 2 and "write --jobs 2" in done.stderr


def test_a_case_in_junit_carries_the_sentence_of_its_check(submission, tmp_path):
    run(submission, tmp_path)
    sentences = {check.name: check.sentence for check in LAB.checks()}
    cases = list(xml.parse(tmp_path / "r.xml").iter("testcase"))
    assert len(cases) == len(NAMES)
    for case in cases:
        told = {one.get("name"): one.get("value") for one in case.iter("property")}
        assert told["sentence"] == sentences[case.get("name")] and int(told["score"]) <= int(told["points"])

"""A run that ends early says so in one line, loses nothing, and marks the pages that are older than the outcomes."""
import errno
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from grading import command, grade, results
from test_results_directory import everything, put

from shmlab import labs
from shmlab.course import cohort, intake, results_directory
from shmlab.labs import UserError
from shmlab.results import write_whole

PAGE = "<html>\n<body>\n<p>x</p>\n</body>\n</html>\n"
STALE = "This page is from the previous run"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(labs.ROOT / "harness"), "TERM": "dumb"}


def are_gone(word):
    """Whether no process has this in its command line any more, after 20 s at most: boxes notice the end of a harness by themselves."""
    def one_has_it():
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if word.encode() in path.read_bytes():
                    return True
            except OSError:
                pass
        return False

    end = time.monotonic() + 20
    while one_has_it():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("by_make", [False, True], ids=["the-process", "make"])
def test_sigterm_ends_a_run_in_one_line_and_it_goes_on_later(tmp_path, by_make):
    source, out = tmp_path / "in", tmp_path / "it's \"mine\" $(x) `y` [z]; *"
    for name in "ada", "ben", "cem":
        put(source, name, more=f"/* {name} */\n")
    make = ["make", "--no-print-directory", "grade", f"FROM={source}", f"OUT={str(out).replace('$', '$$')}", "LAB=05", "JOBS=1", "V="]
    words = make if by_make else command(source, out, "--lab", "05", "--jobs", "1")
    for number in 0, 1:  # the second run has pages of the first
        run = subprocess.Popen(words, cwd=labs.ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=ENVIRONMENT)
        line = run.stderr.readline()
        assert "submissions with" in line, line + run.stderr.read()
        run.send_signal(signal.SIGTERM)
        told, text = run.communicate(timeout=60)
        assert run.returncode in (143, -signal.SIGTERM, 2) and "Traceback" not in text and told == "" and are_gone(str(out))
        lines = [line for line in text.splitlines() if line and not line.startswith("make") and not line.startswith("graded:")]
        assert len(lines) == 1 and lines[0].startswith("interrupted: run the same command again"), text
        assert ("from the previous run" in lines[0]) == (number == 1)
        if number:
            assert STALE in (out / "index.html").read_text() and STALE in (out / "students" / "ada" / "report.html").read_text()
            assert STALE not in (out / "students" / "cem" / "report.html").read_text(), "its outcome is not older"
            assert results_directory.unfinished(out)
        done = subprocess.run(words, cwd=labs.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
        assert done.returncode == 0, done.stderr
        assert {student["score"] for student in results(out)["students"]} == {10}
        assert not [page for page in out.rglob("*.html") if STALE in page.read_text()] and not results_directory.unfinished(out)
        put(source, "ada", more="/* anew */\n")
        put(source, "ben", more="/* anew, too */\n")
    assert not [path for path in out.rglob("*") if path.name.startswith("partial")]


def test_a_page_is_marked_once_and_keeps_its_text(tmp_path):
    page = tmp_path / "index.html"
    results_directory.mark_page(page, "now")
    assert not page.exists()
    page.write_text(PAGE)
    for _ in range(2):
        results_directory.mark_page(page, "2026-11-30 18:00:00")
    text = page.read_text()
    assert text.count(STALE) == 1 and "2026-11-30 18:00:00" in text and "<p>x</p>\n</body>" in text


def full(number=errno.ENOSPC):
    def fails(*_):
        raise OSError(number, os.strerror(number))
    return fails


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_file_is_whole_or_as_before_on_a_full_disk(tmp_path, monkeypatch, number):
    path = tmp_path / "grades.csv"
    write_whole(path, "old")
    monkeypatch.setattr("os.fsync", full(number))
    with pytest.raises(OSError) as told:
        write_whole(path, "new")
    assert told.value.filename == str(path) and path.read_text() == "old" and os.listdir(tmp_path) == ["grades.csv"]
    text = str(UserError.of_results(told.value, tmp_path))
    assert "grades.csv" in text and os.strerror(number) in text and "run the same command again" in text and "\n" not in text


def test_a_full_disk_is_no_fault_of_a_submission(tmp_path, monkeypatch):
    """It would be noted as a submission that cannot be taken in, and get no points."""
    put(tmp_path / "in", "ada")
    submissions, _ = intake.list_submissions(tmp_path / "in")
    lab, out = labs.find("05"), tmp_path / "out"

    def fails(directory, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory / "sysv_create.c"))
    monkeypatch.setattr(intake, "write_only", fails)
    with pytest.raises(OSError, match="No space left"):
        cohort.take_in(submissions, [lab], out, cohort.Grader("host", "cc", False, 1))


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("unshare"), reason="it mounts a small disk of its own")
@pytest.mark.parametrize("kilobytes", [8, 64, 104])
def test_a_full_disk_is_told_in_one_line_and_the_run_goes_on_when_there_is_space(tmp_path, kilobytes):
    """At 8 KiB nothing fits, at the other sizes more and more of the outcomes and pages."""
    source, out = tmp_path / "in", tmp_path / "out"
    for name in "ada", "ben":
        put(source, name, origin=labs.LABS if name == "ben" else labs.SOLUTIONS)
    out.mkdir()
    script = (f"mount -t tmpfs -o size={kilobytes}k none {out} && {{ \"$@\"; echo $? >{tmp_path}/first; "
              f"mount -o remount,size=8m {out}; \"$@\" >{tmp_path}/second; cp -r {out} {tmp_path}/copy; }}")
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *command(source, out, "--lab", "05")], cwd="/", text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, timeout=200)
    wrong = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (tmp_path / "first").read_text() == "2\n" and len(wrong) == 1 and "No space left on device" in wrong[0], done.stderr
    assert "Traceback" not in done.stderr and str(out) in wrong[0]
    ada, ben = results(tmp_path / "copy")["students"]
    assert (ada["score"], ben["score"]) == (10, 0) and not ada["notes"]
    assert not [name for name in everything(tmp_path / "copy") if "/." in name and not name.endswith(results_directory.MARK)]


@pytest.mark.parametrize("name", ["a b", "it's", 'a "quoted" one', "$HOME `id` $(id)", "[a-z]*?", "-x", "ü\u202e", "a\nb", "%s{0}", "#;&|"])
def test_out_may_have_any_name(tmp_path, name):
    put(tmp_path / "in", "ada")
    out = tmp_path / name
    done = grade(tmp_path / "in", out, "--lab", "05")
    assert done.returncode == 0 and results(out)["students"][0]["score"] == 10, done.stderr
    assert str(tmp_path) not in (out / "students" / "ada" / "report.html").read_text()
    out.joinpath("results.json").unlink()
    out.joinpath("results.json").mkdir()
    began = time.monotonic()
    done = grade(tmp_path / "in", out, "--lab", "05")
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: cannot write ") and time.monotonic() - began < 60

"""Repositories are collected as they were at a time. Nothing in them runs, and what is wrong with one is its student's note."""
import csv
import json
import os
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest
from grading import grade, results
from test_results_directory import everything

from shmlab import labs
from shmlab.course import collect, intake
from shmlab.course.collect import MARK, Repository
from shmlab.labs import UserError

LAB = labs.find("05")
RIGHT = (labs.SOLUTIONS / LAB.name / "sysv_create.c").read_text()
BY = "2026-03-10 12:00+00:00"


def git(directory, *words, when="2026-03-01T12:00:00+00:00", **environment):
    own = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when, "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": str(directory),
           **{f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in (("NAME", "Ada"), ("EMAIL", "ada@x"))}}
    done = subprocess.run(["git", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", *words], cwd=directory,
                          env={**os.environ, **own, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(directory, files, when="2026-03-01T12:00:00+00:00"):
    """Adds a commit with these files; a text that begins with "->" is where a symbolic link leads."""
    if not (directory / ".git").exists():
        directory.mkdir(parents=True, exist_ok=True)
        git(directory, "init", "-q")
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(content[2:]) if content.startswith("->") else path.write_text(content)
    git(directory, "add", "-A", "-f")
    git(directory, "commit", "-q", "-m", "work", when=when)
    return git(directory, "rev-parse", "HEAD")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Collects repositories; `list` has the lines of the list."""
    monkeypatch.chdir(tmp_path)

    def run(lines, by=BY, out="out"):
        Path("list.csv").write_text("student,url,branch\n" + "".join(f"{line}\n" for line in lines))
        return collect.main(Path("list.csv"), by, Path(out), 2)

    return run


def url(name):
    return (Path.cwd() / name).as_uri()


def times():
    return dict(list(csv.reader(Path("out/times.csv").open(newline="")))[1:])


@pytest.mark.parametrize("last, text", [("12:00:59", "2"), ("12:01:00", "1")])
def test_the_last_commit_before_the_time_counts(course, last, text):
    commit(Path("ada"), {"a.c": "0", "gone.c": "x"}, "2026-03-01T12:00:00+00:00")
    (Path("ada") / "gone.c").unlink()
    commit(Path("ada"), {"a.c": "1"}, "2026-03-10T11:00:00+01:00")
    commit(Path("ada"), {"a.c": "2"}, f"2026-03-10T{last}+00:00")
    commit(Path("ada"), {"a.c": "3"}, "2026-03-11T12:00:00+00:00")
    assert course([f"ada,{url('ada')}"]) == 0
    assert {path.name for path in Path("out/ada").iterdir()} == {"a.c"} and Path("out/ada/a.c").read_text() == text
    when = {"2": "2026-03-10 12:00:59+00:00", "1": "2026-03-10 10:00:00+00:00"}[text]
    assert times() == {"ada": when} and Path("out/ada/a.c").stat().st_mtime == datetime.fromisoformat(when).timestamp()


def test_a_branch_and_its_own_commits(course):
    commit(Path("ada"), {"a.c": "main"})
    git(Path("ada"), "checkout", "-q", "-b", "work/two")
    commit(Path("ada"), {"a.c": "branch"}, "2026-03-08T12:00:00+00:00")
    git(Path("ada"), "checkout", "-q", "main")
    commit(Path("ada"), {"b.c": "b"}, "2026-03-02T12:00:00+00:00")
    git(Path("ada"), "merge", "-q", "-m", "late", "work/two", when="2026-03-12T12:00:00+00:00")
    assert course([f"ada,{url('ada')}", f"ben,{url('ada')},work/two", f"cem,{url('ada')},nowhere"]) == 1
    assert {path.name for path in Path("out/ada").iterdir()} == {"a.c", "b.c"}
    assert Path("out/ada/a.c").read_text() == "main", "it was merged after the deadline"
    assert Path("out/ben/a.c").read_text() == "branch" and list(Path("out/cem").iterdir()) == []


def test_nothing_of_a_repository_runs_and_no_link_is_followed(course, tmp_path):
    commit(Path("lib"), {"x.c": "x"})
    repository = Path("ada")
    commit(repository, {"a.c": "$Id$ line\n", "link.c": "->/etc/passwd",
                        ".gitattributes": "*.c ident eol=crlf filter=bad\nb.c export-ignore\n", "b.c": "b", "labs/deep.c": "d"})
    git(repository, "submodule", "--quiet", "add", url("lib"), "sub")
    commit(repository, {"a/b/c/d/e/f/g/h/i/j.c": "x", "large.c": "x" * (collect.MAX_FILE + 1)}, "2026-03-02T12:00:00+00:00")
    for name in "post-checkout", "pre-push", "reference-transaction", "post-upload-pack":
        hook = repository / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        hook.chmod(0o755)
    git(repository, "config", "filter.bad.smudge", f"touch {tmp_path}/ran")
    git(repository, "config", "core.fsmonitor", f"touch {tmp_path}/ran")
    git(repository, "config", "uploadpack.packObjectsHook", f"touch {tmp_path}/ran")
    assert course([f"ada,{url('ada')}"]) == 0 and not Path("ran").exists()
    assert Path("out/ada/a.c").read_text() == "$Id$ line\n" and Path("out/ada/b.c").read_text() == "b"
    assert not [path for path in Path("out").rglob("*") if path.is_symlink()]
    notes = json.loads(Path("out", MARK).read_text())["students"]["ada"]["notes"]
    assert [note.split(":")[0] for note in sorted(notes)] == [
        "a/b/c/d/e/f/g/h/i/j.c is more than 8 directories deep", "large.c has more than 4 MiB", "link.c is a symbolic link",
        "sub is a submodule"]


def test_one_students_failure_is_that_students_note(course, capsys, monkeypatch):
    commit(Path("late"), {"a.c": "x"}, "2026-03-20T12:00:00+00:00")
    commit(Path("fine"), {"a.c": "x"})
    git(Path.cwd(), "init", "-q", "empty")
    assert course([f"late,{url('late')}", f"fine,{url('fine')}", f"empty,{url('empty')}", f"none,{url('nowhere-secret-token')}"]) == 1
    printed = capsys.readouterr().out
    for name, says in ("late", "the branch has no commit from before the deadline"), ("empty", "the branch has no commit"), \
            ("none", "does not appear to be a git repository"):
        assert f"{name}: the repository could not be collected: " in printed and says in printed
    assert "1 of 4 repositories collected" in printed and times() == {"fine": "2026-03-01 12:00:00+00:00"}
    found, ignored = intake.list_submissions(Path("out"))
    assert ignored == [] and [one.name for one in found] == ["empty", "fine", "late", "none"]
    assert found[1].notes == [] and "could not be collected" in found[3].notes[0]


def test_an_address_with_a_password_is_not_shown():
    with pytest.raises(collect._Refused) as told:
        collect._git(Path("/"), "ls-remote", "https://ada:secret@localhost:1/x.git")
    assert "secret" not in str(told.value) and "the address" in str(told.value)


def test_limits_on_time_and_size(course, monkeypatch, capsys):
    commit(Path("ada"), {f"{number}.c": os.urandom(40_000).hex() for number in range(20)})
    monkeypatch.setattr(collect, "PACK_BYTES", 100 << 10)
    assert course([f"ada,{url('ada')}"]) == 1 and "it has more than 0 MiB, or is damaged" in capsys.readouterr().out
    monkeypatch.setattr(collect, "PACK_BYTES", 256 << 20)
    monkeypatch.setattr(collect, "MAX_FILES", 7)
    assert course([f"ada,{url('ada')}"]) == 0 and len(list(Path("out/ada").iterdir())) == 7
    assert "more than 7 files" in capsys.readouterr().out
    with pytest.raises(collect._Refused, match="git took more than 0.3 s"):
        collect._git(Path("/"), "-c", "alias.wait=!sleep 30", "wait", seconds=0.3)


def test_collected_again(course, capsys):
    commit(Path("ada"), {"a.c": "1"})
    commit(Path("ben"), {"b.c": "1"})
    assert course([f"ada,{url('ada')}", f"ben,{url('ben')}"]) == 0
    commit(Path("ada"), {"a.c": "2"}, "2026-03-02T12:00:00+00:00")
    Path("ben").rename("moved")
    assert course([f"ada,{url('ada')}", f"ben,{url('ben')}"]) == 1
    assert Path("out/ada/a.c").read_text() == "2" and Path("out/ben/b.c").read_text() == "1", "nothing is lost"
    assert "the files that were collected before count" in json.loads(Path("out", MARK).read_text())["students"]["ben"]["notes"][0]
    assert course([f"ada,{url('ada')}"]) == 0 and "not in the list and stay: ben" in capsys.readouterr().err
    assert set(times()) == {"ada", "ben"} and not list(Path("out").glob(".collect-*"))


def test_nothing_foreign_is_touched(course):
    commit(Path("ada"), {"a.c": "1"})
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("mine")
    before = everything(Path("out"))
    with pytest.raises(UserError, match="it has 'thesis.txt', and no mark of `make collect`"):
        course([f"ada,{url('ada')}"])
    assert everything(Path("out")) == before
    course([f"ada,{url('ada')}"], out="other")
    Path("other/ben").mkdir()
    with pytest.raises(UserError, match="other has ben, which `make collect` did not write"):
        course([f"ben,{url('ada')}"], out="other")
    Path("other", MARK).write_text("?")
    with pytest.raises(UserError, match="is not as `make collect` wrote it"):
        course([f"ada,{url('ada')}"], out="other")


@pytest.mark.parametrize("line, says", [
    ("ada,ext::sh -c x", "line 2, url: this is not the address"), ("ada,--upload-pack=x", "allowed are https://…"),
    ("ada,http://x/y", "not the address"), ("ada,/etc", "not the address"), ("ada,", "not the address"),
    ("ada,git@-oX:", "not the address"),
    ("../x,https://x/y", "line 2, student: '../x' cannot be"), (".x,https://x/y", "cannot be"), (",https://x/y", "cannot be"),
    ("=1+1,https://x/y", "cannot be"), ("a\x1b[31m,https://x/y", "cannot be"), ("build,https://x/y", "cannot be"),
    ("ada_101_9001_labs.zip,https://x/y", "cannot be"), (f"{'x' * 201},https://x/y", "cannot be"),
    ("ada,https://x/y,--exec", "line 2, branch: '--exec' is not a branch"), ("ada,https://x/y,a..b", "is not a branch"),
    ("ada,https://x/y\nADA,https://x/z", "line 3, student: 'ADA' is on two lines, the first is list.csv, line 2"),
    ("", "there is no student in it")])
def test_a_wrong_list_is_told_in_one_line_and_nothing_is_collected(course, line, says):
    with pytest.raises(UserError) as told:
        course([line])
    assert says in str(told.value) and str(told.value).isprintable() and not Path("out").exists()


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-13-01", "2026-03-10 25:00", "\x1b"])
def test_a_wrong_time_is_told_in_one_line(text):
    with pytest.raises(UserError, match="is not a time: write BY='2026-11-20 23:59'") as told:
        collect.read_limit(text)
    assert str(told.value).isprintable()


def test_a_day_ends_at_its_end_and_a_minute_at_its_end():
    end = datetime(2026, 3, 11, tzinfo=timezone.utc).timestamp()
    assert collect.read_limit("2026-03-10 23:59+00:00") == collect.read_limit("2026-03-10 23:59:30Z") == end
    assert collect.read_limit("2026-03-10") == datetime(2026, 3, 11).timestamp()


def test_what_was_collected_is_graded_with_its_times(course, tmp_path):
    commit(Path("ada"), {f"labs/{LAB.name}/sysv_create.c": RIGHT}, "2026-03-02T12:00:00+00:00")
    assert course([f"ada,{url('ada')}", f"ben,{url('nowhere')}"]) == 1
    Path("course.ini").write_text("[course]\nlabs = 05\nlate per day = 10\ntime zone = UTC\ntimes = out/times.csv\n"
                                  "[due]\n05 = 2026-03-01\n")
    done = grade(tmp_path / "out", tmp_path / "results", "--course", str(tmp_path / "course.ini"))
    assert done.returncode == 0, done.stderr
    ada, ben = results(tmp_path / "results")["students"]
    assert (ada["score"], ada["labs"][LAB.name]["time_from"], ada["labs"][LAB.name]["days_late"]) == (9, "times.csv", 1)
    assert ben["score"] == 0 and "could not be collected" in ben["notes"][0]


def test_a_repository_is_one_line_of_the_list(tmp_path):
    (tmp_path / "list.csv").write_text("Student;URL;group\nAda Ü;git@example.org:course/ada.git;7\nben;ssh://git@example.org/ben;8\n")
    assert collect.read_list(tmp_path / "list.csv") == [Repository("Ada Ü", "git@example.org:course/ada.git", ""),
                                                        Repository("ben", "ssh://git@example.org/ben", "")]

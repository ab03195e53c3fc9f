"""Failures with the same cause have one number, the nearest cause stands first, and an error of ours is not the student's."""
import errno
import os
import re
import signal
import time
from pathlib import Path

import running
import pytest

from shmlab import labs
from shmlab.judging.require import CheckFailed
from shmlab.judging import causes, outcomes
from shmlab.judging.fixture import LabFixture
from shmlab.results import ERROR, FAILED, Outcome
from shmlab.sandbox import kernel, native
from shmlab.sandbox.build import Built

LAB = labs.find("05")
SOURCE = labs.SOLUTIONS / LAB.name / "sysv_create.c"


def failure(expected, *saw, calls=(), status=FAILED):
    return Outcome(LAB.name, "test_x", "A sentence.", 1, status, expected, list(saw), list(calls))


@pytest.mark.parametrize("one, other", [
    (failure("ends", "within 4 s it had not ended", "process 4 (x) waits"),
     failure("comes to its end", "within 0.5 s it did not", "process 25 (x) waits")),
    (failure("a line `rw-s`", "process 4: no mapping", "process 5: no mapping"),
     failure("a line `rw-s`", "process 25: no mapping")),
    (failure("exists", "/shmlab-0123abcd: mode 0600"), failure("exists", "/shmlab-ffff0000: mode 0600")),
    (failure("the program is finished", "a.c stopped at its TODO 2: map 8 bytes"),
     failure("the program is finished", "a.c stopped at its TODO 2: map 24 bytes")),
    (failure("exit status 0", "a was killed by SIGSEGV", calls=["a.c:9  shmat(3) = 0x7f00"]),
     failure("a text", "a was killed by SIGSEGV", calls=["a.c:9  shmat(3) = 0x7f99"])),
], ids=["hang", "processes", "names", "todo", "signal"])
def test_what_differs_from_run_to_run_makes_no_other_cause(one, other):
    found = causes.Causes()
    assert [found.add(one), found.add(other)] == [1, 1]


@pytest.mark.parametrize("one, other", [
    (failure("exists", "mode 0600"), failure("exists", "mode 0640")),
    (failure("the program is finished", "a.c stopped at its TODO 1: x"),
     failure("the program is finished", "a.c stopped at its TODO 2: x")),
    (failure("exit status 0", "a was killed by SIGSEGV", calls=["a.c:9  shmat(3)"]),
     failure("exit status 0", "a was killed by SIGSEGV", calls=["a.c:11  shmdt(3)"])),
], ids=["mode", "todo", "place"])
def test_another_cause_has_another_number(one, other):
    found = causes.Causes()
    assert [found.add(one), found.add(other)] == [1, 2]


def test_the_nearest_cause_stands_first():
    ordered = [failure("the program compiles", "no"), failure("the program is finished", "a.c stopped at its TODO 1: x"),
               failure("the sanitizers have nothing to report", "ERROR: x"),
               failure("exit status 0", "a was killed by SIGSEGV"),
               failure("a line `rw-s`", "no mapping"), failure("a ends", "within 4 s it had not ended"),
               failure("\"2\"", "\"1\""),
               failure("status 1", "mmap() failed (this check made it fail)"),
               failure("a line \"usage: …\"", "exit status 0"),
               failure("the check itself works", "EIO", status=ERROR)]
    found = causes.Causes()
    for outcome in ordered[::-1]:
        found.add(outcome)
    assert [group[0] for _, group in found.nearest_first()] == ordered


def test_a_compilers_error_is_shown_once_under_the_heading(tmp_path):
    (tmp_path / LAB.name).mkdir()
    (tmp_path / LAB.name / SOURCE.name).write_text(SOURCE.read_text().replace("int main(", "int main(nothing, "))
    output = running.check("05", tmp_path).output
    lines = output.splitlines()
    heading = next(number for number, line in enumerate(lines) if line.startswith("Lab 05"))
    assert "sysv_create.c does not compile" in lines[heading + 1] and output.count("does not compile") == 1
    assert output.count("FAIL") == len(LAB.checks()) and "expected  " not in output and len(lines) < 40, output


@pytest.mark.parametrize("program, says", [
    ((labs.HOSTILE / "fifo_for_a_file.c").read_text(), "is now a named pipe"),
    (SOURCE.read_text().replace("#include <errno.h>", "#include <errno.h>\n#include <stdio.h>")
     .replace("    if (shmdt(", "    remove(argv[1]);\n    if (shmdt(", 1), "which this check made, is gone"),
], ids=["pipe", "removed"])
def test_a_program_that_touches_what_the_check_made_is_told_what_was_seen(tmp_path, program, says):
    (tmp_path / LAB.name).mkdir()
    (tmp_path / LAB.name / SOURCE.name).write_text(program)
    checked = running.check("05", tmp_path)
    told = [check for check in checked.checks if check["expected"] == "the program does not change what the check created"]
    assert told and all(check["status"] == "failed" and says in check["saw"][0] for check in told), checked.output


@pytest.fixture
def fixture():
    made = LabFixture(LAB, labs.SOLUTIONS, "namespaces", "cc", False)
    yield made
    made.close()


@pytest.mark.parametrize("error", [
    OSError(errno.EIO, "Input/output error"), OSError(errno.ENOSPC, "No space left", "meeting_place"),
    PermissionError(errno.EACCES, "Permission denied", "/dev/shm/other"),
    FileNotFoundError(errno.ENOENT, "No such file", "4711/maps"),
], ids=lambda error: errno.errorcode[error.errno])
def test_an_error_of_the_check_alone_is_no_failure(fixture, error):
    fixture.run("sysv_create", fixture.file(), "hello").require_success()
    assert outcomes.seen_of(error, fixture) is None
    outcome = outcomes.error_of(failure(""), error)
    assert outcome.status == ERROR and "not your fault" in outcome.expected
    assert errno.errorcode[error.errno] in outcome.saw[0] and outcome.saw[-1].startswith("what to do: ")


def test_a_program_that_has_ended_is_told_so(fixture):
    program = fixture.start("sysv_create", fixture.file(), "hello")
    program.wait().require_success()
    with pytest.raises(CheckFailed) as met:
        program.maps()
    assert "is there while this check looks at it" in met.value.expected
    assert met.value.saw[0].endswith("has ended") and "sysv_create: exit status 0" in met.value.saw


def test_a_program_whose_recorder_waits_for_the_box_does_not_wait():
    """The queue for what recorders tell is short, and pid 1 may be kept from reading it."""
    made = LabFixture(labs.find("11"), labs.SOLUTIONS, "namespaces", "cc", False)
    pid_1 = int(Path(f"/proc/{made.box._keeper.pid}/task/{made.box._keeper.pid}/children").read_text())
    try:
        writers = [made._start(made._built("writer", reference=False), [made.name()], "writer", b"", 0o022, [], True) for _ in range(40)]
        made.settle(*writers)
        os.kill(pid_1, signal.SIGSTOP)
        for writer in writers:
            writer.close_input()
        end = time.monotonic() + 20
        while any(writer.state().phase == "runs" or writer.state().phase == "waits" and writer.blocked() for writer in writers):
            assert time.monotonic() < end, [(writer.state(), writer.blocked()) for writer in writers]
        waiting = [writer for writer in writers if writer.state().phase == "waits"]
        assert waiting, "the queue is not so short here"
        numbers = {int(made.box.read(f"/proc/{writer.pid}/syscall").split()[0]) for writer in waiting}
        assert {kernel.CALL_NAMES[os.uname().machine][number] for number in numbers} == {"sendto"}
        os.kill(pid_1, signal.SIGCONT)
        assert made.settle(*writers) == "ended"
    finally:
        os.kill(pid_1, signal.SIGCONT)
        made.close()


def test_what_the_box_cannot_execute_is_an_error(fixture, tmp_path):
    built = fixture._built("sysv_create", reference=False)
    broken = tmp_path / built.program
    broken.write_bytes(re.sub(rb"/lib(64)?/ld-", lambda found: b"\x01" * len(found.group()), built.path.read_bytes()))
    program = fixture._start(Built(built.program, broken, ""), [], "sysv_create", None, 0o022, [], True)
    assert program.wait().exit_status == outcomes.EXIT_EXEC
    error = outcomes.not_executed(fixture)
    assert error is not None and error.errno == errno.ENOENT and "could not execute sysv_create" in str(error)


def test_a_peer_that_the_box_cannot_execute_is_an_error(fixture, tmp_path, monkeypatch):
    """One of the harness's own programs: what the check requires of it then is not the student's affair."""
    peer = tmp_path / "peer"
    peer.write_bytes(native.peer_program().read_bytes())  # without the permission to execute
    monkeypatch.setattr(native, "peer_program", lambda: peer)
    with pytest.raises(CheckFailed):
        fixture.make_segment(fixture.ftok(fixture.file(), 83), b"hello")
    error = outcomes.not_executed(fixture)
    assert error is not None and error.errno == errno.EACCES and "could not execute peer" in str(error)


def test_an_exit_status_of_127_by_the_program_itself_is_its_own(fixture):
    run = fixture.run("sysv_create", fixture.file(), "hello", fail=("end", 1, 127))
    assert run.exit_status == 127 and outcomes.not_executed(fixture) is None

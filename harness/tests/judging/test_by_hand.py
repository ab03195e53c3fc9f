"""The commands after "by hand" do what they claim: they run in a shell, and show the ending, the call or the state that the
message is about."""
import re
import subprocess

import running
import pytest

from shmlab import gallery, labs
from shmlab.sandbox import box

EACH = 12  # every so many mistakes of a lab are tried; all with FULL=1

#: What a shell, a debugger or strace prints about a command that it cannot do.
CANNOT = re.compile(r"^(sh|/bin/sh): .*not found|No symbol|Can not force|undefined command|Undefined|syntax error|"
                    r"Invalid argument to|Function \".*\" not defined|Unterminated|^strace: (?!Process)", re.M)


def replayed(line):
    """Runs the command that replays a schedule, in the project. Returns what it printed, and its exit status."""
    done = subprocess.run(line, shell=True, cwd=labs.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.stdout + done.stderr, done.returncode


def run_by_hand(line, directory):
    """Runs the commands in an empty box with the sources of a directory. Returns what they printed, and a wait status for the
    program's own command; None if it did not end within five seconds."""
    with box.Box("namespaces") as inside:
        for path in directory.glob("*.[ch]"):
            inside.put(path.name, path.read_bytes())
        commands = re.sub(r"^cd \S+; ", "", line)
        commands = re.sub(r"; (ipcs -m|ls -l /dev/shm)$", r'; echo "ended with $?"; \1', commands)
        if "ended with" not in commands:
            commands += '; echo "ended with $?"'
        shell = inside.start(["/bin/sh", "-c", f"exec 2>&1\n{commands}"], address_mb=0, wall_ms=20000)
        ended = inside.wait(shell, 12 if "gdb" in line else 6)
        return bytes(shell.output[1]).decode("utf-8", "replace"), ended


def problem(check, directory):
    """Returns in what a check's line by hand does not show what the message claims; empty if it shows it."""
    line, saw = check["by_hand"], "\n".join(check["saw"])
    if line.startswith("make replay"):
        printed, status = replayed(line)
        shown = [seen for seen in check["saw"] if re.match(r"[A-Z]: exit status|[A-Z] was killed", seen)]
        printed = re.sub(r"/shmlab-[0-9a-f]{8}", "/NAME", re.sub(r"\s+", " ", printed))
        expected = re.sub(r"/shmlab-[0-9a-f]{8}", "/NAME", check["expected"])
        return "" if status and expected in printed and all(
            seen in printed for seen in shown) else f"it shows another end: {printed}"
    printed, ended = run_by_hand(line, directory)
    if CANNOT.search(printed):
        return f"it cannot be done: {CANNOT.search(printed).group()!r}"
    if "had not ended" in saw:
        return "it ends" if ended else ""
    if not ended:
        return "it does not end"
    if "-ex backtrace" in line:
        shown = re.search(r"received signal (SIG\w+)", printed)
        places = re.search(r"^#\d+ .* at \w+\.c:\d+", printed, re.M) and re.search(r"^\$1 = \(void \*\) 0x", printed, re.M)
        return "" if shown and shown.group(1) in saw and places else "it does not show where the program crashes"
    if "gdb" in line and not re.search(r"reakpoint 2(\.\d)?, |Catchpoint 1 \(call to syscall exit_group\)", printed):
        return "it does not stop where the check looked"
    if "gdb" in line:
        return ""
    if "strace" in line and "(INJECTED)" not in printed:
        return "no call fails"
    told = re.search(r"^\w+: exit status (\d+)$|^\w+ was killed by (SIG\w+)$", saw, re.M)
    if not told:
        return ""
    code = int(re.search(r"ended with (\d+)", printed).group(1))
    status = {139: "SIGSEGV", 135: "SIGBUS", 134: "SIGABRT", 136: "SIGFPE", 137: "SIGKILL"}.get(code, str(code))
    return "" if status == (told.group(1) or told.group(2)) else f"it ends with {status}, and not {told.group(0)}"


def mistakes():
    found = []
    for lab in labs.all_labs():
        mine = [mistake for mistake in gallery.mistakes() if mistake.lab == lab]
        found += [pytest.param(mistake, marks=[pytest.mark.full] if number % EACH else [], id=str(mistake))
                  for number, mistake in enumerate(mine)]
    return found


@pytest.mark.parametrize("mistake", mistakes())
def test_by_hand_shows_what_the_message_claims(mistake, tmp_path):
    submission = mistake.apply(tmp_path)
    checked = running.check(mistake.lab.number, submission)
    for name, check in checked.not_passed().items():
        if check["by_hand"]:
            wrong = problem(check, submission / mistake.lab.name)
            assert not wrong, f"{name}: {wrong}\n{check['saw']}\n{check['by_hand']}"


#: For each way to reproduce a failure, a mistake with such a message.
WAYS = [("03_anonymous_fork/private_mapping", "info proc mappings"), ("05_sysv_create/no_shmdt", "catch syscall exit_group"),
        ("05_sysv_create/shmdt_unchecked", "strace -f -e trace=shmdt"),
        ("09_posix_attach/compared_with_null", "strace -f -P /dev/shm/shmlab-")]


@pytest.mark.parametrize("name, way", WAYS, ids=[name for name, _ in WAYS])
def test_each_way_is_used(name, way, tmp_path):
    mistake = next(m for m in gallery.mistakes() if str(m) == name)
    submission = mistake.apply(tmp_path)
    failed = running.check(mistake.lab.number, submission).not_passed()
    found = [check for check in failed.values() if way in check["by_hand"]]
    assert found and problem(found[0], submission / mistake.lab.name) == "", failed
    if "catch" in way:  # the kernel's table while the program is stopped at its end: the segment is still attached
        assert re.search(r" 6 +1 *$", run_by_hand(found[0]["by_hand"], submission / mistake.lab.name)[0], re.M)


def test_a_crash_is_shown_with_its_line_and_address(tmp_path):
    lab = labs.find("05")
    source = tmp_path / lab.name / "sysv_create.c"
    source.parent.mkdir()
    text = (labs.SOLUTIONS / lab.name / source.name).read_text()
    source.write_text(text.replace("    if (argc != 3)", "    *(volatile char *)4 = 1;\n    if (argc != 3)"))
    line = text[:text.index("    if (argc != 3)")].count("\n") + 1
    for check in running.check("05", tmp_path).not_passed().values():
        printed, _ = run_by_hand(check["by_hand"], source.parent)
        assert problem(check, source.parent) == "" and f"sysv_create.c:{line}" in printed and "(void *) 0x4" in printed, printed
        break
    else:
        raise AssertionError("a program that crashes passes")


def test_a_failure_that_no_command_repeats_has_none(tmp_path):
    """The check fills the memory before the program's copy, which a shell cannot do."""
    mistake = next(m for m in gallery.mistakes() if str(m) == "05_sysv_create/relies_on_zero_bytes")
    failed = running.check("05", mistake.apply(tmp_path)).not_passed()
    assert failed["test_text"]["by_hand"] == "" and failed["test_text"]["saw"], failed


def test_gdb_shows_one_process_of_a_schedule(open_directory):
    """It waits with the process until the schedule gives it the turn: here while another takes what it has only copied."""
    mistake = next(mistake for mistake in gallery.mistakes() if str(mistake) == "13_shared_mutex/takes_off_later")
    directory = mistake.apply(open_directory)
    found = next(check["by_hand"] for check in running.check("13", directory).checks if "make replay" in check["by_hand"])
    texts = (directory / "13_shared_mutex" / "consumer.c").read_text().splitlines()
    line = 1 + next(i for i, text in enumerate(texts) if "pthread_mutex_unlock" in text and "pthread_mutex_lock" in texts[i + 1])
    words = ["break " + str(line), "continue", "print buffer->count", "continue", "quit"]
    done = subprocess.run(f"{found} GDB=B", shell=True, cwd=labs.ROOT, input="\n".join(words) + "\n", capture_output=True, text=True,
                          timeout=120)
    assert re.search(rf"Breakpoint 2, \w+ \(buffer=0x\w+\) at consumer\.c:{line}", done.stdout), done.stdout + done.stderr
    assert "exited normally" in done.stdout and re.search(r"^A: consumer /NAME 1 +\| B: consumer /NAME 1", done.stdout, re.M)


@pytest.mark.parametrize("words, says", [
    (("SCHEDULE=several.2/-", "GDB=x"), "GDB=x is not a process"), (("GDB=A",), "GDB=… needs a schedule"),
    (("SCHEDULE=several.2/-", "GDB=H"), "the processes that this schedule starts are A to B")])
def test_a_process_that_gdb_cannot_show_is_told_in_one_line(words, says):
    done = subprocess.run(["make", "-s", "replay", "LAB=13", "IN=solutions", *words], cwd=labs.ROOT, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    assert [says in line for line in (done.stdout + done.stderr).splitlines()].count(True) == 1, done.stdout + done.stderr


def test_more_processes_are_explored_by_hand_and_replayed():
    done = subprocess.run(["make", "-s", "explore", "LAB=08", "IN=solutions", "TIME=2"], cwd=labs.ROOT, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    commands = [line for line in done.stdout.splitlines() if line.startswith("taken_name.")]
    assert [line.count("posix_create") for line in commands] == [2, 3] and done.returncode == 0, done.stdout + done.stderr
    printed, status = replayed("make -s replay LAB=08 IN=solutions SCHEDULE=taken_name.2/-")
    assert status == 0 and "C: posix_create /NAME 100" in printed, printed

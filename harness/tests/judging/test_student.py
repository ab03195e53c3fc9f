"""What a student sees, from any directory and with any kind of file in place of a program: never a traceback."""
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

import running
import pytest

from shmlab import gallery, labs

LAB = labs.find("05")
SOURCE = labs.SOLUTIONS / LAB.name / "sysv_create.c"


def pytest_in(directory, *words, **options):
    return subprocess.run(running.pytest_command(*words), cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          **options)


@pytest.fixture
def mine(tmp_path):
    """A right submission of lab 05."""
    directory = tmp_path / LAB.name
    directory.mkdir()
    shutil.copy(SOURCE, directory)
    return directory


@pytest.mark.parametrize("directory, harness, submission", [
    (labs.ROOT, "harness", "solutions"), (labs.ROOT / "harness", ".", "../solutions"),
    (labs.ROOT / "harness", None, "../solutions"), (LAB.directory, "../../harness", "../../solutions"),
    (labs.ROOT, "harness", f"solutions/{LAB.name}"),
])
def test_from_any_directory(directory, harness, submission):
    done = pytest_in(directory, *([harness] if harness else []), "--lab", "05", "--submission", submission)
    assert done.returncode == 0 and "10 of 10 points" in done.stdout, done.stdout + done.stderr
    assert done.stdout.startswith("box: ")


def test_in_a_labs_directory_its_number_can_be_left_out():
    done = pytest_in(LAB.directory, "../../harness", "--submission", "../../solutions")
    assert "Lab 05" in done.stdout and "Lab 03" not in done.stdout and done.returncode == 0


@pytest.mark.parametrize("words, says", [
    (["--lab", "77"], "there is no lab '77'"), (["--lab", "05", "--submission", "nowhere"], "there is no directory 'nowhere'"),
    (["--lab", "05", "--submission", "docs-or-so/../harness"], "no directory"), (["--cc", "nocc"], "no compiler 'nocc'"),
    (["--tier", "cloud"], "there is no tier 'cloud'"), (["--jobs", "many"], "is not a number"),
])
def test_a_usage_error_is_one_line(words, says):
    done = pytest_in(labs.ROOT, "harness", *words)
    assert done.returncode == 4 and done.stdout.strip() == "", done.stdout
    assert len(done.stderr.strip().splitlines()) == 1 and says in done.stderr


def put_nothing(path):
    path.unlink()


def put_directory(path):
    path.unlink()
    path.mkdir()


def put_link(path):
    path.unlink()
    path.symlink_to(SOURCE)


def put_binary(path):
    path.write_bytes(open(sys.executable, "rb").read(50000))


def put_fifo(path):
    path.unlink()
    os.mkfifo(path)


def put_huge(path):
    with open(path, "r+b") as file:
        file.truncate(100 << 20)


def put_nonsense(path):
    path.write_text("this is not C\n")


def put_invalid_utf8_error(path):
    path.write_bytes(b"int main(void) { return \"\xff\xfe\"; } /* \xff */ int x = y\xc3;\n")


def put_no_main(path):
    path.write_text("static int x;\n")


def put_empty(path):
    path.write_text("")


@pytest.mark.parametrize("put, says", [
    (put_nothing, "is not there"), (put_directory, "is not a file"), (put_link, "is a symbolic link"),
    (put_binary, "is a binary file"), (put_fifo, "is not a file"), (put_huge, "has 100 MiB"), (put_nonsense, "does not compile"),
    (put_invalid_utf8_error, "does not compile"), (put_no_main, "does not compile"), (put_empty, "does not compile"),
], ids=lambda value: getattr(value, "__name__", "says")[4:])
def test_something_odd_in_place_of_the_program(mine, put, says):
    put(mine / SOURCE.name)
    checked = running.check("05", mine, timeout=60)
    assert checked.score == 0 and checked.maximum == 10 and checked.exit_status == 1
    assert says in checked.output and "Traceback" not in checked.output
    assert {check["status"] for check in checked.checks} == {"failed"}
    assert checked.output.count(says) == 1, "printed once for all checks"


@pytest.mark.parametrize("name, says", [
    ("main.c", "main.c is there: call it sysv_create.c"), ("Sysv_Create.c", "Sysv_Create.c is there: call it sysv_create.c"),
    ("sysv_create.cpp", "sysv_create.cpp is there: call it sysv_create.c"), ("sysv-create.c", "sysv-create.c is there: call"),
    ("sysv_create.c.txt", "sysv_create.c.txt is there: call it"), ("sysv_create (1).c", "sysv_create (1).c is there: call it"),
    ("src/sysv_create.c", "src/sysv_create.c is there: move it to 05_sysv_create/"), ("notes.txt", "put your program under"),
])
def test_a_file_with_another_name_is_mentioned(mine, name, says):
    (mine / name).parent.mkdir(exist_ok=True)
    (mine / SOURCE.name).rename(mine / name)
    checked = running.check("05", mine)
    assert checked.score == 0 and checked.output.count(says) == 1, checked.output


def test_a_file_with_another_name_beside_no_lab_is_mentioned(mine):
    (mine / SOURCE.name).rename(mine.parent / "main.c")
    mine.rmdir()
    done = pytest_in(labs.ROOT, "harness", "--lab", "05", "--submission", mine.parent)
    assert done.returncode == 4 and "but main.c is there: call it sysv_create.c" in done.stderr, done.stderr


@pytest.mark.parametrize("change", [
    lambda text: b"\xef\xbb\xbf" + text, lambda text: text.replace(b"\n", b"\r\n"), lambda text: text + b"/* \xff\xfe */",
    lambda text: text.rstrip(b"\n"),
], ids=["bom", "crlf", "invalid-utf8-comment", "no-newline-at-end"])
def test_harmless_oddities_are_accepted(mine, change):
    path = mine / SOURCE.name
    path.write_bytes(change(path.read_bytes()))
    checked = running.check("05", mine)
    assert checked.score == 10, checked.output


def test_solutions_and_harness_are_out_of_the_compilers_sight(mine):
    for word in f'#include "{SOURCE}"', '#include "/proc/self/environ"\n#include "/root/x"', \
            f'__asm__(".incbin \\"{labs.ROOT}/README.md\\"");':
        (mine / SOURCE.name).write_text(word + "\n")
        checked = running.check("05", mine)
        assert checked.score == 0 and "does not compile" in checked.output


def test_a_compiler_that_never_ends_is_stopped(mine, monkeypatch):
    (mine / SOURCE.name).write_text('#include "/dev/zero"\n')
    checked = running.check("05", mine, timeout=120)
    assert checked.score == 0 and ("did not finish" in checked.output or "does not compile" in checked.output)


def test_warnings_are_shown(mine):
    path = mine / SOURCE.name
    path.write_text(path.read_text().replace("int id = -1;", "int id = -1, never_used = 1;"))
    checked = running.check("05", mine)
    assert checked.score == 10 and "unused variable" in checked.output


def test_plain_text_without_a_terminal_and_colour_on_one(mine):
    (mine / SOURCE.name).unlink()
    done = pytest_in(labs.ROOT, "harness", "--lab", "05", "--submission", mine)
    assert "\x1b" not in done.stdout
    ours, theirs = pty.openpty()
    run = subprocess.Popen(running.pytest_command("harness", "--lab", "05", "--submission", str(mine)), cwd=labs.ROOT,
                           stdin=subprocess.DEVNULL, stdout=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # the terminal's other end is closed
        pass
    run.wait()
    os.close(ours)
    assert b"\x1b[31mFAIL" in shown
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = pytest_in(labs.ROOT, "harness", "--lab", "05", "--submission", mine, env=ascii_only)
    assert done.returncode == 1 and "FAIL" in done.stdout and done.stderr == ""


def test_a_failure_says_everything(mine):
    path = mine / SOURCE.name
    path.write_text(path.read_text().replace("    if (shmdt(memory) == -1)\n        give_up(id, \"shmdt\");\n", ""))
    output = running.check("05", mine).output
    for part in ("expected  nattch 0 just before the program ends", "/proc/sysvipc/shm: key 0x53", "nattch 1",
                 r"sysv_create\.c:71 +shmat\(0, NULL, 0\) = 0x|shmat\(\d+, NULL, 0\)", "read      shmdt(2)",
                 "by hand   cd ", "make hint LAB=05"):
        assert part in output or re.search(part, output), f"{part}\n{output}"


def test_a_failure_is_about_the_case_that_failed(tmp_path):
    """The check examines three runs after all of them have ended; the second is wrong."""
    name = "02_fork_copies"
    directory = shutil.copytree(labs.SOLUTIONS / name, tmp_path / name)
    path = directory / "fork_copies.c"
    path.write_text(path.read_text().replace("        execvp(program[0], program);\n",
                                             "        execvp(program[0], program);\n        _exit(0);\n"))
    output = running.check("02", tmp_path).output
    assert re.search(r"calls +.*execvp\(\"./no-such-program\"\) = -1 ENOENT\n.*_exit\(0\)", output, re.S), output


def test_a_hang_names_its_cause(tmp_path):
    """With pshared 0 in sem_init(), the message says where each process waits, and the likely reason."""
    name = "04_lost_update"
    path = shutil.copytree(labs.SOLUTIONS / name, tmp_path / name) / "lost_update.c"
    path.write_text(path.read_text().replace("sem_init(&shared->gate, 1, 0)", "sem_init(&shared->gate, 0, 0)"))
    done = pytest_in(labs.ROOT, "harness", "--lab", "04", "--submission", tmp_path, "-k", "test_gate")
    assert re.search(r"\(lost_update\) waits for a child to end\n.*only its own threads can wake it: ", done.stdout), done.stdout


def test_machines_can_read_the_outcome(mine, tmp_path):
    path = mine / SOURCE.name
    path.write_text(path.read_text().replace("IPC_CREAT | IPC_EXCL | MODE", "IPC_CREAT | MODE"))
    done = pytest_in(labs.ROOT, "harness", "--lab", "05", "--submission", mine, "--results", tmp_path / "r.json",
                     f"--junitxml={tmp_path / 'r.xml'}")
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["labs"] == {LAB.name: {"score": 9, "maximum": 10}} and done.returncode == 1
    suite = xml.parse(tmp_path / "r.xml").getroot()[0]
    assert suite.get("tests") == "9" and suite.get("failures") == "1" and suite.get("errors") == "0"
    points = [int(p.get("value")) for p in suite.iter("property") if p.get("name") == "score"]
    assert sum(points) == 9 and "Traceback" not in (tmp_path / "r.xml").read_text()


def test_one_check_can_be_picked(mine):
    done = pytest_in(labs.ROOT, "harness", "--lab", "05", "--submission", mine, "-k", "outlives")
    assert done.returncode == 0 and "1 of 1 points" in done.stdout
    done = pytest_in(labs.ROOT, "harness", "--lab", "05", "--submission", mine, "-k", "no_such_check")
    assert done.returncode == 5 and "no check matches" in done.stdout


@pytest.mark.parametrize("wait, says, doing", [
    ("sleep(60)", "within 4 s it had not ended", "sleeps in clock_nanosleep()"),
    ("sem_t gate; sem_init(&gate, 0, 0); sem_wait(&gate)", "none could wake another, it had not ended", "waits in futex()"),
], ids=["for-a-time", "for-ever"])
def test_a_program_that_hangs_is_said_to_hang(mine, wait, says, doing):
    path = mine / SOURCE.name
    path.write_text(path.read_text().replace("    if (argc != 3)", f"    {wait};\n    if (argc != 3)")
                    .replace("#include <errno.h>", "#include <errno.h>\n#include <semaphore.h>\n#include <unistd.h>"))
    done = pytest_in(labs.ROOT, "harness", "--lab", "05", "--submission", mine, "-k", "test_key")
    assert says in done.stdout and doing in done.stdout and done.returncode == 1


def test_printing_what_a_pass_prints_is_no_pass(mine):
    (mine / SOURCE.name).write_text('#include <stdio.h>\nint main(void) { puts("pass 10/10\\n10 of 10 points"); return 0; }\n')
    checked = running.check("05", mine)
    assert checked.score == 0


def make(*words, **options):
    return subprocess.run(["make", "-s", *words], cwd=labs.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          **options)


def test_make_builds_one_lab_and_checks_it():
    assert make("05").returncode == 0 and (labs.ROOT / "build/labs/05_sysv_create/sysv_create").exists()
    done = make("check", "LAB=05", "IN=solutions")
    assert done.returncode == 0 and "10 of 10" in done.stdout
    done = make("check", "LAB=05", "IN=labs")
    assert done.returncode != 0 and "TODO 1" in done.stdout


def test_make_hint_climbs_the_ladder(tmp_path):
    environment = {**os.environ, "SHMLAB_BUILD": str(tmp_path)}
    command = [sys.executable, "-m", "shmlab", "hint", "--lab", "5"]
    told = [subprocess.run(command, cwd=labs.ROOT / "harness", capture_output=True, text=True, env=environment).stdout
            for _ in range(len(LAB.hints()) + 1)]
    assert [text.split("\n")[0].split(":")[0] for text in told[:2]] == ["Lab 05, hint 1", "Lab 05, hint 2"]
    assert told[-1] == told[-2] and "last hint" in told[-1]


def hint(directory, *words):
    return subprocess.run([sys.executable, "-m", "shmlab", "hint", "--lab", "2", *words], cwd=labs.ROOT / "harness",
                          capture_output=True, text=True, env={**os.environ, "SHMLAB_BUILD": str(directory)}).stdout


def test_make_hint_goes_back(tmp_path):
    titles = [hint(tmp_path, *words).split(":")[0] for words in ([], [], [], ["--back"], ["--back"], ["--back"], [])]
    assert titles == [f"Lab 02, hint {number}" for number in (1, 2, 3, 2, 1, 1, 2)]


def test_make_hint_begins_at_the_rung_that_fits_the_failed_check(tmp_path):
    """Each mistake of lab 02 fails one check; the hint that fits it is next. Later hints follow in their order."""
    for name, first in (("signed_status", "hint 4: how the child ended"), ("private_for_shared", "hint 2: the mappings"),
                        ("no_path_search", "hint 3: executing another program")):
        mistake = next(m for m in gallery.mistakes() if str(m) == f"02_fork_copies/{name}")
        submission = mistake.apply(tmp_path / name)
        done = pytest_in(labs.ROOT, "harness", "--lab", "02", "--submission", submission, "--student",
                         env={**os.environ, "SHMLAB_BUILD": str(tmp_path)})
        assert done.returncode == 1
        assert hint(tmp_path).startswith(f"Lab 02, {first}\n(for the check that failed: "), name
    assert hint(tmp_path).startswith("Lab 02, hint 4:")
    assert hint(tmp_path, "--back").startswith("Lab 02, hint 3:")


def test_the_next_lab_is_named_after_full_points(tmp_path):
    environment = {**os.environ, "SHMLAB_BUILD": str(tmp_path)}
    words = ["harness", "--submission", "solutions", "--student", "--lab"]
    assert "next: lab 02, " in pytest_in(labs.ROOT, *words, "01", env=environment).stdout
    assert "next: lab 03, " in pytest_in(labs.ROOT, *words, "02", env=environment).stdout
    assert "next: lab 03, " in pytest_in(labs.ROOT, *words, "01", env=environment).stdout, "lab 02 is finished already"
    done = pytest_in(labs.ROOT, *words, "05", "-k", "test_key", env=environment)
    assert "next:" not in done.stdout or "05" in done.stdout


def test_several_labs_are_shown_in_brief_with_the_first_unfinished_one(tmp_path):
    """Lab 01 is finished, 02 is wrong, 03 is as it was handed out."""
    mistake = next(m for m in gallery.mistakes() if str(m) == "02_fork_copies/private_for_shared")
    submission = mistake.apply(tmp_path)
    shutil.copytree(labs.SOLUTIONS / "01_page_size", submission / "01_page_size")
    shutil.copytree(labs.LABS / "03_anonymous_fork", submission / "03_anonymous_fork")
    done = pytest_in(labs.ROOT, "harness", "--submission", submission, "--student", "--lab", "01 02 03",
                     env={**os.environ, "SHMLAB_BUILD": str(tmp_path / "build")})
    lines = done.stdout.splitlines()
    for number, state in ("01", "finished"), ("02", "begun"), ("03", "not begun"):
        assert [line for line in lines if line.startswith(f"  {number}  ") and line.endswith(f" {state}")], done.stdout
    assert [line for line in lines if line.startswith("Lab ")] == ["Lab 02  What fork copies and what it shares"], done.stdout
    assert done.stdout.count("expected") >= 1 and "TODO" not in done.stdout
    assert lines[-2].startswith("  1 of 3 labs, ") and lines[-1].startswith("  next: lab 02, "), done.stdout


@pytest.mark.parametrize("words", ["check 05", "check 5", "check lab=05", "check LAB=5"])
def test_a_lab_can_be_named_in_several_ways(words):
    said = make("-n", *words.split()).stdout
    assert re.search(r"--lab '0?5'", said) and "build/labs" not in said, said


@pytest.mark.parametrize("words, says", [("check 77", "there is no lab '77': write `make check LAB=05`"),
                                         ("hint sysv_create", "there is no lab 'sysv_create'"), ("check in=x", "write IN=x")])
def test_what_make_does_not_know_is_refused_in_one_line(words, says):
    done = make(*words.split())
    assert done.returncode == 2 and says in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stdout == ""


def test_make_help_lists_every_command():
    text = make("help").stdout
    for command in "demo", "test", "check", "watch", "hint", "doctor", "clean-ipc", "help":
        assert f"make {command}" in text


def test_doctor_tells_the_tier():
    done = make("doctor")
    assert done.returncode == 0 and "box: " in done.stdout


def test_watch_checks_again_at_every_save(mine):
    command = [sys.executable, "-u", "-m", "shmlab", "watch", "--lab", "05", "--in", str(mine)]
    run = subprocess.Popen(command, cwd=labs.ROOT / "harness", stdout=subprocess.PIPE, text=True)

    def until(word):
        for line in run.stdout:
            if word in line:
                return
        raise AssertionError(f"it ended before it printed {word}")

    try:
        until("10 of 10 points")
        until("watching")
        (mine / SOURCE.name).write_text((labs.LABS / LAB.name / SOURCE.name).read_text())
        until("0 of 10 points")
        until("watching")
    finally:
        run.terminate()
        assert run.wait(10) == 0


def test_watch_drops_the_run_if_a_file_is_saved_meanwhile(mine):
    right = SOURCE.read_text()
    (mine / SOURCE.name).write_text(right.replace("    if (argc != 3)", "    sleep(60);\n    if (argc != 3)")
                                    .replace("#include <errno.h>", "#include <errno.h>\n#include <unistd.h>"))
    command = [sys.executable, "-u", "-m", "shmlab", "watch", "--lab", "05", "--in", str(mine)]
    run = subprocess.Popen(command, cwd=labs.ROOT / "harness", stdout=subprocess.PIPE, text=True)
    seen = []
    try:
        for line in run.stdout:
            seen.append(line)
            if line.startswith("Lab 05") and len(seen) < 5:  # the first check of nine has ended
                (mine / SOURCE.name).write_text(right)
            if "points" in line:
                break
        assert "saved: checking again\n" in seen and "10 of 10 points" in seen[-1], "".join(seen)
    finally:
        run.terminate()
        assert run.wait(10) == 0


@pytest.mark.parametrize("name", ["03_anonymous_fork/private_mapping", "05_sysv_create/no_zero_byte", "09_posix_attach",
                                  "18_ring"])
def test_the_first_failure_fits_a_terminal_of_24_lines(name, tmp_path):
    mistake = next(m for m in gallery.mistakes() if str(m).startswith(name))
    done = pytest_in(labs.ROOT, "harness", "--lab", mistake.lab.number, "--submission", mistake.apply(tmp_path), "--short",
                     env={**os.environ, "COLUMNS": "80", "LINES": "24"})
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and len(lines) <= 22 and max(map(len, lines)) <= 80, done.stdout  # two are for `make watch`
    places = [done.stdout.index(word) for word in ("FAIL", "Fix this first: ", "expected", "but  ", "next ")]
    assert places == sorted(places), done.stdout


def test_ended_by_kill_the_host_tier_leaves_nothing(tmp_path):
    lab = labs.find("08")
    (tmp_path / lab.name).mkdir()
    source = (labs.SOLUTIONS / lab.name / "posix_create.c").read_text()
    (tmp_path / lab.name / "posix_create.c").write_text(source.replace("/* TODO 2:", "for (;;) pause(); /* TODO 2:"))
    command = running.pytest_command(str(labs.ROOT / "harness"), "--submission", str(tmp_path), "--lab", "08", "--tier", "host")
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 120  # other tests may have the machine's own IPC

    def made():
        """Returns the objects that programs of this run made: other runs on this machine make objects, too."""
        listed = subprocess.run(["ps", "-ewwo", "pid=,ppid=,args="], capture_output=True, text=True).stdout.splitlines()
        table = {int(pid): (int(parent), words) for pid, parent, words in (line.split(None, 2) for line in listed)}
        found = []
        for pid, (parent, words) in table.items():
            while parent in table and parent != run.pid:
                parent = table[parent][0]
            if parent == run.pid:
                found += re.findall(r"posix_create /(shmlab-\w+)", words)
        return [name for name in found if os.path.exists(f"/dev/shm/{name}")]

    try:
        there = made()
        while not there and run.poll() is None and time.monotonic() < end:
            there = made()  # it is there for a moment: a program that pauses for ever is seen to hang at once
        run.send_signal(signal.SIGTERM)
        said, _ = run.communicate(timeout=30)
    finally:
        run.kill()
        run.wait()
    assert there and run.returncode == 2, said
    assert not [name for name in there if os.path.exists(f"/dev/shm/{name}")], said
    assert "Traceback" not in said


def test_clean_ipc_removes_only_what_the_labs_left(tmp_path):
    import ctypes

    from shmlab.sandbox import kernel, native

    key = 0x53ABCDEF
    made = [subprocess.run([native.peer_program(), "make", hex(k), "10", "0600"], stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, check=True).stdout for k in (key, 0x54ABCDEF)]
    names = [f"/dev/shm/shmlab-clean-{os.getpid()}", f"/dev/shm/other-{os.getpid()}"]
    for name in names:
        open(name, "w").close()
    try:
        done = subprocess.run([sys.executable, "-m", "shmlab", "clean-ipc"], cwd=labs.ROOT / "harness", capture_output=True,
                              text=True)
        assert done.returncode == 0 and "0x53abcdef" in done.stdout and names[0][8:] in done.stdout
        with open("/proc/sysvipc/shm", "rb") as file:
            keys = {segment.key for segment in kernel.parse_segments(file.read())}
        assert key not in keys and 0x54ABCDEF in keys
        assert [os.path.exists(name) for name in names] == [False, True]
    finally:
        ctypes.CDLL(None).shmctl(int(made[1]), 0, None)
        os.unlink(names[1])

"""The box: each of its guarantees, with an attempt to break it."""
import errno
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shmlab.sandbox import box as boxes
from shmlab import labs
from shmlab.sandbox import kernel, native
from shmlab import LabFixture
from shmlab.judging.require import CheckFailed
from shmlab.sandbox.box import Box, BoxRefused


def run(box, *words, timeout=10, stdin=None, **options):
    started = box.start(list(words), stdin=stdin, **options)
    assert box.wait(started, timeout)
    return started


def shell(box, script, **options):
    return run(box, "sh", "-c", script, **options)


def out(started):
    return bytes(started.output[1]).decode()


@pytest.fixture
def inside():
    with Box("namespaces") as box:
        yield box


def test_six_namespaces_of_its_own(inside):
    for kind in "user", "pid", "ipc", "mnt", "net", "uts":
        assert out(shell(inside, f"readlink /proc/self/ns/{kind}")).strip() != os.readlink(f"/proc/self/ns/{kind}"), kind


def test_no_privilege_and_the_right_uid(inside):
    status = out(shell(inside, "cat /proc/self/status"))
    for line in "CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb":
        assert f"{line}:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    uid = int(out(shell(inside, "id -u")))
    assert uid == (os.getuid() or inside.uid) and uid != 0


REFUSED = [
    "touch /x", "touch /etc/x", "touch /usr/x", "mount -t tmpfs none /mnt", "mount -o remount,rw /", "unshare -U true",
    "echo 1 > /proc/sys/kernel/shmmni", "kill -9 1 && kill -0 $$ && false", "hostname x; test \"$(hostname)\" = x", "chroot / true",
    "cat /proc/1/environ", "ls /proc/1/fd", "mknod /tmp/m b 8 0", f"cat {labs.ROOT}/README.md",
    f"ls {labs.SOLUTIONS}/05_sysv_create", f"cat {labs.ROOT}/harness/conftest.py", "ls /run/systemd", "touch /run/x",
    "echo 0 > /proc/sys/kernel/sem", "echo 1 > /proc/sys/kernel/ns_last_pid", "mount -o remount,rw /proc/sys", "umount /proc/sys",
    "mv /tmp/lab /tmp/x", "mv /run/shmlab /run/x", "rmdir /tmp/lab", "taskset -p 1 1",
    "python3 -S -c 'import fcntl; fcntl.fcntl(open(\"f\", \"w\"), fcntl.F_SETLEASE, fcntl.F_WRLCK)'",
]


@pytest.mark.parametrize("attempt", REFUSED)
def test_refused(inside, attempt):
    assert shell(inside, attempt).status != 0
    assert out(shell(inside, "echo alive")) == "alive\n"


def test_programs_see_only_each_other(inside):
    assert out(shell(inside, "ls /dev/shm; ls -d /proc/[0-9]* | wc -l")).split() in (["3"], ["4"])
    assert "lo" not in out(shell(inside, "grep -v : /proc/net/route; cat /proc/net/tcp | grep -c lo"))


def test_no_descriptor_is_inherited(inside):
    fd = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        assert out(run(inside, "ls", "/proc/self/fd")).split() == ["0", "1", "2", "3"]  # 3: the directory being listed
    finally:
        os.close(fd)


def test_shared_memory_is_private_and_has_a_size(inside):
    name = f"shmlab-test-{os.getpid()}"
    started = shell(inside, f"head -c 200000000 /dev/zero > /dev/shm/{name}")
    assert started.status != 0 and b"No space left" in started.output[2]
    assert inside.objects()[0].size <= 64 << 20
    assert not os.path.exists(f"/dev/shm/{name}")


def test_limits_of_the_kernel_can_be_set_for_the_box_alone(inside):
    before = Path("/proc/sys/kernel/shmmni").read_text()
    inside.set_sysctl("kernel/shmmni", 0)
    inside.put("peer", native.peer_program().read_bytes(), 0o755)
    started = run(inside, "./peer", "make", "7", "100", "0600")
    assert b"No space left on device" in started.output[2]
    assert Path("/proc/sys/kernel/shmmni").read_text() == before


def test_an_emptied_box_is_as_a_new_one(inside):
    """Programs of an ordinary user have the uid of pid 1, and can change the modes of its directories."""
    directories = [inside.work_fd, inside.run_fd, inside.shm_fd, tmp := inside.open("/tmp")]
    before = [os.fstat(directory).st_mode for directory in directories]
    shell(inside, "touch a /tmp/lab/.b; chmod 0 /dev/shm /run/shmlab /tmp/lab /tmp; command -v setfacl && "
          "setfacl -d -m o::rwx /dev/shm")
    assert inside.reset()
    assert [os.fstat(directory).st_mode for directory in directories] == before
    os.close(tmp)
    assert out(shell(inside, "umask 022; touch a; echo > /dev/shm/b; ls -A; stat -c %a /dev/shm/b")).split() == ["a", "644"]
    assert inside.reset()
    for change in "mkdir x", "mkdir /tmp/x", "touch /tmp/.x", "rm /run/shmlab/stops", "cd /run/shmlab; mv stops x; touch stops":
        with Box("namespaces") as box:
            assert shell(box, change).status == 0 and not box.reset(), change


def test_the_programs_of_a_failed_check_are_ended_at_once_and_their_output_is_read():
    seconds = []
    for _ in range(5):  # the least of them: other processes keep the processors busy
        bench = LabFixture(labs.find("05"), labs.LABS, "namespaces", "cc", False)
        program = bench.start("sysv_create", bench.file(), "hello", stop_at="end")
        with pytest.raises(CheckFailed):
            program.wait_stopped()
        began = time.monotonic()
        bench.stop()
        seconds.append(time.monotonic() - began)
        assert b"TODO 1" in program.started.output[2]
        bench.close()
    assert min(seconds) < 0.5, seconds


def test_a_box_is_used_again_after_a_check_that_has_passed():
    def bench():
        return LabFixture(labs.find("08"), labs.SOLUTIONS, "namespaces", "cc", False)

    LabFixture.close_spare()
    first = bench()
    box, name = first.box, first.name()
    first.run("posix_create", name, 1, "").require_success()
    assert first.object(name)
    first.close()
    second = bench()
    assert second.box is box and second.objects() == [] and second.read_calls() == []
    second.stop()  # as after a failed check
    second.close()
    third = bench()
    assert third.box is not box
    third.close()
    LabFixture.close_spare()


def test_reports_status_time_and_memory(tier):
    with Box(tier) as box:
        assert os.WEXITSTATUS(shell(box, "exit 3").status) == 3
        assert os.WTERMSIG(shell(box, "kill -SEGV $$").status) == signal.SIGSEGV
        busy = run(box, sys.executable, "-S", "-c", "x = bytearray(50 << 20)\nwhile __import__('time').process_time() < .2: pass")
        assert busy.cpu >= 0.2 and busy.wall >= 0.2 and 50 << 10 < busy.peak_kib < 200 << 10


def test_reports_what_is_left(tier):
    with Box(tier) as box:
        box.put("peer", native.peer_program().read_bytes(), 0o755)
        name = f"shmlab-left-{os.getpid()}"
        box.claimed = lambda: {"/" + name}
        made = run(box, "./peer", "make", hex(0x53000000 + os.getpid()), "100", "0600")
        shell(box, f"echo hello > /dev/shm/{name}; sleep 1000 & ")
        (segment,) = box.segments()
        assert segment.shmid == int(out(made)) and segment.size == 100
        assert [item.name for item in box.objects()] == ["/" + name]
        # The orphan may not have executed `sleep` yet.
        assert [process.command in ("sleep", "sh") for process in box.processes()] == [True]
        if shutil.which("ipcmk"):
            run(box, "ipcmk", "-S", "1", "-Q")
            assert len(box.contents().semaphores) == 1 and len(box.contents().queues) == 1
        box.clean()
        assert box.contents() == boxes.Contents()
        assert out(shell(box, "echo goes on")) == "goes on\n"


def test_host_tier_removes_only_what_the_run_made():
    other = Path(f"/dev/shm/shmlab-other-{os.getpid()}")
    with Box("host") as box:
        mine = f"shmlab-mine-{os.getpid()}"
        box.claimed = lambda: {"/" + mine}
        shell(box, f"echo x > /dev/shm/{mine}; setsid sleep 1005 & setsid sleep 1006 &")
        other.write_text("somebody else's, made while the box was open")
        assert box.objects() and [item.name for item in box.objects()] == ["/" + mine]
    assert other.read_text() and not os.path.exists(f"/dev/shm/{mine}")
    other.unlink()
    left = subprocess.run(["pgrep", "-f", "^sleep 100[56]$"], capture_output=True, text=True).stdout
    assert left == ""


def test_a_check_in_the_host_tier_leaves_nothing_on_the_machine():
    bench = LabFixture(labs.find("08"), labs.SOLUTIONS, "host", "cc", False)
    name, uid = bench.name(), bench.box.uid
    bench.file()
    segment = bench.make_segment(bench.ftok("meeting_place", 83), b"hello")
    bench.make_object(bench.name(), b"hello")
    bench.start("posix_create", name, 100, "x", stop_at="mmap").wait_stopped()
    assert os.path.exists("/dev/shm" + name) and bench.segments() == [segment]
    scratch = bench.box.work
    bench.close()
    left = [segment for segment in kernel.parse_segments(Path("/proc/sysvipc/shm").read_bytes()) if segment.uid == uid]
    assert not os.path.exists("/dev/shm" + name) and not os.path.exists(scratch)
    assert os.getuid() != 0 or left == []
    assert segment.shmid not in [item.shmid for item in left]


def test_the_number_of_descriptors_is_limited(tier):
    script = "import os\ntry:\n    while True: last = os.dup(0)\nexcept OSError as error: print(last, error.errno)"
    with Box(tier) as box:
        for limits, most in ({}, 256), ({"files": 5}, 5):
            started = run(box, sys.executable, "-S", "-c", script, **limits)
            assert out(started) == f"{most - 1} {errno.EMFILE}\n"


def test_wall_time_is_limited(tier):
    with Box(tier) as box:
        began = time.monotonic()
        started = shell(box, "sleep 100", wall_ms=200)
        assert started.timed_out and os.WTERMSIG(started.status) == signal.SIGKILL and time.monotonic() - began < 3


def test_processor_time_is_limited(tier):
    with Box(tier) as box:
        started = shell(box, "while :; do :; done", cpu_s=1)
        assert os.WTERMSIG(started.status) in (signal.SIGXCPU, signal.SIGKILL) and started.cpu < 2.5


@pytest.mark.parametrize("script, limit", [
    ("import os\nwhile True: os.fork()", None),
    ("import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(100,)).start()", None),
    ("x = []\nwhile True: x.append(b'x' * (1 << 24))", None),
    ("import os\nf = os.memfd_create('x')\nwhile True: os.write(f, b'x' * (1 << 20))", None),
    ("import os, sys\nwhile True: os.write(1, b'x' * 4096)", "flooded"),
    ("f = open('big', 'wb')\nwhile True: f.write(b'x' * (1 << 20))", None),
], ids=["forks", "threads", "malloc", "memfd", "output", "file"])
def test_floods_are_contained(tier, script, limit):
    if tier == "host" and script.startswith("f = open"):
        pytest.skip("the host tier has no disk of its own: only the size of one file is limited there")
    began = time.monotonic()
    script = f"'{tier}'\n{script}"  # the other tier's may run at the same time
    with Box(tier, memory_mb=256) as box:
        started = run(box, sys.executable, "-S", "-c", script, timeout=20, wall_ms=3000, cpu_s=2)
        assert started.status != 0 and (not limit or getattr(started, limit))
    assert time.monotonic() - began < 15
    left = subprocess.run(["pgrep", "-cf", script[:20]], capture_output=True, text=True).stdout.strip()
    assert left in ("0", ""), left


def test_killing_the_harness_ends_everything():
    script = ("import sys; sys.path.insert(0, %r)\nfrom shmlab.sandbox.box import Box\nimport time\nb = Box('namespaces')\n"
              "b.start(['sleep', '4321'])\nprint('started', flush=True)\ntime.sleep(60)" % str(labs.ROOT / "harness"))
    harness = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert harness.stdout.readline() == b"started\n"
    harness.kill()
    harness.wait()
    end = time.monotonic() + 5
    while subprocess.run(["pgrep", "-f", "^sleep 4321$"], capture_output=True).stdout:
        assert time.monotonic() < end, "the program lives on"


def test_a_held_program_cannot_keep_its_output_from_being_read(tier):
    with Box(tier) as box:
        started = shell(box, "echo hello; sleep 1000 &")  # the orphan holds stdout open
        assert out(started) == "hello\n"


def test_strange_arguments_arrive_unchanged(tier):
    words = ["", " ", "a b", "ü", "\n", "-x", "*", "$(id)", "\udcff", "x" * 100000]
    with Box(tier) as box:
        started = run(box, sys.executable, "-S", "-c", "import sys; print(ascii(sys.argv[1:]))", *words)
        assert out(started) == ascii(words) + "\n"


def test_a_program_that_cannot_be_started(tier):
    with Box(tier) as box:
        started = run(box, "./not-there")
        assert os.WEXITSTATUS(started.status) == 127 and b"not-there" in started.output[2]


@pytest.mark.parametrize("words", [[], ["--tier"], ["--tier", "x", "--", "true"], ["--slot", "x", "--", "true"], ["--"]])
def test_wrong_usage_of_the_box(words):
    done = subprocess.run([native.box_program(), *words], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("usage: box")


def test_by_hand():
    done = subprocess.run([native.box_program(), "--", "sh", "-c", "echo out; exit 3"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "out\n") and done.stderr.startswith("box: exit status 3")


def test_a_refusal_names_the_step(monkeypatch):
    monkeypatch.setattr(boxes, "hidden_directories", lambda: ["/usr/bin/env"])
    with pytest.raises(BoxRefused, match="hide /usr/bin/env"):
        Box("namespaces")


#: Executes a program under a system-call filter that makes close_range and mount_setattr fail as on Linux 5.4.
OLDER_KERNEL = """#!{python}
import ctypes, os, struct, sys

class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]

# load the number; 436 or 442: go to the last line, else to the line before it
lines = [(0x20, 0, 0, 0), (0x15, 2, 0, 436), (0x15, 1, 0, 442), (0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, 0x50000 + {enosys})]
code = Filter(len(lines), b"".join(struct.pack("HBBI", *line) for line in lines))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(code), 0, 0) == 0  # no_new_privs, seccomp
os.execv("{program}", ["{program}", *sys.argv[1:]])
"""


def on_an_older_kernel(program, directory):
    """Writes a script that executes the program as on a kernel without the calls that the box does not depend on."""
    script = directory / "older_kernel"
    script.write_text(OLDER_KERNEL.format(python=sys.executable, enosys=errno.ENOSYS, program=program))
    script.chmod(0o755)
    return script


def test_an_older_kernel_makes_no_difference(inside, monkeypatch, tmp_path):
    """The mounts have the same flags, and the same attempts fail."""
    older = on_an_older_kernel(native.box_program(), tmp_path)
    monkeypatch.setattr(native, "box_program", lambda: older)
    with Box("namespaces") as box:
        calls = ("import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
                 "for call in 436, 442: print(libc.syscall(call, -1, 0, 0, 0, 0), ctypes.get_errno())")
        assert out(run(box, "python3", "-S", "-c", calls)).splitlines() == [f"-1 {errno.ENOSYS}"] * 2, "the filter works"
        flags = [dict(line.split()[4:6] for line in out(run(either, "cat", "/proc/self/mountinfo")).splitlines())
                 for either in (box, inside)]  # by mount point: a later mount covers an earlier one
        assert flags[0] == flags[1] and flags[0]["/"].startswith("ro,nosuid")
        attempts = "\n".join(f"( {attempt}\n) > /dev/null 2>&1 && echo {number}" for number, attempt in enumerate(REFUSED))
        succeeded = out(shell(box, f"{attempts}\necho end")).split()
        assert succeeded == ["end"], [REFUSED[int(number)] for number in succeeded[:-1]]


@pytest.mark.parametrize("older", [False, True], ids=["this_kernel", "older_kernel"])
def test_no_descriptor_is_inherited_by_hand(older, tmp_path):
    program = on_an_older_kernel(native.box_program(), tmp_path) if older else native.box_program()
    with open("/dev/null", "rb") as one, open("/dev/null", "rb") as other:
        done = subprocess.run([program, "--", "ls", "/proc/self/fd"], capture_output=True, text=True,
                              pass_fds=[one.fileno(), other.fileno()])
    assert done.stdout.split() == ["0", "1", "2", "3"]  # 3: the directory being listed


@pytest.mark.skipif(os.getuid() != 0, reason="as an ordinary user every other test here is this test")
@pytest.mark.parametrize("older", [False, True], ids=["this_kernel", "older_kernel"])
def test_as_an_ordinary_user(older, tmp_path):
    """The box works for a user without privileges, too."""
    program = tmp_path / "box"
    shutil.copy(native.box_program(), program)
    if older:
        program = on_an_older_kernel(program, tmp_path)
    for directory in [tmp_path, *tmp_path.parents]:
        if directory.stat().st_uid == 0 and str(directory).startswith("/tmp/"):
            directory.chmod(0o755)
    nobody = pwd.getpwnam("nobody")

    def become_nobody():
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)

    script = "id -u; grep -c '^Cap...:.0000000000000000' /proc/self/status; touch /etc/x; echo 1 > /dev/shm/a; exit 4"
    done = subprocess.run([program, "--", "sh", "-c", script], capture_output=True, text=True, cwd="/",
                          preexec_fn=become_nobody)
    assert done.returncode == 4 and done.stdout.split() == [str(nobody.pw_uid), "5"]
    assert "object 100644 2 4096" in done.stderr and not os.path.exists("/dev/shm/a")
    script = "\n".join(f"( {attempt}\n) > /dev/null 2>&1 && echo {number}" for number, attempt in enumerate(REFUSED))
    script += "\necho end"
    done = subprocess.run([program, "--hide", labs.ROOT, "--", "sh", "-c", script], capture_output=True, text=True, cwd="/",
                          preexec_fn=become_nobody)
    assert done.stdout == "end\n", [REFUSED[int(number)] for number in done.stdout.split()[:-1]]


def test_who_does_not_come_to_its_turn_gets_more_time(inside, monkeypatch):
    """Time in which other processes use the processors does not count towards a program's time limit."""
    turns, pump, granted = [], Box.pump, iter(())

    def counted(box, until, timeout, *rest, **more):
        turns.append(timeout)
        return pump(box, until, timeout, *rest, **more)

    monkeypatch.setattr(Box, "pump", counted)
    monkeypatch.setattr(boxes, "FIRST_LOOK_SECONDS", 60.0)  # no look before the time is over

    def waits(state, *cpu):
        """Returns how many time limits passed: one program sleeps, the other is in `state` with these processor times."""
        nonlocal granted
        turns.clear()
        looks, granted = iter(cpu), iter([True, True, True, False])
        inside.may_extend = lambda seconds: next(granted)
        monkeypatch.setattr(inside, "processes", lambda: [kernel.Process(2, 1, "S", 3.0, "one"),
                                                          kernel.Process(3, 1, state, next(looks), "other")])
        assert not inside.expect(lambda: False, 0.05)
        return len(turns)

    assert waits("S", 0.0) == 1, "it sleeps: one time limit"
    assert waits("R", 0.01, 0.02, 0.03, 0.04) == 4, "it hardly runs: extended as often as granted"
    assert waits("R", 0.05, 0.1) == 2, "it runs half of the time"
    assert waits("R", boxes.TURN_SECONDS) == 1, "it has had enough processor time"
    monkeypatch.undo()
    # The processor times come from the kernel, and a status that pid 1 reports only on request is seen.
    busy = inside.start(["sh", "-c", "while :; do :; done"])
    while next(process.cpu for process in inside.processes() if process.pid == busy.pid) < 0.1:
        pass
    inside.kill(busy.pid, signal.SIGKILL)
    assert inside.expect(lambda: busy.status == signal.SIGKILL, 5)


def test_an_executable_of_the_harness_is_out_of_the_programs_reach(inside):
    """All have the same uid, so a program may read other programs' /proc entries, but not those of the harness."""
    looks = ["cat /proc/{}/maps", "readlink /proc/{}/exe", "head -c 1 /proc/{}/environ"]
    other, ours = inside.start(["sleep", "60"]), inside.start(["sleep", "60"], image=Path(shutil.which("sleep")))
    for look in looks:
        seen, refused = shell(inside, look.format(other.pid)), shell(inside, look.format(ours.pid))
        assert seen.status == 0 and out(seen) != "" and refused.status != 0 and out(refused) == "", look


def test_who_stops_everybody_does_not_stop_pid_1_in_the_middle_of_a_start(inside):
    """Until it executes the program, the child shares its memory with pid 1, which waits for it."""
    stopper = inside.start(["sh", "-c", "while :; do kill -s STOP -- -1; done"])
    for _ in range(100):
        inside.start(["true"])
    inside.kill(stopper.pid, signal.SIGKILL)
    assert out(shell(inside, "echo all is well")) == "all is well\n"


ALARM = ("import signal, sys; signal.signal(signal.SIGALRM, lambda *_: sys.exit(7)); "
         "signal.setitimer(signal.ITIMER_REAL, 60); sys.stdin.read()")


def test_a_wait_is_over_when_nobody_is_left_who_could_wake_anybody(inside):
    """The kernel shows that such a process sleeps for ever, long before a time limit ends. Any other can wake up."""

    def is_stuck(*commands):
        programs = [inside.start(command, stdin=-1) for command in commands]
        inside.expect(lambda: any(program.status is not None for program in programs), 1.0)
        stuck, status = inside.stuck, programs[0].status
        inside.clean()
        return stuck, status

    assert is_stuck(["cat"]) == (True, None), "it reads, and no process can write"
    assert is_stuck(["sh", "-c", "cat; true"], ["cat"]) == (True, None), "a parent waits for its child as well"
    assert is_stuck(["sh", "-c", "kill -s STOP $$"]) == (True, None), "no process can continue it"
    assert is_stuck(["cat"], ["sleep", "60"]) == (False, None), "time wakes the other one"
    assert is_stuck(["cat"], ["sh", "-c", "while :; do :; done"]) == (False, None), "the other one is awake"
    assert is_stuck(["python3", "-c", ALARM.replace("60", "0.3")]) == (False, 7 << 8), "a timer wakes it"
    assert is_stuck(["python3", "-c", ALARM]) == (False, None), "a timer may wake it"


BECOMES_ANOTHER = """
import errno, os, subprocess, sys
fd = os.memfd_create("x")
os.write(fd, open("/usr/bin/true", "rb").read())
ways = [lambda: os.execv("/usr/bin/true", ["true"]), lambda: os.execve(fd, ["true"], {}), lambda: os.execv(f"/proc/self/fd/{fd}", ["true"]),
        lambda: subprocess.check_call(["/usr/bin/true"])]
for way in ways:
    pid = os.fork()
    if pid == 0:
        try:
            way()
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    print(os.WEXITSTATUS(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.parametrize("executes, statuses", [(True, {0}), (False, {errno.EACCES})])
def test_a_program_becomes_no_other_where_it_may_not(tier, executes, statuses):
    """Lab 02 asks for it; where there is a finished peer, a program could have that in itself."""
    with Box(tier, executes=executes) as box:
        program = box.start([os.path.realpath(shutil.which("python3", path="/usr/bin")), "-c", BECOMES_ANOTHER])
        assert box.wait(program, 20) and program.status == 0, bytes(program.output[2])
        assert {int(line) for line in program.output[1].split()} == statuses


LOCKS = "import fcntl, sys; fcntl.flock(open('/usr/bin/true'), fcntl.LOCK_EX); print('locked', flush=True); sys.stdin.read()"


def test_a_lock_on_a_file_of_the_machine_is_none_outside():
    """Where the kernel lets the box make overlays, which is so since Linux 5.11."""
    with Box("namespaces") as box, open("/usr/bin/true") as outside:
        program = box.start(["python3", "-c", LOCKS], stdin=-1)
        assert box.pump(lambda: bool(program.output[1]), 10) and program.output[1] == b"locked\n"
        fcntl.flock(outside, fcntl.LOCK_EX | fcntl.LOCK_NB)

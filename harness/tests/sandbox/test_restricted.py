"""Where namespaces are restricted: what the host tier promises there, each promise with an attempt to break it, and points."""
import errno
import json
import os
import pwd
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import running

from shmlab import LabFixture, gallery, labs
from shmlab.judging import outcomes
from shmlab.sandbox import apparmor, native, tiers
from shmlab.sandbox.box import SOCKETS, Box, HostLock

IMITATION = [sys.executable, str(Path(__file__).with_name("imitation.py"))]
as_root = pytest.mark.skipif("user" not in tiers.host_promises(), reason="only root can be root in a container")
with_landlock = pytest.mark.skipif("files" not in tiers.host_promises(), reason="this kernel has no Landlock")


def check(directory, *words, before=(), **options):
    """Runs checks in a process of its own, which `before` starts. Gives the checks and what was printed."""
    results = directory / "results.json"
    command = running.pytest_command(str(labs.ROOT / "harness"), "-p", "no:cacheprovider", "--jobs", "1",
                                     "--results", str(results))
    done = subprocess.run([*before, *command, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=labs.ROOT,
                          env={**os.environ, "TERM": "dumb"}, **options)
    assert results.exists(), done.stdout + done.stderr
    return running.Checked(done.stdout, done.returncode, json.loads(results.read_text()))


def numbers(*wanted):
    return [word for number in wanted for word in ("--lab", number)]


# ---- points -----------------------------------------------------------------------------------------------


@as_root
def test_root_in_a_container_gets_all_points(tmp_path):
    """Without CAP_SYS_PTRACE, on the machine's own IPC: the host_tier."""
    wanted = [lab.number for lab in labs.all_labs()] if running.FULL else ["04", "09", "15"]
    checked = check(tmp_path, "--submission", str(labs.SOLUTIONS), *numbers(*wanted), before=[*IMITATION, "docker"])
    assert "make namespaces: Operation not permitted" in checked.output
    assert not checked.not_passed() and checked.score == 10 * len(wanted), checked.output


@as_root
@pytest.mark.parametrize("number", ["05", "09", "15"])
def test_a_mistake_in_a_container_gets_the_same_verdict_host_tier(number, tmp_path):
    mistake = next(one for one in gallery.mistakes() if one.lab.number == number and not one.needs_private_ipc)
    checked = check(tmp_path, "--submission", str(mistake.apply(tmp_path)), *numbers(number), before=[*IMITATION, "docker"])
    assert set(checked.not_passed()) == set(mistake.caught_by), checked.output


@pytest.mark.parametrize("tier", ["namespaces", "host"])
def test_fake_root_is_an_ordinary_user(tier, tmp_path):
    if subprocess.run(["unshare", "-Ur", "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody make a user namespace")
    fake = ["unshare", "--user", "--map-root-user"]
    done = subprocess.run([*fake, native.box_program(), "--tier", tier, "--promises"], capture_output=True, text=True)
    assert done.returncode == 0 and "user" not in done.stdout.split()
    checked = check(tmp_path, "--submission", str(labs.SOLUTIONS), "--tier", tier, *numbers("05", "08", "13"), before=fake)
    assert not checked.not_passed() and checked.score == 30, checked.output


def test_limits_that_the_kernel_does_not_let_the_box_set(tmp_path):
    """Those faults are then injected, and nothing else changes."""
    (tmp_path / "refuse.c").write_text("""
        #include <errno.h>
        #include <string.h>
        int __real_openat(int directory, const char *path, int flags, int mode);
        int __wrap_openat(int directory, const char *path, int flags, int mode)
        {
            if (strncmp(path, "kernel/", 7) != 0)
                return __real_openat(directory, path, flags, mode);
            errno = EACCES;
            return -1;
        }""")
    box = tmp_path / "box"
    sources = [str(path) for path in (native.NATIVE / "box").glob("*.c")]
    subprocess.run([native.host_compiler(), "-std=gnu17", *sources, str(tmp_path / "refuse.c"), "-Wl,--wrap=openat", "-o", box],
                   check=True)
    script = tmp_path / "with_this_box.py"
    script.write_text(f"import sys, pytest\nsys.path.insert(0, {str(running.HARNESS)!r})\nfrom pathlib import Path\n"
                      f"from shmlab.sandbox import native\nnative.box_program = lambda: Path({str(box)!r})\n"
                      "sys.exit(pytest.main(sys.argv[4:]))\n")
    checked = check(tmp_path, "--submission", str(labs.SOLUTIONS), *numbers("05", "07"), before=[sys.executable, str(script)])
    assert "in its own user" in checked.output and not checked.not_passed() and checked.score == 20, checked.output
    LabFixture.close_spare()  # an earlier test's
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "box_program", lambda: box)
        fixture = LabFixture(labs.find("05"), labs.SOLUTIONS, "namespaces", "cc", False)
        assert fixture.private_ipc and not fixture.kernel_limits
        fixture.close()
    LabFixture.close_spare()
    with Box("namespaces") as inside:
        assert inside.can_set_limits == (subprocess.run([native.box_program(), "--", "true"]).returncode == 0)


@pytest.mark.xdist_group("host")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
def test_a_tiny_shared_memory_is_the_machines_fault_host_tier(tmp_path):
    """Some containers have a /dev/shm of 64 KiB: what does not fit is ERROR with a remedy, and the rest is judged."""
    tiny = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=64k,mode=1777 tiny /dev/shm && exec "$@"', "sh"]
    checked = check(tmp_path, "--submission", str(labs.SOLUTIONS), "--tier", "host", *numbers("08"), before=tiny)
    not_passed = checked.not_passed()
    assert not_passed and all(outcome["status"] == "error" for outcome in not_passed.values()), checked.output
    assert "ENOSPC: /dev/shm: only" in checked.output and "mount -o remount,size=64m /dev/shm" in checked.output
    assert checked.score == 8, "an object of 1000003 bytes does not fit, others do"


# ---- limits -----------------------------------------------------------------------------------------------


def ordinary_user(*limits):
    """For a new process: sets hard limits and becomes nobody."""
    nobody = pwd.getpwnam("nobody")

    def become():
        for kind, value in limits:
            resource.setrlimit(kind, (value, value))
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)

    return become


@pytest.fixture
def public():
    """A directory that every user may look into, with the box in it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        os.chmod(directory, 0o777)
        shutil.copy(native.box_program(), directory)
        yield Path(directory)


@pytest.mark.parametrize("tier", ["namespaces", "host"])
def test_hard_limits_are_kept_to(tier, public):
    limits = [(resource.RLIMIT_NPROC, 100), (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_FSIZE, 1 << 20),
              (resource.RLIMIT_AS, 1 << 30), (resource.RLIMIT_CPU, 7)]
    done = subprocess.run([public / "box", "--tier", tier, "--", "sh", "-c", "ulimit -Hn; ulimit -Hf; ulimit -Hv; ulimit -Ht"],
                          capture_output=True, text=True, cwd="/", preexec_fn=ordinary_user(*limits))
    assert done.returncode == 0 and done.stdout.split() == ["64", "2048", "1048576", "7"], done.stdout + done.stderr


def test_a_limit_that_is_too_low_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (64, 64) if kind == resource.RLIMIT_NOFILE else (-1, -1))
    told = outcomes.limit_behind(OSError(errno.EMFILE, "Too many open files"))
    assert "the limit here is 64 open files (ulimit -H -n)" in told and "\n" not in told
    assert not outcomes.limit_behind(OSError(errno.EFBIG, "")) and not outcomes.limit_behind(OSError(errno.EIO, ""))
    assert not outcomes.limit_behind(AssertionError())


@pytest.mark.parametrize("length, refused", [(100 << 20, errno.ENOMEM), (4 << 30, None)], ids=["100 MiB", "4 GiB"])
def test_a_call_that_a_limit_of_the_machine_refuses_is_no_fault_of_the_program(monkeypatch, length, refused):
    """Unless it asks for more than the box itself grants."""
    fixture = LabFixture(labs.find("01"), labs.SOLUTIONS, "namespaces", "cc", False)
    try:
        assert fixture.run("page_size", length, limits={"address_mb": 64}).exit_status == 1
        assert outcomes._limit_met(fixture) is None, "this machine has no such limit"
        monkeypatch.setattr(resource, "getrlimit", lambda kind: (64 << 20,) * 2 if kind == resource.RLIMIT_AS else (-1, -1))
        met = outcomes._limit_met(fixture)
        assert (met and met.errno) == refused
        assert not met or "the limit here is 67108864 bytes of memory" in outcomes.limit_behind(met)
    finally:
        monkeypatch.undo()
        fixture.close()


def test_the_lock_of_the_host_tier_cannot_be_taken_by_others(monkeypatch, tmp_path):
    """Another user may have made what has the lock's name, in a directory that all may write to."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(HostLock, "depth", 0)
    names = [f"shmlab-{os.getuid()}{end}.lock" for end in ("", "-1", "-2", "-3")]
    (tmp_path / names[0]).mkdir()
    (tmp_path / names[1]).symlink_to("/dev/null")
    os.mkfifo(tmp_path / names[2])
    if os.getuid() == 0:
        (tmp_path / names[3]).touch()
        os.chown(tmp_path / names[3], pwd.getpwnam("nobody").pw_uid, -1)
    HostLock.take()
    try:
        taken = os.readlink(f"/proc/self/fd/{HostLock.fd}")
        assert taken == str(tmp_path / f"shmlab-{os.getuid()}-{4 if os.getuid() == 0 else 3}.lock")
        assert os.fstat(HostLock.fd).st_mode & 0o777 == 0o600
    finally:
        HostLock.drop()


# ---- promises ---------------------------------------------------------------------------------------------

#: Attempts by promise. Each succeeds without the box, which the test tries first.
ATTEMPTS = {
    "files": ["cat {hidden}/solution.c", "ls {hidden}", "touch {other}/new", "echo x > {other}/file", "rm {other}/file",
              "mkdir {other}/directory", "ln {other}/file {other}/second", "mv {other}/file {other}/moved",
              "truncate -s 0 {other}/file", "touch {public}/new", "cat /proc/{victim}/environ",
              "cd /proc/self/root{hidden} && cat solution.c", "cp /bin/true {other}/program"],
    "network": ["python3 -S -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}))'",
                "python3 -S -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)'",
                "python3 -S -c 'import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)'"],
    "signals": ["kill -0 {victim}", "kill -STOP {victim}", "python3 -S -c 'import os, signal; "
                "signal.pidfd_send_signal(os.pidfd_open({victim}), 9)'"],
}


@pytest.mark.parametrize("own_user", [pytest.param(True, marks=as_root), False], ids=["own_user", "same_user"])
@pytest.mark.parametrize("promise, attempt", [(key, attempt) for key, attempts in ATTEMPTS.items() for attempt in attempts])
def test_promises_of_the_host_tier(promise, attempt, own_user, public):
    def prepare():
        for name in "hidden", "other":
            shutil.rmtree(public / name, ignore_errors=True)
            (public / name).mkdir()
            (public / name).chmod(0o777)
        for name in "hidden/solution.c", "other/file":
            (public / name).write_text("int main(void) { return 0; }\n")
            (public / name).chmod(0o666)
        (public / "other").chmod(0o777)

    as_user = {"preexec_fn": ordinary_user(), "cwd": "/", "capture_output": True, "text": True, "errors": "replace", "timeout": 20}
    for name in "work", "run":
        (public / name).mkdir()
        (public / name).chmod(0o777)
    box = [str(public / "box"), "--tier", "host", "--hide", str(public / "hidden"), "--work", str(public / "work"),
           "--run", str(public / "run")]
    promised = subprocess.run([*box, "--promises"], **as_user).stdout.split()
    if promise not in promised:
        pytest.skip(f"this kernel does not let the host tier promise: {promise}")
    trace = public / "new"
    with socket.create_server(("127.0.0.1", 0)) as server, \
            subprocess.Popen(["sleep", "1000"], preexec_fn=ordinary_user(), cwd="/") as victim:
        try:
            script = attempt.format(hidden=public / "hidden", other=public / "other", victim=victim.pid, public=public,
                                    port=server.getsockname()[1])
            prepare()
            if own_user:
                as_user.pop("preexec_fn")  # root starts the box, and the program has a uid of its own
            elif "pidfd" not in attempt:  # which would end the victim
                assert subprocess.run(["sh", "-c", script], **as_user).returncode == 0, "it can be done without the box"
            trace.unlink(missing_ok=True)
            prepare()
            done = subprocess.run([*box, "--", "sh", "-c", script], **as_user)
            assert done.returncode not in (0, 125, 126, 127), done.stdout + done.stderr
            assert not trace.exists() and (public / "other" / "file").read_text() == "int main(void) { return 0; }\n"
            assert os.listdir(public / "other") == ["file"] and victim.poll() is None
            # What it may do.
            name = f"/dev/shm/shmlab-test-{os.getpid()}"
            allowed = (f"cd {public}/work && echo x > a && mv a b && mkdir c && mv b c/d && rm -r c && echo x > {name} && "
                       f"ln {name} {name}.2 && rm {name} {name}.2 || exit\nsleep 9 & kill $!")
            for socket_name in SOCKETS:
                (public / "run" / socket_name).unlink()
            assert subprocess.run([*box, "--", "sh", "-c", allowed], **as_user).returncode == 0
        finally:
            victim.kill()
            trace.unlink(missing_ok=True)


@with_landlock
def test_programs_of_the_host_tier_reach_each_other_but_not_pid_1():
    with Box("host") as box:
        other = box.start(["sleep", "60"])
        for script, status in ((f"kill -0 {other.pid}", 0), ("kill -0 $PPID", 1), ("kill -9 -1", 1), ("kill -9 $PPID", 1)):
            started = box.start(["sh", "-c", script])
            assert box.wait(started, 10) and os.WEXITSTATUS(started.status) == status, script
        assert other.status is None


def test_the_first_line_promises_what_the_kernel_grants_and_no_more(tmp_path):
    """In the host_tier with and without Landlock."""
    words = ["--submission", str(labs.SOLUTIONS), "--tier", "host", *numbers("01")]
    without = check(tmp_path, *words, before=[*IMITATION, "no-landlock"])
    assert "box: none (asked for); programs cannot use the network" in without.output and "home" not in without.output
    assert "objects, files and processors: run only code that you trust" in without.output and without.score == 10
    if "files" in tiers.host_promises():
        line = check(tmp_path, *words).output.splitlines()[0]
        assert line.startswith("box: Landlock and seccomp") and tiers.HOST_TIER_PROMISES["files"] in line


# ---- AppArmor ---------------------------------------------------------------------------------------------


def test_the_box_is_installed_where_apparmor_restricts_it(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(apparmor, "INSTALLED", tmp_path / "lib" / "box")
    monkeypatch.setattr(apparmor, "PROFILE", tmp_path / "profile")
    monkeypatch.setattr(apparmor, "RESTRICTED", tmp_path / "restricted")
    monkeypatch.setattr(apparmor, "_parser", lambda *words: ran.append(words))
    monkeypatch.setattr(apparmor, "_require_root", lambda command: None)
    choose = native.box_program.__wrapped__
    monkeypatch.setattr(native, "box_program", choose)
    apparmor.install()
    assert apparmor.remedy() is None and not ran and choose() == native.build_box(), "nothing is to be done here"
    (tmp_path / "restricted").write_text("1\n")
    assert "sudo make box" in apparmor.remedy()
    apparmor.install()
    assert choose() == apparmor.INSTALLED and apparmor.remedy() is None and ran == [("--replace", str(tmp_path / "profile"))]
    assert "\n  userns,\n" in apparmor.PROFILE.read_text()
    apparmor.INSTALLED.write_bytes(b"another version")
    assert choose() == native.build_box() and "another version" in apparmor.remedy()
    apparmor.remove()
    assert not (tmp_path / "lib").exists() and not apparmor.PROFILE.exists()
    assert ran[1:] == [("--remove", str(tmp_path / "profile"))]


def test_only_a_static_box_is_installed():
    assert apparmor.is_static(native.build_box().read_bytes())
    assert not apparmor.is_static(Path(shutil.which("make")).read_bytes())

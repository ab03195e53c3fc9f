"""The parsers of the kernel's formats, with valid and malformed input."""
import ctypes
import mmap
import os
import subprocess
import sys

import pytest

from shmlab.sandbox import kernel
from shmlab.sandbox.box import Box

LINE = b"7f0000000000-7f0000002000 rw-s 00000000 00:01 1033                       "


@pytest.mark.parametrize("name, shown", [
    (b"/dev/zero (deleted)", "/dev/zero (deleted)"),
    (b"/dev/shm/a name  with spaces ", "/dev/shm/a name  with spaces "),
    (b"/dev/shm/two\\012lines (deleted)", "/dev/shm/two\nlines (deleted)"),
    (b"/dev/shm/not-utf8-\xff", os.fsdecode(b"/dev/shm/not-utf8-\xff")),
    (b"/memfd: (deleted)", "/memfd: (deleted)"),
])
def test_names_in_maps(name, shown):
    (mapping,) = kernel.parse_maps(LINE + name + b"\n")
    assert (mapping.name, mapping.size, mapping.inode, mapping.shared) == (shown, 8192, 1033, True)


def test_kinds_of_mapping():
    def one(name, flags=b"rw-s"):
        return kernel.parse_maps(LINE.replace(b"rw-s", flags) + name)[0]

    assert one(b"/dev/zero (deleted)").anonymous and not one(b"/dev/zero (deleted)", b"rw-p").anonymous
    assert one(b"/SYSV00000000 (deleted)").key == 0 and one(b"/SYSV530020a1 (deleted)").key == 0x530020A1
    assert one(b"/SYSV530020a1").key is None
    assert one(b"/dev/shm/x (deleted)").object == "/x" and one(b"/tmp/dev/shm/x").object is None
    assert one(b"/memfd:a (deleted) b (deleted)").memfd == "a (deleted) b"


def test_lines_without_sense_are_passed_over():
    assert kernel.parse_maps(b"") == [] and kernel.parse_maps(b"nonsense\n\nzz-zz rw-p\n") == []
    assert kernel.parse_segments(b"") == [] and kernel.parse_segments(b"key shmid perms\n1 2\n") == []
    assert kernel.parse_status(b"") is None and kernel.parse_blocked(b"running\n") is None
    assert kernel.parse_blocked(b"") is None and kernel.parse_ids(b"") == []


def test_own_maps_hold_what_was_mapped(tmp_path):
    path = tmp_path / "two\nlines and spaces"
    path.write_bytes(bytes(100))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 100) as mapped, open("/proc/self/maps", "rb") as maps:
        found = [m for m in kernel.parse_maps(maps.read()) if m.name == str(path)]
        assert len(found) == 1 and found[0].shared and found[0].inode == os.stat(path).st_ino and mapped


def test_segments_with_key_0_and_after_removal():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    shmid = libc.shmget(0, 5000, 0o1600)
    try:
        def mine():
            with open("/proc/sysvipc/shm", "rb") as file:
                return [s for s in kernel.parse_segments(file.read()) if s.shmid == shmid]

        (segment,) = mine()
        assert (segment.key, segment.size, segment.mode, segment.nattch) == (0, 5000, 0o600, 0)
        assert segment.cpid == os.getpid() and not segment.removed
        address = libc.shmat(shmid, None, 0)
        libc.shmctl(shmid, 0, None)
        (segment,) = mine()
        assert segment.removed and segment.key == 0 and segment.nattch == 1 and "dest" in segment.line
        libc.shmdt(ctypes.c_void_p(address))
        assert mine() == []
    finally:
        libc.shmctl(shmid, 0, None)


def test_keys_are_those_of_ftok(tmp_path):
    libc = ctypes.CDLL(None)
    for number in range(50):
        path = tmp_path / str(number)
        path.touch()
        for project in 1, 83, 321, -1:
            assert kernel.ftok(os.stat(path), project) == libc.ftok(str(path).encode(), project) & 0xFFFFFFFF


def test_where_a_process_stands():
    raw = (b"Name:\tState:\tR\nUmask:\t0022\nState:\tS (sleeping)\nSigCgt:\t0000000000002000\nCapInh:\t0\n"
           b"voluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n")
    assert kernel.parse_status(raw) == kernel.ProcessState("S", 7, 1 << 14 - 1)  # SIGALRM is 14
    with open("/proc/self/status", "rb") as file:
        assert kernel.parse_status(file.read()).phase == "runs"
    places = {state: kernel.ProcessState(state, 0).phase for state in "STtZXRD"}
    assert places == {"S": "waits", "T": "stopped", "t": "stopped", "Z": "ended", "X": "ended", "R": "runs", "D": "runs"}


def test_blocked_in_futex():
    waiter = subprocess.Popen([sys.executable, "-c", "import threading; threading.Lock().acquire(); l = threading.Lock();"
                                                     "l.acquire(); print(flush=True); l.acquire()"], stdout=subprocess.PIPE)
    try:
        waiter.stdout.readline()
        call = None
        while not (call and call.in_futex):
            with open(f"/proc/{waiter.pid}/syscall", "rb") as file:
                call = kernel.parse_blocked(file.read())
        assert call.private_futex
    finally:
        waiter.kill()
        waiter.wait()


def test_objects_of_every_kind(tier):
    with Box(tier) as box:
        names = [b"shmlab-a b", b"shmlab-two\nlines", b"shmlab-\xff", b"shmlab-link", b"shmlab-directory"]
        claimed = {"/" + os.fsdecode(name) for name in names}
        box.claimed = lambda: claimed
        for name in names[:3]:
            fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640, dir_fd=box.shm_fd)
            os.ftruncate(fd, 5000)
            os.close(fd)
        os.symlink("/etc/passwd", names[3], dir_fd=box.shm_fd)
        os.mkdir(names[4], dir_fd=box.shm_fd)
        if os.getuid() == 0:
            for name in names:
                os.chown(name, box.uid, box.uid, dir_fd=box.shm_fd, follow_symlinks=False)
        found = {item.name: item for item in box.objects()}
        assert set(found) == claimed
        assert found["/shmlab-a b"].size == 5000 and found["/shmlab-a b"].reserved == 0
        assert found["/shmlab-a b"].mode == 0o640 and "\n" not in found["/shmlab-two\nlines"].line
        assert found["/shmlab-link"].kind == "a symbolic link" and found["/shmlab-directory"].kind == "a directory"
        assert "shmlab-link: a symbolic link, mode" in found["/shmlab-link"].line and not found["/shmlab-a b"].kind
        os.rmdir(names[4], dir_fd=box.shm_fd)


def test_a_process_that_vanishes_is_an_error_not_a_crash(tier):
    with Box(tier) as box:
        run = box.start(["true"])
        box.wait(run, 5)
        with pytest.raises(OSError):
            box.read(f"/proc/{run.pid}/maps")
        box.kill(run.pid, 9)


def blocked(name, *arguments):
    """A wait in the system call of that name, on this machine."""
    number = next(number for number, called in kernel.CALL_NAMES[os.uname().machine].items() if called == name)
    return kernel.Blocked(number, arguments + (0,) * (6 - len(arguments)))


def test_a_pause_is_told_from_a_wait():
    for call in blocked("nanosleep", 1, 0), blocked("clock_nanosleep", 1, 0, 1), blocked("ppoll", 1, 0, 1), blocked("pselect6", 0):
        assert call.pauses and not call.waits_for_descriptors and not call.has_no_end
    for call in blocked("ppoll", 1, 1, 1), blocked("pselect6", 1), blocked("epoll_pwait", 3):
        assert call.waits_for_descriptors and not call.pauses
    for call in blocked("flock", 3, 2), blocked("fcntl", 3, 7), blocked("read", 0), blocked("futex", 1, 0, 0, 0), blocked("wait4"):
        assert call.has_no_end and not call.pauses
    assert not blocked("fcntl", 3, 6).has_no_end and not blocked("futex", 1, 0, 0, 1).has_no_end
    assert blocked("flock").name == "flock" and kernel.Blocked(99999, (0,) * 6).name == "system call 99999"
    assert not kernel.Blocked(-1, ()).pauses and not kernel.Blocked(-1, ()).has_no_end

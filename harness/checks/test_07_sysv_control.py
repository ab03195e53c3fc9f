"""Lab 07: what the kernel knows of a segment, its mode, and its end."""
import errno
import os
from typing import List

from shmlab.sandbox import native
from shmlab import LabFixture, points, require, require_bytes
from shmlab.sandbox.kernel import parse_maps

ID = ord("S")
FILE = "meeting_place"
PERCENT_FILE = FILE + " 50%%"  # one % less if it is used as a format
MANY_PERCENT = "%s" * 100  # as a format, reads missing arguments until a signal kills the program
OTHER_OWNER = ["4242", "4343"]  # uid and gid, as native/interpose/other_owner.c has them
NO_KEY = 0xFFFFFFFF  # -1, which ftok() returns if it fails; a segment may have this key
TEXT = b"keep me"
LARGE = (5 << 30) + 5  # bytes: more than an int can hold
LINES = ("key", "shmid", "size", "mode", "nattch", "cpid", "lpid", "atime", "dtime", "ctime")


def control(lab: LabFixture, *words, file: str = FILE, **options):
    return lab.run("sysv_control", file, *words, **options)


def segment_with(lab: LabFixture, mode: int = 0o600, size: int = 100, file: str = FILE):
    """A segment of the key, with TEXT in it, created by an unrelated process that has ended."""
    lab.file(file)
    return lab.make_segment(lab.ftok(file, ID), TEXT, size, mode)


def replaced_after(lab: LabFixture, call: str, *words):
    """Another process replaces the segment by a new one of the same key right after a call. Returns the run and the new one."""
    old = segment_with(lab)
    program = lab.start("sysv_control", FILE, *words, stop_at=call)
    program.wait_stopped()
    lab.remove_segment(old)
    new = lab.make_segment(old.key, TEXT, 100, 0o600)
    program.resume()
    return program.wait(), new


def row(lab: LabFixture, shmid: int):
    """A segment's line in /proc/sysvipc/shm, by the names in its head; None if there is no line."""
    head, *lines = lab.box.read("/proc/sysvipc/shm").decode().splitlines()
    rows = [dict(zip(head.split()[:14], line.split())) for line in lines]  # the rest is about pages: not ours to keep
    return next((found for found in rows if int(found["shmid"]) == shmid), None)


def shown(found):
    if not found:
        return "/proc/sysvipc/shm: no such segment"
    found = dict(found, key=f"0x{int(found['key']) & 0xFFFFFFFF:08x}")
    return "/proc/sysvipc/shm: " + "  ".join(f"{name} {value}" for name, value in found.items())


def holder(lab: LabFixture, shmid: int):
    """An unrelated process that has the segment attached until its input ends."""
    started = lab.tool_start("hold", shmid)
    lab.poll(lambda: started.status is not None or bool(started.output[1]), 4)
    require(started.status is None, "an unrelated process can attach the segment", shown(row(lab, shmid)))
    return started


def let_go(lab: LabFixture, started):
    lab.box.close_stdin(started)
    lab.box.wait(started, 4)


def attached(lab: LabFixture, started):
    """The mappings of a segment that an unrelated process has; none while it is still being started."""
    try:
        return [mapping for mapping in parse_maps(lab.box.read(f"/proc/{started.pid}/maps")) if mapping.key is not None]
    except PermissionError:
        return []


def held_bytes(lab: LabFixture, started) -> bytes:
    """The beginning of the segment as its holder has it mapped."""
    found: List[bytes] = []

    def look() -> bool:
        fd = lab.box.open(f"/proc/{started.pid}/mem")
        try:
            found[:] = [os.pread(fd, len(TEXT), mapping.start) for mapping in attached(lab, started)]
        except OSError as error:  # EIO while the process is being changed
            if error.errno not in (errno.EIO, errno.ESRCH, errno.EINTR):
                raise
        finally:
            os.close(fd)
        return any(len(content) == len(TEXT) for content in found)

    if not lab.poll(look, 4):
        raise RuntimeError(f"the memory of this check's own process {started.pid} cannot be read")
    return next(content for content in found if len(content) == len(TEXT))


def require_refused(lab: LabFixture, shmid: int):
    """An unrelated process of the same user cannot attach the segment for reading."""
    started = lab.tool_start("read", shmid)
    let_go(lab, started)
    said = started.output[2].decode("utf-8", "replace").strip()
    require("Permission denied" in said, "shmat() of an unrelated process is refused with EACCES",
            said or "it attached the segment", shown(row(lab, shmid)))


def require_true_answer(lab: LabFixture, shmid: int):
    """Runs `stat`: it prints what the kernel says, and the kernel says the same before and after."""
    before = row(lab, shmid)
    run = control(lab, "stat").require_success()
    after = row(lab, shmid)
    require(after == before, "`stat` leaves the segment as it was: " + shown(before), shown(after))
    values = dict(before, key=f"0x{int(before['key']) & 0xFFFFFFFF:08x}", mode=f"{int(before['perms'], 8) & 0o777:04o}")
    wanted = "".join(f"{name} {values[name]}\n" for name in LINES)
    require_bytes(run.stdout, wanted.encode(), "stdout of `stat`")


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2 and change nothing, valid ones with status 0."""
    segment = segment_with(lab)
    control(lab, "stat").require_success()
    before = row(lab, segment.shmid)
    lab.run("sysv_control").require_usage()
    for words in ([], [""], ["ls"], ["Stat"], ["status"], ["s"], ["r"], ["removed"], ["modes", "0640"], ["m", "0640"], ["0640"],
                  ["stat", "0640"], ["mode"], ["mode", "0640", "x"], ["remove", "x"]):
        control(lab, *words).require_usage()
    for mode in "", "8", "0648", "01000", "-1", "+600", " 600", "600 ", "0x180", "u=rw", "7" * 30:
        control(lab, "mode", mode).require_usage()
    after = row(lab, segment.shmid)
    require(after == before, "the segment as it was: " + shown(before), shown(after))


@points(2, read="shmctl(2), IPC_STAT; sysvipc(7); handout, Steps and Background")
def test_stat(lab):
    """`stat` prints what the kernel knows of the segment, and leaves it as it was."""
    # Never attached: its creator could not, for want of address space. Most of the record is 0.
    key = lab.ftok(lab.file(FILE), ID)
    if lab.kernel_limits:
        lab.box.set_sysctl("kernel/shmall", LARGE >> 10)
    for size in LARGE, 64 << 20:  # without overcommit a machine may create only the smaller one
        maker = lab.box.start(["peer", "make", str(key), str(size), "0"], image=native.peer_program(), limits={"address_mb": 32})
        lab.box.wait(maker, 4)
        if lab.segment(key):
            break
    require_true_answer(lab, lab.segment(key).shmid)
    lab.reset()
    # In use: by its creator, which still runs and has never detached, and by another process.
    key = lab.ftok(lab.file(FILE), ID)
    maker = lab.tool_start("make", key, 5000, 0o640, stdin=TEXT)
    # shmat() counts its segment twice until it returns.
    lab.poll(lambda: bool(attached(lab, maker)) and lab.segment(key).nattch == 1, 4)
    shmid = lab.segment(key).shmid
    other = holder(lab, shmid)
    require_true_answer(lab, shmid)
    # And after that: detached by one of them, with another mode.
    let_go(lab, maker)
    require_true_answer(lab, shmid)
    let_go(lab, other)
    require_true_answer(lab, shmid)
    # Removed after it was found, while another process has it attached: the kernel's flag for that is above the mode bits.
    program = lab.start("sysv_control", FILE, "stat", stop_at="shmget")
    program.wait_stopped()
    other = holder(lab, shmid)
    lab.reference("sysv_control", FILE, "remove").wait().require_success()
    program.resume()
    run = program.wait()
    require(run.exit_status == 1 or b"\nmode 0640\n" in run.stdout, "`mode 0640`, only the lowest nine bits",
            shown(row(lab, shmid)), "stdout:", run.stdout)
    let_go(lab, other)


@points(1, read="shmctl(2), IPC_SET; handout, Steps and Background")
def test_mode(lab):
    """`mode` sets the permission bits to MODE, and a process without permission is refused."""
    segment = segment_with(lab)
    for mode, umask in ("0640", 0o022), ("444", 0o077), ("0777", 0o077), ("400", 0o022), ("0600", 0o777), ("000400", 0):
        run = control(lab, "mode", mode, umask=umask).require_success()
        now = lab.segments()
        require([s.mode for s in now] == [int(mode, 8)], f"mode {int(mode, 8):04o} under umask {umask:03o}", now)
        require(run.stdout == b"", "`mode` prints nothing", "stdout:", run.stdout)
    require_bytes(lab.segment_bytes(segment)[: len(TEXT)], TEXT, "with mode 0400 an unrelated process can read")
    for mode in "0200", "0":
        lab.reset()
        segment = segment_with(lab)
        control(lab, "mode", mode).require_success()
        require_refused(lab, segment.shmid)


@points(1, read="shmctl(2), IPC_SET; handout, Background")
def test_mode_changes_nothing_else(lab):
    """`mode` changes nothing else: not the owner, not the times of attaching, not what a process has attached."""
    segment = segment_with(lab)
    other = holder(lab, segment.shmid)
    before = row(lab, segment.shmid)
    control(lab, "mode", "0").require_success()
    after = row(lab, segment.shmid)
    require(after and dict(after, perms="", ctime="") == dict(before, perms="", ctime=""),
            "except for perms and ctime still " + shown(before), shown(after))
    require_bytes(held_bytes(lab, other), TEXT, "a process that has the segment attached still sees its bytes")
    # If the owner and the group are not the caller's, IPC_SET must keep them.
    lab.reset()
    segment_with(lab)
    run = control(lab, "mode", "0640", interpose=("other_owner",), environment={"SHMLAB_IPC_SET": "ipc_set"})
    if lab.box.exists("ipc_set"):
        for line in lab.box.get("ipc_set", 4096).decode("ascii", "replace").splitlines():
            uid, gid, mode = line.split()
            require([uid, gid] == OTHER_OWNER, "IPC_SET keeps the owner and the group that IPC_STAT returned: uid 4242, gid 4343",
                    "this check replaced the C library's shmctl() with one whose IPC_STAT returns this uid and gid",
                    f"IPC_SET was called with uid {uid}, gid {gid}, mode {int(mode, 8):04o}",
                    f"the program itself runs as uid {lab.box.uid}, gid {lab.box.uid}" if lab.box.uid == int(uid) else [],
                    run.ending)
        run.require_success()
    # And a new segment that has the key by now is a different one.
    lab.reset()
    run, new = replaced_after(lab, "shmctl", "mode", "0640")
    require(lab.segment(new.key) == new, "the segment that has the key by now keeps its mode: " + new.line,
            "another process replaced the segment by a new one of the same key right after this program's first shmctl()",
            lab.segments(), run.ending)


@points(1, read="shmctl(2), EACCES; handout, Background")
def test_unreadable(lab):
    """A segment that its owner may not read: `stat` and `mode` fail and change nothing, `remove` works."""
    segment = segment_with(lab, mode=0o200)
    before = row(lab, segment.shmid)
    for words in ["stat"], ["mode", "0600"]:
        control(lab, *words).require_failure("shmctl", FILE)
        after = row(lab, segment.shmid)
        require(after == before, "the segment as it was: " + shown(before), shown(after))
    control(lab, "remove").require_success()
    require(not lab.segments(), "the segment is gone", lab.segments())


@points(1, read="shmctl(2), IPC_RMID; handout, Background")
def test_remove(lab):
    """`remove` removes the segment, and no other."""
    lab.file("elsewhere")
    other = lab.make_segment(lab.ftok("elsewhere", ID), TEXT)
    segment_with(lab, mode=0o400)
    run = control(lab, "remove").require_success()
    require(lab.segments() == [other], "only the segment of another key is left: " + other.line, lab.segments())
    require(run.stdout == b"", "`remove` prints nothing", "stdout:", run.stdout)
    lab.reset()
    run, new = replaced_after(lab, "shmget", "remove")
    require(lab.segments() == [new], "the segment that has the key by now is still there: " + new.line,
            "another process replaced the segment by a new one of the same key right after this program's shmget()",
            lab.segments() or "/proc/sysvipc/shm: no segment", run.ending)


@points(1, read="shmctl(2), IPC_RMID and SHM_DEST; handout, Background")
def test_remove_while_attached(lab):
    """A segment that is removed while it is attached has no key, keeps its bytes, and goes with the last detach."""
    segment = segment_with(lab)
    other = holder(lab, segment.shmid)
    control(lab, "remove").require_success()
    now = row(lab, segment.shmid)
    require(now and int(now["perms"], 8) & 0o1000 and int(now["key"]) == 0 and now["nattch"] == "1",
            "the segment with the flag `dest` (01000 in perms), key 0 and nattch 1", shown(now))
    require_bytes(held_bytes(lab, other), TEXT, "a process that has the segment attached still sees its bytes")
    control(lab, "stat").require_failure("shmget", FILE)
    let_go(lab, other)
    require(not lab.segments(), "no segment is left after the last detach", lab.segments())


@points(1, read="shmget(2), IPC_CREAT and ENOENT; handout, Steps")
def test_absent_segment(lab):
    """If no segment has the key, each command fails and creates none."""
    for words in ["stat"], ["mode", "0600"], ["remove"]:
        run = lab.run("sysv_control", lab.file(FILE), *words)
        require(not run.left_behind.segments, "no segment is created", run.left_behind.segments)
        run.require_failure("shmget", FILE)
        require(not run.other_reason(errno.ENOENT), "the reason in the message, if it has one, is that no segment has the "
                f"key: {os.strerror(errno.ENOENT)}", run.ending)
        require(run.stdout == b"", "nothing on stdout", run.stdout)


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1 and leaves the segment as it was."""

    def scenario(*words, **fault):
        segment = segment_with(lab, file=PERCENT_FILE)
        before = row(lab, segment.shmid)
        run = control(lab, *words, file=PERCENT_FILE, **fault).require_no_format(PERCENT_FILE)
        after = row(lab, segment.shmid)
        require(not fault or after == before, "the segment as it was: " + shown(before), shown(after), run.ending)
        return run

    for words in ["stat"], ["mode", "0640"], ["remove"]:
        lab.each_call_fails(lambda **fault: scenario(*words, **fault), FILE)
        lab.reset()
        if lab.private_ipc:
            lab.make_segment(NO_KEY, TEXT)
        run = lab.run("sysv_control", "no_such_file", *words)
        run.require_failure("ftok", "no_such_file", because="there is no file no_such_file")
        lab.run("sysv_control", MANY_PERCENT, *words).require_no_format(MANY_PERCENT)
        segment_with(lab, file=MANY_PERCENT)
        control(lab, *words, file=MANY_PERCENT).require_no_format(MANY_PERCENT).require_success()
        lab.reset()
    segment_with(lab)
    run = control(lab, "stat", stdout="/dev/full")
    require(run.exit_status == 1 and run.says(["stdout", "output", "write", "printf", "flush", "puts", "fclose"]),
            "exit status 1 and a message that names stdout when stdout is full", run.ending)

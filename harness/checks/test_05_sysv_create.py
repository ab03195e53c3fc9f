"""Lab 05: a System V segment with a text in it outlives the program that made it."""
import errno

from shmlab import Bench, points, require, require_bytes

ID = ord("S")


def create(lab: Bench, text: str = "hello", file: str = "meeting_place", **options):
    return lab.run("sysv_create", lab.file(file), text, **options)


@points(1, read="handout, Steps")
def test_usage(lab):
    """Wrong arguments end with "usage: …" on stderr and exit status 2, right ones with exit status 0."""
    create(lab).require_success()
    for words in [], ["meeting_place"], ["meeting_place", "a", "b"]:
        lab.run("sysv_create", *words).require_usage()


@points(1, read="ftok(3); handout, Step 1")
def test_key(lab):
    """The segment's key is the one that `ftok(FILE, 'S')` gives."""
    for file in "meeting_place", "another place":
        segment = create(lab, file=file).left_behind.one_segment()
        require(segment.key == lab.ftok(file, ID), f"the segment's key is 0x{lab.ftok(file, ID):08x}", segment)


@points(1, read="shmget(2); handout, Step 2 and Pitfalls")
def test_size(lab):
    """The segment is exactly as large as TEXT with its closing zero byte."""
    for text in "hello", "", "x" * 4095, "y" * 5000:
        segment = create(lab, text).left_behind.one_segment()
        require(segment.size == len(text) + 1, f"size {len(text) + 1} for a text of {len(text)} bytes", segment)
        lab.fresh()


@points(1, read="shmget(2), umask(2); handout, Background")
def test_mode(lab):
    """The segment's mode is 0640, whatever the umask."""
    for umask in 0o022, 0o077, 0o000:
        segment = create(lab, umask=umask).left_behind.one_segment()
        require(segment.mode == 0o640, f"mode 0640 under umask {umask:03o}", segment)
        lab.fresh()


@points(2, read="shmat(2), memcpy(3); handout, Steps 3 and 4")
def test_text(lab):
    """An unrelated process finds TEXT in the segment."""
    for text in "hello", "Grüße, shared memory! " * 300, "100 %d %5s %%":
        segment = create(lab, text).left_behind.one_segment()
        wanted = text.encode()
        require_bytes(lab.segment_bytes(segment)[: len(wanted)], wanted, "the segment begins with TEXT")
        lab.fresh()


@points(1, read="shmdt(2); handout, Step 5")
def test_detached(lab):
    """The segment is detached before the program ends."""
    program = lab.start("sysv_create", lab.file(), "hello", hold="end")
    program.held()
    segments = lab.segments()
    require(len(segments) == 1, "one segment is there just before the program ends", segments)
    require(segments[0].atime != 0, "the segment has been attached", segments[0], "it has never been attached")
    require(segments[0].nattch == 0, "nattch 0 just before the program ends", segments[0])


@points(1, read="shmctl(2), sysvipc(7); handout, Background")
def test_outlives_its_creator(lab):
    """The segment is still there after the program that made it has exited."""
    segment = create(lab).require_success().left_behind.one_segment()
    require(segment.nattch == 0 and not segment.removed, "a segment that nobody uses and that is not removed", segment)


@points(1, read="shmget(2), IPC_EXCL and EEXIST; handout, Step 2")
def test_taken_key(lab):
    """A segment that has the key already is left as it is, and the program fails."""
    lab.file()
    old = lab.make_segment(lab.ftok("meeting_place", ID), b"somebody else's", size=64)
    create(lab).require_failure("shmget", "meeting_place", because="before it began, another process had made a "
                                "segment with the same key")
    now = lab.segments()
    require([s.shmid for s in now] == [old.shmid], "the old segment is there, and no other", now)
    require_bytes(lab.segment_bytes(now[0]).rstrip(b"\0"), b"somebody else's", "the old segment keeps its bytes")
    lab.fresh()
    # The same when the creator of the old segment was killed half-way.
    killed = lab.start("sysv_create", lab.file(), "hello", hold="shmget")
    killed.held()
    killed.kill()
    lab.box.wait(killed.started, 2)
    create(lab).require_failure("shmget", "meeting_place", because="an earlier run was killed right after shmget() "
                                "and had left its segment")
    require(len(lab.segments()) == 1, "the segment of the killed program is there, and no other", lab.segments())


@points(1, read="handout, Step 6; err(3)")
def test_failing_calls(lab):
    """Whichever call fails, the program says so, exits with status 1 and leaves nothing behind."""
    lab.each_call_fails(lambda **fault: create(lab, **fault), "meeting_place")
    lab.fresh()
    alone, both = (create(lab, fail=[("shmat", 1, errno.ENOMEM), *more]) for more in ([], [("shmctl", 1, errno.EPERM)]))
    if any(call.injected and call.name == "shmctl" for call in both.program.calls):
        require(both.exit_status == 1 and both.stderr != alone.stderr, "the program also says that it could not remove "
                "the segment", "shmat() failed, and then shmctl() too (this check made them fail)", both.ending)
    lab.fresh()
    run = lab.run("sysv_create", "no_such_file", "hello")
    run.require_failure("ftok", "no_such_file", because="there is no file no_such_file")
    run.left_behind.require_nothing()
    if lab.own_kernel:
        lab.box.set_sysctl("kernel/shmmni", 0)
        create(lab).require_failure("shmget", "meeting_place", because="the kernel had no shmid left (kernel.shmmni was 0)")

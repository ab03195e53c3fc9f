"""Lab 05: a System V segment with a text in it outlives the program that made it."""
import errno
import re

from shmlab import LabFixture, points, require, require_bytes
from shmlab.judging.require import decimal_mode
from shmlab.sandbox.kernel import parse_segments, show

ID = ord("S")
IPC_RMID, IPC_CREAT = 0, 0o1000
# As a format, the first two print one % less, and the last reads missing arguments until a signal kills the program.
PERCENT_FILE, PERCENT_TEXT, MANY_PERCENT = "meeting_place 50%%", "30%% off", "%s" * 300


def create(lab: LabFixture, text: str = "hello", file: str = "meeting_place", **options):
    return lab.run("sysv_create", lab.file(file), text, **options)


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    create(lab).require_success()
    for words in [], ["meeting_place"], ["meeting_place", "a", "b"]:
        lab.run("sysv_create", *words).require_usage()


@points(1, read="ftok(3); handout, Step 1")
def test_key(lab):
    """The segment's key is the one that `ftok(FILE, 'S')` returns."""
    for file in "meeting_place", "another place":
        segment = create(lab, file=file).left_behind.one_segment()
        require(segment.key == lab.ftok(file, ID), f"the segment's key is 0x{lab.ftok(file, ID):08x}", segment)


@points(1, read="shmget(2); handout, Step 2 and Pitfalls")
def test_size(lab):
    """The segment is exactly as large as TEXT with its closing zero byte."""
    for text in "hello", "", "x" * 4095, "y" * 5000, "z" * 70000:
        segment = create(lab, text).require_success().left_behind.one_segment()
        require(segment.size == len(text) + 1, f"size {len(text) + 1} for a text of {len(text)} bytes", segment)
        lab.reset()


@points(1, read="shmget(2), umask(2); handout, Background")
def test_mode(lab):
    """The segment's mode is 0640, whatever the umask."""
    for umask in 0o022, 0o077, 0o000:
        run = create(lab, umask=umask)
        asked = [call for call in run.program.calls if call.name == "shmget" and call.arguments[2] & IPC_CREAT]
        # With such a mode the program itself may be unable to attach its segment.
        require(run.left_behind.segments or not any(decimal_mode(call.arguments[2] & 0o777, 0o640, 0o666) for call in asked),
                f"mode 0640 under umask {umask:03o}", asked,
                [decimal_mode(call.arguments[2] & 0o777, 0o640, 0o666) for call in asked[:1]], run.ending)
        segment = run.left_behind.one_segment()
        require(segment.mode == 0o640, f"mode 0640 under umask {umask:03o}", segment, decimal_mode(segment.mode, 0o640, 0o666))
        lab.reset()


@points(2, read="shmat(2), memcpy(3); handout, Steps 3 and 4")
def test_text(lab):
    """An unrelated process finds TEXT in the segment, whatever characters it has; TEXT is never a format."""
    for text in "hello", "Grüße, shared memory! " * 300, "100 %d %5s %%", PERCENT_TEXT, MANY_PERCENT:
        run = create(lab, text, MANY_PERCENT[:200] if text == MANY_PERCENT else "meeting_place")
        run.require_no_format(PERCENT_TEXT)
        segment = run.left_behind.one_segment()
        wanted = text.encode()
        require_bytes(lab.segment_bytes(segment)[: len(wanted)], wanted, "the segment begins with TEXT")
        lab.reset()
    # In a new segment, all zero bytes, a store of a zero byte cannot be seen. So this check fills the memory before the copy.
    program = lab.start("sysv_create", lab.file(), "hello", stop_at="shmat")
    program.wait_stopped()
    mapped = [mapping for mapping in program.maps() if mapping.key is not None]
    require(mapped, "the segment is mapped when shmat() has returned", program.maps())
    program.set_memory(mapped[0], b"#" * mapped[0].size)
    reader = lab.tool_start("hold", lab.segments()[0].shmid)
    lab.poll(lambda: reader.status is not None or bool(reader.output[1]), 4)
    program.resume()
    program.wait().require_success()
    page = program.memory(next(mapping for mapping in program.maps(reader.pid) if mapping.key is not None), reader.pid)
    story = "this check had filled the memory with # before the copy, up to the end of the page"
    require(page[:6] == b"hello\0", "the segment has TEXT with its closing zero byte", show(page[:16]), story)
    require(page[6:] == b"#" * (len(page) - 6), "the program stores nothing after its 6 bytes", show(page[:16]),
            story)


@points(1, read="shmdt(2); handout, Step 5")
def test_detached(lab):
    """The segment is detached before the program ends."""
    program = lab.start("sysv_create", lab.file(), "hello", stop_at="end")
    program.wait_stopped()
    segments = lab.segments()
    require(len(segments) == 1, "one segment exists just before the program ends", segments)
    require(segments[0].atime != 0, "the segment has been attached", segments[0], "it has never been attached")
    require(segments[0].nattch == 0, "nattch 0 just before the program ends", segments[0])


@points(1, read="shmctl(2), sysvipc(7); handout, Background")
def test_outlives_its_creator(lab):
    """The segment is still there after the program that created it has exited."""
    segment = create(lab).require_success().left_behind.one_segment()
    require(segment.nattch == 0 and not segment.removed, "a segment that no process has attached and that is not removed", segment)


def explore_creators(lab: LabFixture):
    """Every order of the steps of two programs that create the segment of one file at once."""
    for texts in lab.scenarios([("first", "the second")], [("first", "the second", "and one more")]):
        lab.reset()
        file = lab.file()
        for end in lab.every_schedule(*(("sysv_create", file, text) for text in texts)):
            end.require_all_ended()
            saw = [line for run in end.runs for line in run.ending]
            users, removals = {}, []  # by segment: the programs that believe they created it
            for step in end.raw.steps:
                if step.kind == "shmget" and not step.error and step.size & IPC_CREAT:
                    users.setdefault(step.file, []).append(step.process)
                if step.kind == "shmctl" and step.text == "IPC_RMID" and not step.error:
                    removals.append((step.file, step.process))
            require(any(run.exit_status == 0 for run in end.runs), "one of the programs that create the segment at once succeeds", saw)
            for segment, processes in users.items():
                require(len([n for n in processes if end.runs[n].exit_status == 0]) < 2,
                        "of two programs that create the segment at the same time, one succeeds, and the other fails with exit status 1",
                        "both treat the same segment as their own", saw)
                require(not any(removed == segment and process != processes[0] for removed, process in removals),
                        "a program never removes a segment that another one created", saw)
    lab.reset()


@points(1, read="shmget(2), IPC_EXCL and EEXIST; handout, Step 2")
def test_taken_key(lab):
    """If a segment has the key already, the program fails and leaves the segment as it is."""
    lab.file()
    old = lab.make_segment(lab.ftok("meeting_place", ID), b"another program's", size=64)
    run = create(lab).require_failure("shmget", "meeting_place", because="another process had already created a "
                                      "segment with the same key")
    tried = [call for call in run.program.calls if call.name == "shmctl" and call.arguments[1] == IPC_RMID]
    require(not tried, "a program that created no segment does not try to remove one", tried, run.ending)
    now = lab.segments()
    require([s.shmid for s in now] == [old.shmid], "the old segment is the only one", now)
    require_bytes(lab.segment_bytes(now[0]).rstrip(b"\0"), b"another program's", "the old segment keeps its bytes")
    lab.reset()
    # The same if the creator of the old segment was killed half-way.
    killed = lab.start("sysv_create", lab.file(), "hello", stop_at=("shmget", 0))
    killed.wait_stopped()
    if not lab.segments():  # so far it has only checked
        killed.resume()
        killed.wait_stopped()
    killed.kill()
    lab.box.wait(killed.started, 2)
    create(lab).require_failure("shmget", "meeting_place", because="an earlier run was killed right after shmget() "
                                "and left its segment")
    require(len(lab.segments()) == 1, "the segment of the killed program is the only one", lab.segments())
    # And if another process creates it at the last moment, after any check whether one exists.
    explore_creators(lab)
    if lab.explored:
        return
    run = create(lab, interpose=("taken_meanwhile",), environment={"SHMLAB_MEANWHILE": "meanwhile"})
    if lab.box.exists("meanwhile"):
        key = lab.ftok("meeting_place", ID)
        now = [segment for segment in parse_segments(lab.box.read("/proc/sysvipc/shm")) if segment.key == key]
        try:
            run.require_failure("shmget", "meeting_place", because="another process created a segment with the same key right "
                                "before this program's shmget() with IPC_CREAT (this check did that), after any check "
                                "whether one exists")
            require(len(now) == 1, "the other segment is there", run.ending, lab.segments() or "/proc/sysvipc/shm: no segment")
            require_bytes(lab.segment_bytes(now[0]).rstrip(b"\0"), b"another's", "the other segment keeps its bytes")
        finally:
            for segment in now:  # in the machine's own IPC namespace nothing shows that its creator belonged to this check
                lab.remove_segment(segment)


@points(1, read="handout, Step 6; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1 and cleans up."""

    def scenario(**fault):
        run = create(lab, PERCENT_TEXT if fault else "hello", PERCENT_FILE, **fault)
        return run.require_no_format(PERCENT_TEXT, PERCENT_FILE)

    lab.each_call_fails(scenario, "meeting_place")
    lab.reset()
    alone, both = (create(lab, fail=[("shmat", 1, errno.ENOMEM), *more]) for more in ([], [("shmctl", 1, errno.EPERM)]))
    if {"shmat", "shmctl"} <= {call.name for call in both.program.calls if call.injected}:
        story = "shmat() failed, and then shmctl() too (this check made them fail)"
        said = [re.sub(r"\d+", "#", run.stderr) for run in (alone, both)]  # a shmid may be in it
        require(both.exit_status == 1 and said[0] != said[1], "the program also reports that it could not remove the segment",
                story, both.ending)
        require(both.says(["shmat", "meeting_place"]), "the message also names the call that failed first: shmat or "
                "meeting_place", story, both.ending)
    lab.reset()
    run = lab.run("sysv_create", "no_such_file", "hello")
    run.require_failure("ftok", "no_such_file", because="there is no file no_such_file")
    run.left_behind.require_nothing()
    lab.run("sysv_create", MANY_PERCENT[:200], MANY_PERCENT).require_no_format(MANY_PERCENT[:200], MANY_PERCENT)
    if lab.kernel_limits:
        lab.box.set_sysctl("kernel/shmmni", 0)
        create(lab).require_failure("shmget", "meeting_place", because="the kernel had no shmid left (kernel.shmmni was 0)")

"""Lab 06: an unrelated program finds a segment by its key and reads it."""
import os

from shmlab import LabFixture, points, require, require_bytes
from shmlab.sandbox.kernel import show

PAGE = os.sysconf("SC_PAGE_SIZE")
ID = ord("S")
FILE = "meeting_place"
PERCENT_FILE = FILE + " 50%%"  # one % less if it is used as a format
MANY_PERCENT = "%s" * 100  # as a format, reads missing arguments until a signal kills the program
IPC_RMID = 0
NO_KEY = 0xFFFFFFFF  # -1, which ftok() returns if it fails; a segment may have this key


def segment_with(lab: LabFixture, content: bytes, size: int = 0, mode: int = 0o600, file: str = FILE):
    lab.file(file)
    return lab.make_segment(lab.ftok(file, ID), content, size, mode)


def attach(lab: LabFixture, file: str = FILE, **options):
    return lab.run("sysv_attach", file, **options)


def require_not_killed(run, text: bytes):
    """Another program's text may contain anything, even conversion specifiers, and never kills the program that prints it."""
    hint = []
    if b"%" in text:
        hint.append("is the text the format of a printf()? There each % takes an argument, and there is none")
    require(run.signal is None, "the program prints the text, whatever characters it has",
            f"the text in the segment is {show(text)}",
            run.ending, hint)
    return run


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    segment_with(lab, b"hello\0")
    attach(lab).require_success()
    for words in [], [FILE, "x"]:
        lab.run("sysv_attach", *words).require_usage()


@points(2, read="shmget(2), shmat(2); handout, Steps")
def test_prints_the_text(lab):
    """The program prints the text that an unrelated process left in the segment, even if the segment is removed while
    attached."""
    for text in b"hello", b"", "Grüße! ".encode() * 1000, b"two\nlines\n", b"100 %d %5s %%", b"%n%s" * 40, b"0123456789" * 20000:
        # After the zero byte is the rest of an older and longer text.
        segment_with(lab, text + b"\0older" * 5)
        run = require_not_killed(attach(lab), text).require_success()
        require_bytes(run.stdout, text + b"\n", "stdout is the text and a newline")
        lab.reset()
    # What is attached stays, whatever becomes of the key. A new segment of the same key is a different one.
    for again in False, True:
        old = segment_with(lab, b"the attached one\0")
        program = lab.start("sysv_attach", FILE, stop_at="shmat")
        program.wait_stopped()
        lab.remove_segment(old)
        story = "another process removed the segment right after this program's shmat()"
        if again:
            lab.make_segment(old.key, b"another segment of the same key, with a longer text\0" * 200)
            story += " and created a larger one of the same key"
        program.resume()
        run = program.wait()
        # Another check judges a program that removes the segment itself.
        removes = any(call.name == "shmctl" and call.arguments[1] == IPC_RMID for call in run.program.calls)
        require(run.exit_status == 0 or removes, "the segment that the program attached exists until shmdt(), and is printed",
                story,
                run.ending, "the key is looked up again" if len([c for c in run.program.calls if c.name == "shmget"]) > 1 else [])
        require_bytes(run.stdout, b"the attached one\n",
                      "stdout is the text of the segment that was attached when it was removed")
        lab.reset()
    text = b"more than a write() takes " * 100
    segment_with(lab, text + b"\0")
    run = attach(lab, fail=("write", 0, -400))
    require(run.exit_status == 1 or run.stdout == text + b"\n",
            f"all of a text of {len(text)} bytes is written, or the program fails",
            "this check lets no write() take more than 400 bytes", f"{len(run.stdout)} bytes were written", run.ending)
    lab.reset()


@points(2, read="shmat(2), SHM_RDONLY; handout, Background")
def test_attaches_read_only(lab):
    """The segment is attached for reading only."""
    segment = segment_with(lab, b"hello\0")
    program = lab.start("sysv_attach", FILE, stop_at="shmat")
    program.wait_stopped()
    mine = [mapping for mapping in program.maps() if mapping.key == segment.key]
    require(mine, "the segment is mapped after shmat()", program.shared_maps())
    require(all(mapping.flags == "r--s" for mapping in mine), "a line `r--s … /SYSV…` in /proc/PID/maps", mine)


@points(1, read="shmget(2), IPC_CREAT and ENOENT; handout, Steps")
def test_absent_segment(lab):
    """Without a segment the program fails, and creates none."""
    run = lab.run("sysv_attach", lab.file(FILE))
    require(not run.left_behind.segments, "no segment is created", run.left_behind.segments)
    run.require_failure("shmget", FILE, because="there is no segment with this key")
    require(run.stdout == b"", "nothing on stdout", run.stdout)


@points(1, read="shmctl(2), IPC_STAT and shm_segsz; strnlen(3)")
def test_text_without_zero_byte(lab):
    """A text that fills the whole segment is printed to its last byte and no further."""
    for size in PAGE, 10, 1, 2 * PAGE:
        text = (b"abcdefghij" * 1000)[:size]
        segment_with(lab, text)
        run = attach(lab).require_success()
        require_bytes(run.stdout, text + b"\n", f"stdout is all of a segment of {size} bytes, and a newline")
        lab.reset()
        # Once more with no readable memory after the segment; without this, it depends on luck.
        if size % PAGE == 0:
            segment_with(lab, text)
            run = attach(lab, interpose=("guarded_attach",), environment={"SHMLAB_DONE": "guarded"})
            if lab.box.exists("guarded"):
                require(run.signal is None, f"no byte after a segment of {size} bytes without a zero byte is read",
                        "this check left no readable memory after the segment", run.ending)
                run.require_success()
            lab.reset()


@points(1, read="shmdt(2), shmctl(2); handout, Steps")
def test_leaves_the_segment_alone(lab):
    """Before the program ends it has detached the segment and left it as it was."""
    old = segment_with(lab, b"hello\0")
    program = lab.start("sysv_attach", FILE, stop_at="end")
    program.wait_stopped()
    now = lab.segments()
    require(len(now) == 1 and not now[0].removed, "the segment is still there", now)
    require(now[0].nattch == 0, "nattch 0 just before the program ends", now)
    require((now[0].mode, now[0].size, now[0].ctime) == (old.mode, old.size, old.ctime),
            "the segment as it was: " + old.line, now)
    program.resume()
    program.wait().require_success()
    require_bytes(lab.segment_bytes(old), b"hello\0", "the segment keeps its bytes")


@points(1, read="shmget(2), EACCES; sysvipc(7); handout, Steps")
def test_permission(lab):
    """A segment that may only be read is printed, one that may not be read is an error."""
    segment_with(lab, b"read me\0", mode=0o400)
    run = attach(lab)
    require(run.exit_status == 0 and run.stdout == b"read me\n", "a segment with mode 0400 is printed", run.ending, run.stdout)
    for mode in 0o200, 0:
        lab.reset()
        segment_with(lab, b"secret\0", mode=mode)
        attach(lab).require_failure("shmget", "shmat", "shmctl", FILE, because=f"the segment has mode {mode:04o}")


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1 and cleans up."""

    def scenario(**fault):
        segment_with(lab, b"hello\0", file=PERCENT_FILE)
        run = attach(lab, PERCENT_FILE, **fault).require_no_format(PERCENT_FILE)
        # The first of each comes before anything can be printed.
        firsts = {call.name: call for call in reversed(run.program.calls) if call.name in ("ftok", "shmget", "shmctl", "shmat")}
        early = [call for call in firsts.values() if call.injected]
        require(not early or not run.stdout, "nothing on stdout if the program fails before it prints", early,
                "stdout:", run.stdout)
        return run

    lab.each_call_fails(scenario, FILE)
    lab.reset()
    if lab.private_ipc:
        lab.make_segment(NO_KEY, b"another's\0")
    run = lab.run("sysv_attach", "no_such_file")
    run.require_failure("ftok", "no_such_file", because="there is no file no_such_file")
    lab.run("sysv_attach", MANY_PERCENT).require_no_format(MANY_PERCENT)
    segment_with(lab, b"hello\0", file=MANY_PERCENT)
    attach(lab, MANY_PERCENT).require_no_format(MANY_PERCENT).require_success()
    for text in b"hello", b"":
        lab.reset()
        segment_with(lab, text + b"\0")
        run = lab.run("sysv_attach", FILE, stdout="/dev/full")
        require(run.exit_status == 1 and run.stderr,
                "exit status 1 and a message when stdout is full, also for the newline alone", run.ending)

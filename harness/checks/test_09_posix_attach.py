"""Lab 09: an unrelated program finds an object by its name and prints all its bytes."""
import errno
import os
import random
import re
from typing import Optional

from shmlab import LabFixture, points, require, require_bytes
from shmlab.judging.limits import STOP_SECONDS

PAGE = os.sysconf("SC_PAGE_SIZE")
TEXT = b"hello\0"
LONG_AGO = 1000000000  # 2001-09-09
MUCH = 100000  # bytes on stdout, more than a size above leaves in 32 bits
PERCENT_END, MANY_PERCENT = "-50%%", "%s" * 100  # as a format: one % less; reads missing arguments until killed
ODD_END = "-Aa B.%d." + "x" * 200  # a program that changes or cuts NAME, or copies it to a buffer, spoils this


def some_bytes(size: int) -> bytes:
    """Bytes of every value, the same each time; zero bytes at both ends."""
    content = bytearray(random.Random(size).randbytes(size))
    content[:1] = content[-1:] = b"\0"
    return bytes(content[:size])


def attach(lab: LabFixture, content: bytes = TEXT, mode: int = 0o600, end: str = "", **options):
    """Runs the program on a new object."""
    name = lab.name(end)
    lab.make_object(name, content, mode)
    return lab.run("posix_attach", name, **options).require_no_format(name)


def bytes_read(lab: LabFixture, program) -> Optional[int]:
    """Bytes that a stopped program has read with read(2) and the like, its libraries' included; None if they are not counted."""
    try:
        found = re.search(rb"^rchar: (\d+)$", lab.box.read(f"/proc/{program.pid}/io"), re.M)
    except OSError:
        return None
    return int(found.group(1)) if found else None


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    attach(lab).require_success()
    name = lab.name()
    lab.make_object(name, TEXT)
    for words in [], [name, "x"], [name, name]:
        lab.run("posix_attach", *words).require_usage()


@points(2, read="fstat(2), mmap(2), fwrite(3); handout, Steps")
def test_prints_all_bytes(lab):
    """The program prints all bytes of the object NAME, exactly, whatever they are and however many."""
    for content in TEXT, b"%s%n\n", some_bytes(1), some_bytes(PAGE - 1), some_bytes(PAGE), some_bytes(PAGE + 1), \
            some_bytes(3 * PAGE + 7), bytes(2 * PAGE), some_bytes(1000003):
        run = attach(lab, content).require_success()
        require_bytes(run.stdout, content, f"stdout is all of an object of {len(content)} bytes")
    run = attach(lab, some_bytes(PAGE + 7), fail=("write", 0, -400))
    require(run.exit_status == 0 and run.stdout == some_bytes(PAGE + 7),
            f"all of an object of {PAGE + 7} bytes is written, in several calls if one does not take all of it",
            "this check lets no write() take more than 400 bytes", f"{len(run.stdout)} bytes were written", run.ending)
    for end in "", ODD_END, MANY_PERCENT:
        run = attach(lab, end=end).require_success()
        run.require_name(run.program.words[0])
        require_bytes(run.stdout, TEXT, f"stdout is all of the object {run.program.words[0]}")
    # What the program opened is the object; by then another object may have the name.
    name, content = lab.name(), some_bytes(PAGE + 7)
    lab.make_object(name, content)
    program = lab.start("posix_attach", name, stop_at="shm_open")
    program.wait_stopped()
    lab.unlink_object(name)
    lab.make_object(name, b"a new object of the same name")
    program.resume()
    run = program.wait()
    story = "right after this program's shm_open() another process unlinked the name and made a new object of it"
    require(run.exit_status == 0, "the object that the program opened is printed", story, run.ending)
    require_bytes(run.stdout, content, f"stdout is all of the object that was opened ({story})")
    name, new = lab.name(), lab.name("-new")
    lab.make_object(name, b"an older object of the same name")
    lab.make_object(new, content)
    run = lab.run("posix_attach", name, interpose=("taken_meanwhile",),
                  environment={"SHMLAB_NAME": name, "SHMLAB_NEXT": new, "SHMLAB_MEANWHILE": "meanwhile"})
    if lab.box.exists("meanwhile"):
        story = "right before this program's shm_open() another process gave the name to a larger object (this check did that)"
        require(run.exit_status == 0, "the object that the program opened is printed", story, run.ending)
        require_bytes(run.stdout, content, f"stdout is all of the object that was opened ({story})")
    # 32 bits cannot hold these sizes: they become 0 and 6. The check does not wait for all of so large an object.
    maps = any(call.name == "mmap" for call in run.program.calls)
    for size in ([1 << 32, (1 << 32) + 6] if maps and not lab.san else []):
        name = lab.name()
        lab.make_object(name, TEXT)
        lab.set_object(name, b"", size=size)
        program = lab.start("posix_attach", name, limits={"address_mb": 16384})
        lab.pump(lambda: len(program.output) > MUCH or program.started.status is not None, STOP_SECONDS)
        if len(program.output) <= MUCH:
            run = program.wait()
            require(run.signal or run.exit_status == 1 and not run.stdout,
                    f"all {size} bytes of an object are printed, or none if they cannot be mapped", run.ending,
                    f"{len(run.stdout)} bytes on stdout", f"{size} in 32 bits is {size % (1 << 32)}")
        program.kill()
        lab.unlink_object(name)


@points(1, read="mmap(2), EINVAL; handout, Background")
def test_empty_object(lab):
    """For an empty object the program prints nothing and succeeds."""
    run = attach(lab, b"").require_success()
    require(run.stdout == b"", "nothing on stdout", run.stdout)


@points(1, read="shm_open(3), O_RDONLY; mmap(2), PROT_READ and MAP_SHARED; handout, Background")
def test_mapped_for_reading(lab):
    """The object is mapped shared, from first to last byte, for reading only, and printed from the mapping."""
    for size in 6, PAGE, 1000003:
        name = lab.name()
        lab.make_object(name, some_bytes(size))
        program = lab.start("posix_attach", name, stop_at=["mmap", "end"])
        program.wait_stopped()
        mine = [mapping for mapping in program.maps() if mapping.object == name]
        require(mine, f"/dev/shm{name} is mapped after mmap()", program.shared_maps())
        require(all(m.flags == "r--s" for m in mine), f"a line `r--s … /dev/shm{name}` in /proc/PID/maps", mine)
        whole = -(-size // PAGE) * PAGE
        require(any(m.offset == 0 and m.size == whole for m in mine),
                f"{whole} bytes mapped from offset 0 for an object of {size} bytes", mine)
        # The bytes are printed as they are in the object then, not as they were when it was opened.
        with os.fdopen(os.open(name[1:], os.O_WRONLY, dir_fd=lab.box.shm_fd), "wb") as file:
            file.write(b"Z" * size)
        program.resume()
        program.wait_stopped()
        used = bytes_read(lab, program)
        require(used is None or used < 1000003, "the bytes are printed from the mapping, and not read from the descriptor",
                f"/proc/{program.pid}/io: rchar {used}: that many bytes came from read() and the like")
        program.resume()
        run = program.wait().require_success()
        require_bytes(run.stdout, b"Z" * size, "stdout is what another process has stored before the mapping is read")


@points(1, read="munmap(2), close(2); handout, Steps")
def test_unmapped_and_closed(lab):
    """Before the program ends the object is neither mapped nor open."""
    for content in TEXT, b"", some_bytes(3 * PAGE + 7):
        name = lab.name()
        lab.make_object(name, content)
        program = lab.start("posix_attach", name, stop_at="end")
        program.wait_stopped()
        mine = [mapping for mapping in program.maps() if mapping.object == name]
        require(not mine, f"/dev/shm{name} is no longer mapped just before the program ends", mine)
        files = [file for file in program.open_files() if name in file]
        require(not files, f"/dev/shm{name} is no longer open just before the program ends",
                [f"a descriptor of /proc/{program.pid}/fd refers to {file}" for file in files])
        program.resume()
        program.wait().require_success()


@points(1, read="shm_open(3), ftruncate(2), shm_unlink(3); handout, Steps")
def test_leaves_the_object_alone(lab):
    """The object stays as it was: its name, bytes, size, mode and times of change; no other object is added."""
    for content, mode in (some_bytes(PAGE + 1), 0o640), (b"", 0o600), (some_bytes(5), 0o666):
        name = lab.name()
        old = lab.make_object(name, content, mode)
        # A time long ago: any write to the object, or change of its size, sets it to now.
        os.utime(name[1:], (LONG_AGO, LONG_AGO), dir_fd=lab.box.shm_fd)
        objects = lab.objects()
        lab.run("posix_attach", name).require_success()
        require(lab.objects() == objects, "the object is the only one and as it was: " + old.line, lab.objects())
        require_bytes(lab.object_bytes(name), content, "the object keeps its bytes")
        changed = os.stat(name[1:], dir_fd=lab.box.shm_fd).st_mtime
        require(changed == LONG_AGO, "the program did not write to the object or set its size, not even to the same value",
                f"the time of its last change, {changed - LONG_AGO:.0f} s after its creation")


@points(1, read="shm_open(3), O_CREAT and ENOENT; handout, Steps")
def test_absent_object(lab):
    """Without an object the program fails, and creates none."""
    name = lab.name()
    run = lab.run("posix_attach", name)
    require(not run.left_behind.objects, "no object is created", run.left_behind.objects)
    run.require_failure("shm_open", name)
    require(run.stdout == b"", "nothing on stdout", run.stdout)


@points(1, read="shm_open(3), EACCES; inode(7), S_ISREG; handout, Background")
def test_what_may_be_read(lab):
    """An object that may only be read is printed; one that may not be read, or anything but an object, is an error."""
    opened = [call for call in attach(lab).require_success().program.calls
              if call.name in ("shm_open", "open") and "shmlab" in call.text]
    require(all(call.arguments[0] & os.O_ACCMODE == os.O_RDONLY for call in opened), "the object is opened for reading only",
            opened)
    run = attach(lab, mode=0o400)
    require(run.exit_status == 0 and run.stdout == TEXT, "an object with mode 0400 is printed", run.ending, run.stdout)
    for mode in 0o200, 0:
        attach(lab, mode=mode).require_failure("shm_open", "/shmlab")
    shm = lab.box.shm_fd
    target, link, directory, pipe = (lab.name() for _ in range(4))
    lab.make_object(target, TEXT)
    ends = []
    try:
        os.symlink(target[1:], link[1:], dir_fd=shm)
        os.mkdir(directory[1:], 0o755, dir_fd=shm)
        os.mkfifo(pipe[1:], 0o644, dir_fd=shm)
        os.chmod(pipe[1:], 0o644, dir_fd=shm)
        # While a process has a named pipe open for reading and writing, no open() of it waits for the other end.
        ends.append(os.open(pipe[1:], os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=shm))
        for name, kind in (link, "symbolic link"), (directory, "directory"), (pipe, "named pipe"):
            run = lab.run("posix_attach", name)
            require(run.exit_status == 1 and not run.stdout, "exit status 1 and nothing on stdout when "
                    f"/dev/shm{name} is a {kind}", run.ending, run.stdout)
            run.require_failure(name, *(["shm_open"] if name == link else []), because=f"/dev/shm{name} is a {kind}")
            require(not run.says_success, "no reason in the message if no call has failed", run.ending)
    finally:
        for end in ends:
            os.close(end)
        for remove, name in (os.unlink, pipe), (os.rmdir, directory), (os.unlink, link):
            try:
                remove(name[1:], dir_fd=shm)
            except FileNotFoundError:
                pass


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it and exits with status 1."""
    for content in TEXT, b"":
        lab.each_call_fails(lambda **fault: attach(lab, content, end=PERCENT_END, **fault), "/shmlab")
        lab.reset()
    lab.run("posix_attach", "/no/such/name").require_failure("shm_open", "/no/such/name")
    lab.run("posix_attach", "/no/such/" + MANY_PERCENT).require_no_format()
    for content in TEXT, some_bytes(100000):
        run = attach(lab, content, stdout="/dev/full")
        run.require_failure("stdout", "output", "write", "put", "print", "flush", "/shmlab", because="stdout is full")
        require(not run.other_reason(errno.ENOSPC), "if the message includes a reason, it is the failing call's", run.ending)

"""Lab 16: a file as shared memory, and a private mapping that does not change it."""
import errno
import os
from dataclasses import replace

from shmlab import LabFixture, points, require, require_bytes

PAGE = os.sysconf("SC_PAGE_SIZE")
PROGRAM = "mapped_file"
FILE = "notes"
LINE = b"0123456789abcdef\n"  # 17 bytes: no two pages are alike
HOLE = 64 << 20
FAR = 5 << 30
MS_SYNC = 4
PROT_WRITE = 2
# Never carried out. But as long as there is a rule for it, the spy keeps a new shared mapping read-only until the first
# store in it: so /proc/PID/maps tells whether there has been one.
WATCH_STORES = ("store", 99, 1)

BEFORE_THE_COPY = ("open", "fstat", "ftruncate", "posix_fallocate", "mmap")

# Size of the file, OFFSET and TEXT, each within the file: inside a page, at its edges, across, several pages.
PLACES = [(20, 7, "WORLD"), (1, 0, "x"), (PAGE, PAGE - 1, "z"), (3 * PAGE, PAGE - 4, "edge"),
          (3 * PAGE + 5, PAGE, "next"), (3 * PAGE + 5, 2 * PAGE - 3, "Grüße"), (3 * PAGE + 5, 3 * PAGE + 2, "end"),
          (5 * PAGE, 2 * PAGE - 1, "x" * (PAGE + 2))]
# The same where the file ends before TEXT does: within its last page, at its end, pages behind it.
GROWTHS = [(0, 0, "hello"), (10, 8, "hello"), (10, 10, "!"), (PAGE, PAGE, "next"), (PAGE - 1, 20, "x" * PAGE),
           (PAGE + 1, 5 * PAGE + 123, "far"), (0, 3 * PAGE - 2, "across")]


def content(size: int) -> bytes:
    return (LINE * (size // len(LINE) + 1))[:size]


def changed(old: bytes, offset: int, text: str) -> bytes:
    """What the file holds after TEXT has been stored."""
    new = text.encode()
    return old[:offset].ljust(offset, b"\0") + new + old[offset + len(new):]


def make(lab: LabFixture, size: int, mode: int = 0o666) -> bytes:
    """Creates FILE again, with that many bytes. Returns them."""
    if FILE in os.listdir(lab.box.work_fd):
        os.unlink(FILE, dir_fd=lab.box.work_fd)
    lab.box.put(FILE, content(size), mode)
    lab.preparations[:] = [f"a file {FILE}, {size} bytes, mode {mode:04o}"]
    return content(size)


def make_hole(lab: LabFixture, size: int = HOLE) -> None:
    """Creates FILE again: large, with no room reserved."""
    make(lab, 0)
    fd = os.open(FILE, os.O_RDWR | os.O_CLOEXEC, dir_fd=lab.box.work_fd)
    os.ftruncate(fd, size)
    os.close(fd)
    lab.preparations[:] = [f"a file {FILE}, {size} bytes, one hole: truncate -s {size} {FILE}"]


def stored(lab: LabFixture) -> bytes:
    """What an unrelated process reads in the file."""
    return lab.box.get(FILE, 64 << 20)


def status(lab: LabFixture) -> os.stat_result:
    return os.stat(FILE, dir_fd=lab.box.work_fd)


def is_stopped(lab: LabFixture, program) -> bool:
    """Waits until the program has stopped again, or has ended: it never waits for another process. Returns whether it has stopped."""
    lab.poll(lambda: program.state().phase == "stopped" or program.started.status is not None, 4)
    return program.state().phase == "stopped"


def store(lab: LabFixture, offset: int, text: str, *words: str, **options):
    return lab.run(PROGRAM, FILE, offset, text, *words, **options)


def mapped(program):
    """The program's mappings of the file."""
    return [mapping for mapping in program.maps() if os.path.basename(mapping.name) == FILE]


def require_window(program, offset: int, text: str, flags: str) -> int:
    """The file is mapped with these flags, as far as TEXT reaches. Returns the address of TEXT."""
    first = offset // PAGE * PAGE
    after = -(-(offset + len(text.encode())) // PAGE) * PAGE
    lines = mapped(program)
    require(lines, f"{FILE} is mapped", program.shared_maps())
    require(all(line.flags == flags for line in lines), f"a line `{flags} … {FILE}` in /proc/PID/maps", lines)
    require(sum(line.size for line in lines) == after - first and min(line.offset for line in lines) == first,
            f"{after - first:#x} bytes of {FILE} from {first:#x} on are mapped: the pages that contain TEXT", lines)
    return min(line.start for line in lines) + offset - first


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    old = make(lab, 100)
    store(lab, 7, "WORLD", "preview").require_success()
    for words in [], [FILE], [FILE, 7], [FILE, 7, "x", "Preview"], [FILE, 7, "x", "preview", "y"], [FILE, 7, ""]:
        lab.run(PROGRAM, *words).require_usage()
    for offset in -1, "+1", "1x", "", " 1", "0x10", (1 << 62) + 1, 1 << 63, (1 << 64) + 7:
        store(lab, offset, "x").require_usage()
    require_bytes(stored(lab), old, "the file is unchanged")


@points(1, read="mmap(2), memcpy(3); handout, Steps 5 and 6")
def test_text(lab):
    """TEXT is copied into the file through the mapping, to OFFSET; no other byte changes."""
    for size, offset, text in PLACES:
        old = make(lab, size)
        # The limit is for what is written through descriptors. To stores in a mapping it does not apply.
        run = store(lab, offset, text, limits={"file_mb": 0})
        require(run.signal != "SIGXFSZ" and os.strerror(errno.EFBIG) not in run.stderr,
                "TEXT gets into the file only by a store in the mapping",
                "the program may not write to files here (RLIMIT_FSIZE is 0), but it tried to", run.ending)
        run.require_success()
        require_bytes(stored(lab), changed(old, offset, text), f"the file with TEXT at {offset}")


@points(1, read="ftruncate(2); handout, Background and Step 2")
def test_growth(lab):
    """A file that is too short is made to end where TEXT ends, with zero bytes in between."""
    for size, offset, text in GROWTHS:
        old = make(lab, size)
        store(lab, offset, text).require_success()
        require_bytes(stored(lab), changed(old, offset, text), f"{size} bytes with TEXT at {offset}")
    # An end that no 32 bits hold. As posix_fallocate() fails, it costs no room.
    make(lab, 10)
    program = lab.start(PROGRAM, FILE, FAR, "far", limits={"file_mb": (FAR >> 20) + 1},
                        stop_at=["ftruncate", "posix_fallocate"], fail=("posix_fallocate", 1, errno.ENOSPC))
    while is_stopped(lab, program):
        call, size = program.recorded()[-1], status(lab).st_size
        if call.name == "ftruncate":
            require(size == FAR + 3, f"the file ends where TEXT ends, at byte {FAR + 3}", call, f"{FILE}: size {size}")
            program.resume()
            continue
        require(sum(call.arguments[1:3]) == FAR + 3, f"room is reserved up to byte {FAR + 3}, where TEXT ends", call)
        program.kill()
    program.wait()


@points(1, read="posix_fallocate(3), stat(2) and st_blocks; handout, Background and Step 3")
def test_room(lab):
    """Room for TEXT is reserved before TEXT is stored, and for nothing else: a hole stays a hole."""
    text = "room " * PAGE
    for hole, offset in (HOLE, HOLE // 2 + 123), (HOLE, HOLE + 3 * PAGE), (PAGE, HOLE // 2 + 123):
        make_hole(lab, hole)
        program = lab.start(PROGRAM, FILE, offset, text, stop_at="posix_fallocate")
        program.wait_stopped()
        now = status(lab)
        require(now.st_blocks * 512 >= len(text), f"room for {len(text)} bytes in the hole",
                f"{FILE}: size {now.st_size}, {now.st_blocks * 512} bytes of room")
        fd = os.open(FILE, os.O_RDONLY | os.O_CLOEXEC, dir_fd=lab.box.work_fd)
        require(not any(os.pread(fd, len(text), offset)), "TEXT is not stored yet", os.pread(fd, 60, offset))
        program.resume()
        program.wait().require_success()
        require_bytes(os.pread(fd, len(text) + 1, offset).rstrip(b"\0"), text.encode(), "TEXT in the hole")
        os.close(fd)
        now = status(lab)
        require(now.st_size == max(hole, offset + len(text)) and now.st_blocks * 512 < 1 << 20,
                f"{max(hole, offset + len(text))} bytes, with far less than 1 MiB of room",
                f"{FILE}: size {now.st_size}, {now.st_blocks * 512} bytes of room")
    run = store(lab, HOLE // 2, text, fail=("posix_fallocate", 1, errno.ENOSPC))
    run.require_failure("posix_fallocate", FILE)
    if lab.private_ipc:
        name = lab.name()
        lab.make_object(name, b"full", mode=0o666)
        lab.fill_shared_memory()
        run = lab.run(PROGRAM, "/dev/shm" + name, 5 * PAGE, "hello")
        require(run.signal is None, "if no room is left, the program reports it and is not killed", run.ending)
        run.require_failure("posix_fallocate", name)


@points(1, read="mmap(2), MAP_SHARED and offset; handout, Steps 4 and 5")
def test_window(lab):
    """The pages that contain TEXT are mapped shared, for reading and writing, and no others."""
    for size, offset, text in PLACES + GROWTHS[-2:]:
        make(lab, size)
        program = lab.start(PROGRAM, FILE, offset, text, stop_at=["mmap", "msync"], fail=WATCH_STORES)
        program.wait_stopped()
        early = stored(lab)[offset:offset + len(text.encode())]
        require(early != text.encode(), "TEXT is not in the file before it is copied into the mapping", early)
        program.resume()
        program.wait_stopped()
        # What is mapped for reading and writing stays "r--s" here as long as nothing has been stored in it.
        writable = any(call.name == "mmap" and call.arguments[1] & PROT_WRITE for call in program.recorded())
        untouched = writable and all(line.flags == "r--s" for line in mapped(program))
        late = stored(lab)[offset:offset + len(text.encode())]
        require(not untouched or late != text.encode(), "TEXT is copied into the mapping",
                "TEXT is in the file, but nothing was stored in the mapping: was it written through the descriptor?")
        require_window(program, offset, text, "r--s" if untouched else "rw-s")
        program.resume()
        program.wait().require_success()


@points(1, read="msync(2), MS_SYNC; handout, Background and Step 7")
def test_synchronised(lab):
    """The program waits until all of TEXT is on the file's device."""
    for size, offset, text in (20, 7, "WORLD"), (3 * PAGE + 5, 2 * PAGE - 3, "across"), PLACES[-1]:
        old = make(lab, size)
        program = lab.start(PROGRAM, FILE, offset, text, stop_at="msync")
        program.wait_stopped()
        at = require_window(program, offset, text, "rw-s")
        require_bytes(stored(lab), changed(old, offset, text), "TEXT is in the file after msync() has returned")
        program.resume()
        program.wait().require_success()
        # Whether the device has the bytes no other process can see: here the calls have to count.
        calls = [call for call in program.calls if call.name == "msync"]
        synced = set()
        for call in calls:
            start, size, flags = call.arguments[:3]
            if flags & MS_SYNC and not call.failed:
                synced |= set(range(start, start + size, PAGE))
        wanted = set(range(at // PAGE * PAGE, at + len(text.encode()), PAGE))
        require(wanted <= synced, f"msync(…, MS_SYNC) of each page that contains TEXT (MS_SYNC is {MS_SYNC})", calls)


def explore_kills(lab: LabFixture):
    """The program, killed at any step: of what it has stored, nothing is lost."""
    lab.reset()
    offset, text, old = 7, "WORLD", content(20)
    name = lab.make_object(lab.name(), old).name
    new = changed(old, offset, text)
    for end in lab.every_schedule((PROGRAM, f"/dev/shm{name}", offset, text), preemptions=0, deaths=1):
        copied = {step.offset + i for step in end.raw.steps if step.kind in ("store", "update") for i in range(step.size)}
        if copied >= set(range(offset, offset + len(text))):
            require_bytes(end.object_bytes(name) or b"", new, "once TEXT is copied it is in the file, wherever the program is killed")
    lab.reset()


@points(1, read="mmap(2), MAP_SHARED; handout, Background")
def test_killed_before_msync(lab):
    """TEXT is in the file for every other process even if the program is killed before its msync."""
    explore_kills(lab)
    for size, offset, text in (20, 7, "WORLD"), (10, PAGE + 7, "far"):
        old = make(lab, size)
        # Made to fail and stopped: the program has come to its msync(), and the kernel has heard nothing of it.
        program = lab.start(PROGRAM, FILE, offset, text, stop_at="msync", fail=("msync", 1, errno.EIO))
        program.wait_stopped()
        require_bytes(stored(lab), changed(old, offset, text), "TEXT is in the file before msync()")
        program.kill()
        program.wait()
        require_bytes(stored(lab), changed(old, offset, text), "TEXT is in the file after the program was killed")


@points(1, read="mmap(2), MAP_PRIVATE; handout, Background and Step 5")
def test_preview(lab):
    """A preview prints the pages with TEXT in them, from a private mapping; the file does not change, and may be
    read-only."""
    for mode, (size, offset, text) in [(0o666, place) for place in PLACES] + [(0o444, PLACES[0])]:
        old = make(lab, size, mode)
        # The later stops are where it has printed: at a munmap() that this check makes fail, or else at its end.
        program = lab.start(PROGRAM, FILE, offset, text, "preview", stop_at=["mmap", "munmap", "end"],
                            fail=("munmap", 1, errno.EINVAL))
        program.wait_stopped()
        at = require_window(program, offset, text, "rw-p")
        program.resume()
        while is_stopped(lab, program):
            for line in mapped(program):
                if line.start <= at < line.end:
                    copied = program.memory(replace(line, start=at, end=min(at + len(text.encode()), line.end)))
                    require_bytes(copied, text.encode()[:len(copied)], "TEXT is copied into the private mapping")
            program.resume()
        after = -(-(offset + len(text.encode())) // PAGE) * PAGE
        require_bytes(program.wait().stdout, changed(old, offset, text)[offset // PAGE * PAGE:after],
                      "stdout is the pages that contain TEXT, up to the end of the file")
        require_bytes(stored(lab), old, "the file is unchanged")
    # Offsets that no 32 bits hold. A preview stores nothing, so it costs no room either.
    make_hole(lab, FAR + 2 * PAGE)
    run = store(lab, FAR + 7, "far", "preview").require_success()
    require_bytes(run.stdout, changed(bytes(PAGE), 7, "far"), f"stdout is the page with TEXT, which begins at byte {FAR}")
    for size, offset, text in GROWTHS:
        old = make(lab, size)
        run = store(lab, offset, text, "preview")
        require(run.signal is None, "a preview past the end of the file is an error and no signal", run.ending)
        run.require_failure(FILE)
        require(not run.says_success, "the message includes no reason if no call has failed", run.ending)
        require(run.stdout == b"", "nothing on stdout", run.stdout)
        require_bytes(stored(lab), old, "the file is unchanged")


@points(1, read="open(2), EACCES and ENOENT; handout, Step 1")
def test_file_that_cannot_be_written(lab):
    """A file that does not exist or is not writable is an error; no file is created or changed."""
    for words in [], ["preview"]:
        store(lab, 0, "hello", *words).require_failure("open", FILE)
        require(FILE not in os.listdir(lab.box.work_fd), "no file is created", f"{FILE} exists")
    for size, offset, text in PLACES[0], GROWTHS[1]:
        old = make(lab, size, 0o444)
        store(lab, offset, text).require_failure("open", FILE)
        require_bytes(stored(lab), old, "the file is unchanged")


@points(1, read="handout, Step 8; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it and exits with status 1; until TEXT is stored, the file is unchanged."""

    def scenario(size, *words, fail=None):
        old, offset = make(lab, size), 2 if words else 5000
        run = store(lab, offset, "hello", *words, fail=fail)
        if fail and run.exit_status == 1:
            if words or fail[0] in BEFORE_THE_COPY:
                require_bytes(stored(lab), old, f"{fail[0]}() failed (this check made it fail): the file is unchanged")
            elif fail[0] in ("msync", "munmap"):
                require_bytes(stored(lab), changed(old, offset, "hello"), f"{fail[0]}() failed (this check made it fail): TEXT stays")
        return run

    for size in 0, 10:
        lab.each_call_fails(lambda **fault: scenario(size, **fault), FILE)
        lab.reset()
    lab.each_call_fails(lambda **fault: scenario(10, "preview", **fault), FILE)
    lab.reset()
    # What takes back can fail, too. Before the copy the size is given back, by a second ftruncate() if the first made it larger.
    make(lab, 10)
    store(lab, 5000, "hello", fail=[("mmap", 1, errno.ENOMEM), ("ftruncate", 2, errno.EIO)]).require_each_failure_told()
    lab.reset()
    make(lab, 10)
    run = store(lab, 2, "hello", "preview", stdout="/dev/full")
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message if stdout is full", run.ending)

"""Lab 08: a POSIX object with its size, its memory reserved, and a text in it."""
import errno
import os

from shmlab import LabFixture, points, require, require_bytes
from shmlab.judging.require import decimal_mode

PAGE = os.sysconf("SC_PAGE_SIZE")
# As a format, the first two print one % less, and the last reads missing arguments until a signal kills the program.
PERCENT_END, PERCENT_TEXT, MANY_PERCENT = "-50%%", "30%% off", "%s" * 100
ODD_END = "-Aa B.%d." + "x" * 200  # a program that changes or cuts NAME, or copies it to a buffer, spoils this


def create(lab: LabFixture, size=4096, text="hello", end="", **options):
    """Runs the program with a new name. Returns the run and the name."""
    name = lab.name(end)
    return lab.run("posix_create", name, size, text, **options), name


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    create(lab)[0].require_success()
    create(lab, size=6)[0].require_success()
    name = lab.name()
    for words in [], [name], [name, 10], [name, 10, "a", "b"]:
        lab.run("posix_create", *words).require_usage()
    for size in 5, 0, -1, "x", "10x", "", "0x100", 1 << 63, 1 << 64, (1 << 64) + 4096:
        run = lab.run("posix_create", name, size, "hello").require_usage()
        run.left_behind.require_nothing()


@points(1, read="ftruncate(2); handout, Steps")
def test_size(lab):
    """The object is exactly SIZE bytes large."""
    for size in 6, 100, PAGE, PAGE + 1, 1000003:
        run, name = create(lab, size)
        item = run.left_behind.one_object(name)
        require(item.size == size, f"size {size}", item)
        lab.reset()
    size = (1 << 32) + PAGE
    run, _ = create(lab, size)
    require(run.exit_status != 0, f"no success with SIZE {size}, which is more than this machine can provide", run.ending, lab.objects())


@points(1, read="shm_open(3), umask(2); handout, Background")
def test_mode(lab):
    """The object's mode is 0640, less what the umask takes away."""
    for umask, mode in (0o022, 0o640), (0o077, 0o600), (0o000, 0o640):
        run, name = create(lab, umask=umask)
        item = run.left_behind.one_object(name)
        require(item.mode == mode, f"mode {mode:04o} under umask {umask:03o}", item,
                decimal_mode(item.mode, 0o640, 0o666, 0o600, umask=umask))
        lab.reset()


@points(2, read="mmap(2), memcpy(3); handout, Steps")
def test_text(lab):
    """An unrelated process finds TEXT in the object NAME, whatever characters both have; neither is a format."""
    for size, text, end in (4096, "hello", ""), (6, "hello", ODD_END), (10000, "Grüße! " * 1000, ""), (1, "", ""), \
            (100, "100 %d %5s %%", ""), (9, PERCENT_TEXT, PERCENT_END), (300, MANY_PERCENT, MANY_PERCENT):
        run, name = create(lab, size, text, end)
        run.require_no_format(PERCENT_TEXT, name).left_behind.one_object(name)
        run.require_name(name)
        wanted = text.encode() + b"\0"
        require_bytes(lab.object_bytes(name)[: len(wanted)], wanted, "the object begins with TEXT and a zero byte")
        lab.reset()


@points(1, read="mmap(2), MAP_SHARED; handout, Steps")
def test_shared_mapping(lab):
    """The text is stored through a shared mapping of the object."""
    name = lab.name()
    program = lab.start("posix_create", name, 5000, "hello", stop_at="mmap")
    program.wait_stopped()
    mine = [mapping for mapping in program.maps() if mapping.object == name]
    require(mine, f"/dev/shm{name} is mapped after mmap()", program.shared_maps())
    require(all(m.flags == "rw-s" for m in mine), f"a line `rw-s … /dev/shm{name}` in /proc/PID/maps", mine)
    require(sum(m.size for m in mine) >= 5000, "all 5000 bytes of the object are mapped", mine)
    require(not any(lab.object_bytes(name)), "the bytes are not in the object before it is mapped", lab.object_bytes(name))
    lab.reset()
    name = lab.name()
    program = lab.start("posix_create", name, 5000, "hello", stop_at="store")
    program.wait_stopped()
    require(not any(lab.object_bytes(name)), "the bytes are not in the object before the first store into its mapping",
            lab.object_bytes(name))


@points(1, read="posix_fallocate(3); handout, Background")
def test_memory_is_reserved(lab):
    """All of the object's memory is reserved before the first store."""
    size = 40 * PAGE + 1
    run, name = create(lab, size)
    item = run.left_behind.one_object(name)
    require(item.reserved >= size, f"memory for all {size} bytes is reserved for the object", item)
    lab.reset()
    for number in errno.ENOSPC, errno.EFBIG:
        program = lab.start("posix_create", lab.name(), size, "hello", fail=("posix_fallocate", 1, number))
        run = program.wait()
        if any(call.injected for call in program.calls):
            run.require_failure("posix_fallocate", "/shmlab", because=f"posix_fallocate() failed with {errno.errorcode[number]}")
            run.left_behind.require_nothing()
    if lab.private_ipc:
        for leave in 0, PAGE, 4 * PAGE:
            lab.reset()
            lab.fill_shared_memory(leave)
            run, name = create(lab, size)
            require(run.signal is None, "if /dev/shm is full, the program reports that and is not killed", run.ending)
            run.require_failure("posix_fallocate", "fallocate", "write", name, because="/dev/shm is full")
            run.left_behind.require_nothing()


@points(1, read="munmap(2), close(2), shm_unlink(3); handout, Steps")
def test_unmapped_and_still_there(lab):
    """The mapping is gone and the descriptor closed before the program ends, and the object stays."""
    name = lab.name()
    program = lab.start("posix_create", name, 5000, "hello", stop_at="end")
    program.wait_stopped()
    mine = [mapping for mapping in program.maps() if mapping.object == name]
    require(not mine, f"/dev/shm{name} is no longer mapped just before the program ends", mine)
    opened = [f"/proc/{program.pid}/fd: a descriptor of {file}" for file in program.open_files() if name in file]
    require(not opened, f"the descriptor of {name} is closed just before the program ends", opened)
    program.resume()
    run = program.wait().require_success()
    run.left_behind.one_object(name)
    again = [call for call in run.program.calls if call.name == "close" and call.error == errno.EBADF]
    require(not again, "each descriptor is closed once: by the second close its number may be another file's", again)


def explore_creators(lab: LabFixture):
    """Every order of the steps of two programs that create one object: one of them does, and the other leaves it alone."""
    name, two = lab.name(), ((4096, "first"), (8192, "second"))
    for creators in lab.scenarios([two], [(*two, (100, "third"))]):
        for end in lab.every_schedule(*(("posix_create", name, size, text) for size, text in creators)):
            end.require_all_ended()
            made = [run for run in end.runs if run.exit_status == 0]
            require(len(made) == 1, "of two programs that create one object at the same time, one succeeds and the other fails",
                    *(run.ending for run in end.runs))
            others = tuple(text.encode() for run, (_, text) in zip(end.runs, creators) if run is not made[0])
            content = end.object_bytes(name) or b""
            require(not content.startswith(others), "the one that fails leaves the object alone",
                    f"{made[0].command} succeeded; the object begins with ", content[:20])


@points(1, read="shm_open(3), O_EXCL and EEXIST; handout, Steps")
def test_taken_name(lab):
    """If an object has the name already, the program fails and leaves the object as it is."""
    name = lab.name()
    old = lab.make_object(name, b"another program's")
    lab.run("posix_create", name, 4096, "hello").require_failure("shm_open", name, because="another process had "
                                                                 "already created an object of this name")
    now = lab.objects()
    require(now == [old], "the old object is the only one and as it was: " + old.line, now)
    require_bytes(lab.object_bytes(name), b"another program's", "the old object keeps its bytes")
    lab.reset()
    explore_creators(lab)
    # The same if the creator of the old object was killed half-way.
    lab.reset()
    name = lab.name()
    killed = lab.start("posix_create", name, 4096, "hello", stop_at="shm_open")
    killed.wait_stopped()
    killed.kill()
    lab.box.wait(killed.started, 2)
    if lab.object(name):  # that call has created the object
        run = lab.run("posix_create", name, 4096, "hello")
        run.require_failure("shm_open", name, because="an earlier run was killed right after shm_open() and left its object")
        require([item.name for item in lab.objects()] == [name], "the object of the killed program is the only one",
                lab.objects())
    # And if another process creates it at the last moment, after any check whether one exists.
    lab.reset()
    name = lab.name()
    run = lab.run("posix_create", name, 4096, "hello", interpose=("taken_meanwhile",),
                  environment={"SHMLAB_NAME": name, "SHMLAB_MEANWHILE": "meanwhile"})
    if lab.box.exists("meanwhile"):
        run.require_failure("shm_open", name, because="another process created an object of this name right before this program's "
                            "shm_open() with O_CREAT (this check did that), after any check whether one exists")
        require([item.name for item in lab.objects()] == [name], "the other object is the only one",
                lab.objects() or "/dev/shm: no object")
        require_bytes(lab.object_bytes(name), b"another's\0", "the other object keeps its bytes")


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1 and cleans up."""

    def scenario(**fault):
        run, name = create(lab, text=PERCENT_TEXT if fault else "hello", end=PERCENT_END, **fault)
        opened, removed = ({call.text for call in run.program.calls if call.name == kind} for kind in ("shm_open", "shm_unlink"))
        require(removed <= opened, "the program unlinks the name that it created",
                [call for call in run.program.calls if call.name in ("shm_open", "shm_unlink")])
        return run.require_no_format(PERCENT_TEXT, name)

    lab.each_call_fails(scenario, "/shmlab")
    lab.reset()
    run = lab.run("posix_create", "/no/such/name", 4096, "hello")
    run.require_failure("shm_open", "/no/such/name")
    lab.run("posix_create", "/no/such/" + MANY_PERCENT, 4096, MANY_PERCENT).require_no_format()
    run.left_behind.require_nothing()

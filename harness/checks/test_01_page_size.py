"""Lab 01: a mapping takes whole pages, and the program asks the system for the page size."""
import errno
import os
import resource

from shmlab import LabFixture, points, require, require_bytes
from shmlab.sandbox import native

PAGE = os.sysconf("SC_PAGE_SIZE")
LENGTHS = [1, PAGE - 1, PAGE, PAGE + 1, 7 * PAGE, 1000003, (1 << 24) + 1]  # a float cannot hold the last
IMPOSSIBLE = [0, 1 << 62, (1 << 64) - 1]

STORED = 32 << 20  # bytes; a program that only maps uses much less memory

# More than 31 and 32 bits can hold. What is mapped is not used, so this takes no memory.
LONG = [(1 << 31) - 1, (1 << 31) + PAGE, (1 << 32) - 1, (1 << 32) + 1, (1 << 34) + 5 * PAGE]


def answer(lengths, page: int = PAGE) -> bytes:
    """The lines that a right program prints."""
    rows = [(length, -(-length // page)) for length in lengths]
    return b"".join(b"%d %d %d\n" % (length, pages, pages * page) for length, pages in rows)


def mapped_in_turn(lab: LabFixture, lengths):
    """Runs the program, stopped after each mmap(). Returns each length with the anonymous mappings at that moment."""
    program = lab.start("page_size", *lengths, stop_at=[("mmap", 0), "end"])
    seen = []
    for length in lengths:
        program.wait_stopped()
        seen.append((length, [mapping for mapping in program.maps() if mapping.anonymous]))
        require(seen[-1][1], f"a shared anonymous mapping is there when {length} bytes have been mapped",
                "/proc/PID/maps has no line `rw-s … /dev/zero (deleted)`", program.maps())
        program.resume()
    return program, seen


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    lab.run("page_size", 1).require_success()
    for words in [], [""], ["x"], ["10x"], ["0x10"], [" 10"], ["-1"], ["+1"], ["1e3"], [1 << 64], [(1 << 64) + 1], [5, "x"]:
        run = lab.run("page_size", *words).require_usage()
        require(run.stdout == b"", "nothing on stdout when an argument is invalid, even if others are valid", run.stdout)


@points(2, read="handout, Background and Steps")
def test_lines(lab):
    """For each N there is one line: N, the whole pages that hold N bytes, and the bytes of those pages."""
    for lengths in LENGTHS, [PAGE], [5, 5, 3]:
        run = lab.run("page_size", *lengths).require_success()
        require_bytes(run.stdout, answer(lengths), f"stdout of page_size {' '.join(map(str, lengths))}")
    run = lab.run("page_size", "0010").require_success()
    require(run.stdout.split()[1:] == [b"1", b"%d" % PAGE] and int(run.stdout.split()[0]) == 10,
            "the length 0010 is ten bytes: its digits are decimal", "stdout:", run.stdout)
    if lab.san or lab.box.read("/proc/sys/vm/overcommit_memory").strip() == b"2":
        return  # the sanitizers map memory of their own; and without overcommit a machine may not have that many bytes
    # An unused mapping needs no memory: the kernel is told so, because it would not grant that much on every machine.
    lab.preparations.append("let the kernel map large lengths without memory for them, as with MAP_NORESERVE")
    most = resource.getrlimit(resource.RLIMIT_AS)[1]  # a shared server may have set one
    lengths = [length for length in LONG if most < 0 or length < most - (1 << 30)]
    program = lab.start("page_size", *lengths, interpose=("large_mappings",), limits={"address_mb": 0})
    if lab.poll(lambda: program.started.status is not None or program.resident_bytes() > STORED, 4) and (
            program.started.over_memory or program.started.status is None):
        return  # it stores in what it has mapped, which must not grow that large
    run = program.wait().require_success()
    for length, line in zip(lengths, [*run.stdout.splitlines(True), *[b""] * len(lengths)]):
        require_bytes(line, answer([length]), f"the line of {length} bytes (sizes need 64 bits, like size_t)")


@points(2, read="mmap(2), proc_pid_maps(5); handout, Background")
def test_length_of_the_mapping(lab):
    """While N bytes are mapped, the line in `/proc/PID/maps` is as long as the program prints."""
    program, seen = mapped_in_turn(lab, LENGTHS)
    program.wait_stopped()
    program.resume()
    lines = program.wait().stdout.splitlines()
    for (length, mappings), line in zip(seen, lines + [b""] * len(seen)):
        sizes = [mapping.size for mapping in mappings]
        words = line.split()
        require(words[:1] == [b"%d" % length] and words[2:] == [b"%d" % size for size in sizes[:1]],
                f"one line on stdout for {length} bytes, which ends with the length of the mapping, {sizes[0]}",
                mappings, "stdout:", line)


@points(1, read="mmap(2), MAP_SHARED, MAP_ANONYMOUS and PROT_READ; handout, Steps")
def test_kind_of_mapping(lab):
    """Each mapping is shared, anonymous, readable and writable."""
    for length, mappings in mapped_in_turn(lab, LENGTHS)[1]:
        require(mappings[0].flags == "rw-s", f"a line `rw-s … /dev/zero (deleted)` for {length} bytes", mappings)


@points(1, read="munmap(2); handout, Steps")
def test_one_at_a_time(lab):
    """Each mapping is gone before the next is made, and the last before the program ends."""
    program, seen = mapped_in_turn(lab, LENGTHS)
    for length, mappings in seen:
        require(len(mappings) == 1, f"one shared anonymous mapping while {length} bytes are mapped", mappings)
    program.wait_stopped()
    left = [mapping for mapping in program.maps() if mapping.anonymous]
    require(not left, "no shared anonymous mapping just before the program ends", left)


@points(1, read="sysconf(3), _SC_PAGESIZE; handout, Background")
def test_page_size_is_asked(lab):
    """The page size is what `sysconf(_SC_PAGESIZE)` returns, whatever it is."""
    lab.run("page_size", 1).require_success()
    if lab.san:
        return  # the sanitizers call sysconf() themselves, and do not expect this result
    box = lab.box
    box.put("sysconf.so", native.interposer("page_size", lab.cc).read_bytes(), 0o755)
    for page in 1024, 512, -1:
        lengths = [1, 1025, 5000]
        program = box.start(["./page_size", *map(str, lengths)],
                            {"LD_PRELOAD": f"{box.work}/sysconf.so", "SHMLAB_PAGE": str(page)})
        require(box.wait(program, 4), f"the program ends if sysconf() returns {page}")
        story = f"this check replaced the C library's sysconf() with one that returns {page}"
        said = bytes(program.output[2]).decode("utf-8", "replace").splitlines()
        if page > 0:
            wanted = answer(lengths, page).decode()
            require(bytes(program.output[1]).decode("utf-8", "replace") == wanted,
                    f"on a machine with pages of {page} bytes: " + wanted.replace("\n", "; "),
                    story, "stdout:", bytes(program.output[1]).decode("utf-8", "replace"), said)
        else:
            require(os.WIFEXITED(program.status) and os.WEXITSTATUS(program.status) == 1 and said,
                    "exit status 1 and a message when sysconf() fails", story, f"wait status {program.status}", said)
            require(any(word in " ".join(said).replace("page_size:", "").lower() for word in ("sysconf", "page")),
                    "the message names sysconf", story, said)


@points(1, read="mmap(2), EINVAL and ENOMEM; handout, Steps")
def test_impossible_lengths(lab):
    """A length that cannot be mapped, such as 0, ends the program with exit status 1, after the lines before it."""
    for length in IMPOSSIBLE:
        run = lab.run("page_size", PAGE, length, 2 * PAGE)
        run.require_failure("mmap", str(length))
        for call in [call for call in run.program.calls if call.name == "mmap" and call.failed]:
            require(not run.other_reason(call.error), "the reason in the message, if it has one, is that of mmap(): "
                    f"{os.strerror(call.error)}", run.ending)
        require([line.split()[:1] for line in run.stdout.splitlines()] == [[b"%d" % PAGE]],
                f"page_size {PAGE} {length} {2 * PAGE} prints the line of {PAGE}, and no other", "stdout:", run.stdout)


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1 and cleans up."""
    lab.each_call_fails(lambda **fault: lab.run("page_size", 7, PAGE + 1, **fault), "7", str(PAGE + 1))
    lab.reset()
    run = lab.run("page_size", 7, PAGE + 1, fail=("munmap", 1, errno.EINVAL))
    calls = run.program.calls
    failed = next((at for at, call in enumerate(calls) if call.injected), len(calls))
    later = [call for call in calls[failed:] if call.name == "mmap"]
    require(not later, "the program ends at once when munmap() has failed, and maps nothing more", later, run.ending)
    lab.reset()
    run = lab.run("page_size", 1, stdout="/dev/full")
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message when stdout is full", run.ending)

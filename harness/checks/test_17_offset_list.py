"""Lab 17: a list whose links are offsets, in an object that every process maps at another address."""
import errno
import os
import signal
import struct
import sys
from dataclasses import replace

from shmlab import LabFixture, points, require, require_bytes

PAGE = os.sysconf("SC_PAGE_SIZE")

# The layout of list.h.
MAGIC = 0x315453494C46464F
HEAD = struct.Struct("=QQQ")
NODE = struct.Struct("=QQ")
ALIGN = 8
FIRST = 16  # where in the head the first link lies

WORDS = [b"one", b"", b"Gr\xc3\xbc\xc3\x9fe", b"four four", b"%s%n\\n", b"x" * 5000, b"last"]


def pack(nodes, size, first=None):
    """An object with a list in it, built by this check. `nodes` are (offset, word), in the list's order."""
    raw = bytearray(size)
    offsets = [offset for offset, _ in nodes] + [0]
    HEAD.pack_into(raw, 0, MAGIC, size, offsets[0])
    for (offset, word), following in zip(nodes, offsets[1:]):
        raw[offset:offset + NODE.size + len(word)] = NODE.pack(following, len(word)) + word
    return raw


def in_a_row(words, gap=0, backwards=False):
    """Nodes one after the other, or in memory the other way round; and the offset after them all."""
    nodes, offset = [], HEAD.size
    for word in reversed(words) if backwards else words:
        nodes.append((offset, word))
        offset += -(-(NODE.size + len(word)) // ALIGN) * ALIGN + gap
    return nodes[::-1] if backwards else nodes, offset


def lines(words):
    return b"".join(word + b"\n" for word in words)


def unpack(raw: bytes):
    """The words of a builder's list. The check fails wherever it is not as list.h says."""
    require(len(raw) >= HEAD.size, f"an object with room for a head of {HEAD.size} bytes", f"it has {len(raw)} bytes")
    magic, size, link = HEAD.unpack_from(raw)
    require(magic == MAGIC, f"the magic is {MAGIC:#x}", f"magic {magic:#x}")
    require(size == len(raw), f"the size in the head is the object's: {len(raw)}", f"size {size}")
    words, taken, where = [], [], "first, in the head"
    while link:
        require(HEAD.size <= link <= len(raw) - NODE.size,
                f"{where}: an offset from the start of the object to a node within it, or 0", f"it is {link:#x}",
                f"the object has {len(raw):#x} bytes")
        require(link % ALIGN == 0, f"{where}: a multiple of {ALIGN}", f"it is {link:#x}")
        following, length = NODE.unpack_from(raw, link)
        end = link + NODE.size + length
        require(end <= len(raw), f"the node at {link:#x} ends within the object of {len(raw)} bytes",
                f"its length is {length}")
        require(all(end <= start or stop <= link for start, stop in taken), "no two nodes overlap",
                f"the node at {link:#x} overlaps another one")
        words.append(raw[link + NODE.size:end])
        taken.append((link, end))
        link, where = following, f"next, in the node at {link:#x}"
    return words


def build(lab: LabFixture, *words: bytes):
    """Runs the builder with a new name. Returns the name."""
    name = lab.name()
    run = lab.run("builder", name, *(os.fsdecode(word) for word in words)).require_success()
    run.left_behind.one_object(name)
    return name


def put(lab: LabFixture, raw: bytes, **options) -> str:
    """Creates an object of these bytes. Returns its name."""
    name = lab.name()
    lab.preparations.clear()
    lab.make_object(name, bytes(raw), **options)
    return name


def require_walk(lab: LabFixture, raw: bytes, words, what: str) -> None:
    """The walker prints the words of a list that a check built."""
    run = lab.run("walker", put(lab, raw)).require_success()
    require_bytes(run.stdout, lines(words), f"stdout is the words of {what}")


def require_refusals(lab: LabFixture, *bad) -> None:
    """The walker refuses each object, given as its bytes and what is wrong with it, and prints no word of it."""
    for some in range(0, len(bad), 4):  # a few at once: that takes less time
        started = [(lab.start("walker", put(lab, raw)), what) for raw, what in bad[some:some + 4]]
        for program, what in started:
            name = program.command.split()[1]
            lab.preparations[:] = [f"an object {name} with a bad list: {what}"]
            # A list of some pages is walked in far less time of the processor than `spins` stands for.
            lab.poll(lambda: program.started.status is not None or program.spins, 4)
            if program.started.status is None:
                require(False, "the walker ends, whatever the list contains", what, program.describe_state())
            run = program.wait()
            require(run.signal is None, "a bad list is an error, and does not kill the walker", what, run.ending)
            require(run.exit_status == 1, "the walker refuses the list with exit status 1", what, run.ending)
            run.require_failure(name)
            require(not run.says_success, "the message includes no reason if no call has failed", what, run.ending)
            require(run.stdout == b"", "no word of a bad list on stdout", what, run.stdout)


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    name = build(lab, b"hello", b"world")
    lab.run("walker", name).require_success()
    lab.run("builder").require_usage()
    lab.run("walker").require_usage()
    lab.run("walker", name, "x").require_usage()


def cut_off(lab: LabFixture, lengths) -> None:
    """Takes the last page from the builder's object just before its first store: SIGBUS kills the builder when it comes to
    what belongs there. So the list is never whole, and its magic must not be there either."""
    name = lab.name()
    builder = lab.start("builder", name, *("w" * length for length in lengths), stop_at=("store", 0))
    builder.wait_stopped()
    item = lab.object(name)
    require(item, f"/dev/shm{name} exists at the first store", lab.objects())
    require(item.mode == 0o600 and item.reserved >= item.size,
            "an object of mode 0600 whose memory is reserved before anything is stored in it", item)
    kept = (item.size - 1) // PAGE * PAGE
    lab.set_object(name, b"", size=kept)
    builder.resume()
    lab.poll(lambda: builder.started.status is not None, 4)
    status = builder.started.status
    if status is not None and (status == 99 << 8 and lab.san or os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS):
        head = lab.object_bytes(name, ALIGN)
        require(len(head) < ALIGN or int.from_bytes(head, sys.byteorder) != MAGIC,
                "the magic is stored last, when the list is complete: an incomplete list must not have it",
                f"the magic is there, although the builder could not store the bytes from {kept} to {item.size}: "
                "SIGBUS killed it there, because this check truncated the object before the first store")
    elif status is None:
        builder.wait()


def explore_builder(lab: LabFixture):
    """A builder that is killed at any point, also where memory is as weak as C11 allows: no half list has the magic."""
    words = [b"ab", b"c"]
    for weak in False, True:
        name = lab.name()
        for end in lab.every_schedule(("builder", name, *map(os.fsdecode, words)), preemptions=0, deaths=1, weak=weak):
            raw = end.object_bytes(name) or b""
            if name in end.objects and end.objects[name].size > len(raw):
                continue  # so large that the explorer does not keep it
            if len(raw) >= HEAD.size and HEAD.unpack_from(raw)[0] == MAGIC:
                when = "when a walker finds the magic, the list is finished, at whatever moment it comes"
                link = HEAD.unpack_from(raw)[2]
                require(HEAD.unpack_from(raw)[1] == len(raw) and HEAD.size <= link <= len(raw) - NODE.size, when, raw)
                require(unpack(raw) == words, when, raw)


@points(1, read="list.h; handout, Background and Steps")
def test_words(lab):
    """An unrelated process finds the words in the builder's object, linked by offsets in the order of the command
    line, and finds no list there before it is complete."""
    explore_builder(lab)
    lab.reset()
    for words in WORDS, [], [b""], [b"w%d" % i for i in range(200)]:
        found = unpack(lab.object_bytes(build(lab, *words)))
        for number, (got, wanted) in enumerate(zip(found, words)):
            require_bytes(got, wanted, f"word {number + 1}")
        require(len(found) == len(words), f"a list of {len(words)} words", f"{len(found)} words")
    # In the last page the object ends, and the mapping goes on. It is looked at there before munmap(), which is made to fail.
    name = lab.name()
    builder = lab.start("builder", name, "y" * 1000, "z" * 1000, stop_at=["mmap", "munmap"], fail=("munmap", 1, errno.EINVAL))
    builder.wait_stopped()
    mapping, item = next((m for m in builder.maps() if m.object == name), None), lab.object(name)
    require(mapping and item, f"/dev/shm{name} is mapped after mmap()", builder.shared_maps())
    after = replace(mapping, start=mapping.start + item.size)
    builder.set_memory(after, b"\xff" * after.size)
    builder.resume()
    builder.wait_stopped()
    require_bytes(builder.memory(after), b"\xff" * after.size, "nothing is stored past the end of the object")
    # A long word in the last page, whether the first word lies there or the last one.
    for lengths in (1000, 1000, 5000), (5000, 1000, 1000):
        cut_off(lab, lengths)


@points(1, read="list.h; handout, Steps")
def test_peers(lab):
    """The reference walker prints what your builder built, and your walker what the reference builder built."""
    for words in WORDS, []:
        run = lab.reference("walker", build(lab, *words)).wait()
        require(run.exit_status == 0, "the reference walker accepts your builder's list", run.ending)
        require_bytes(run.stdout, lines(words), "the reference walker prints the words")
        name = lab.name()
        lab.reference("builder", name, *(os.fsdecode(word) for word in words)).wait().require_success()
        run = lab.run("walker", name).require_success()
        require_bytes(run.stdout, lines(words), "your walker prints the words of the reference builder")


@points(1, read="list.h; fwrite(3); handout, Background and Steps")
def test_any_layout(lab):
    """The walker prints every word of any valid list, wherever its nodes are in the object, byte for byte."""
    for gap in 0, 40:
        for backwards in False, True:
            nodes, end = in_a_row(WORDS + [b"two\nlines", b"zero\0byte", b"\xff"], gap, backwards)
            words = [word for _, word in nodes]
            require_walk(lab, pack(nodes, end + gap), words, "a list with gaps" if gap else "a list")
    require_walk(lab, pack([], HEAD.size), [], "an empty list in an object that is only a head")
    require_walk(lab, pack([], 5 * PAGE), [], "an empty list in a large object")
    nodes, end = in_a_row([b""] * 70000)
    require_walk(lab, pack(nodes, end), [b""] * 70000, "70000 empty words that fill their object")
    nodes, end = in_a_row([b"one", b"ends with the object"])
    words = [word for _, word in nodes]
    require_walk(lab, pack(nodes, end - 4), words, "a list that ends with its object's last byte")
    require_walk(lab, pack([(3 * PAGE - 16, b"")], 3 * PAGE), [b""], "an empty word at the very end")


@points(1, read="mmap(2); handout, Background")
def test_mapped_elsewhere(lab):
    """The list can be read at whatever address the object is mapped, and contains none of the builder's addresses."""

    def address(program, name):
        program.wait_stopped()
        mine = [mapping for mapping in program.maps() if mapping.object == name]
        require(mine, f"/dev/shm{name} is mapped after mmap()", program.shared_maps())
        program.resume()
        return mine[0]

    words = [b"one", b"two", b"three"]
    name = lab.name()
    builder = lab.start("builder", name, *(word.decode() for word in words), stop_at="mmap")
    mapping = address(builder, name)
    builder.wait().require_success()
    raw = lab.object_bytes(name)
    held = [value[0] for value in struct.iter_unpack("=Q", raw[:len(raw) // 8 * 8])]
    bad = [hex(value) for value in held if mapping.start <= value < mapping.end]
    require(not bad, "no address in the object: the next process maps it at another address", bad, mapping)
    # The same list in objects so different in size that the kernel cannot put them all at one address, even where it
    # does not try to.
    seen = []
    for pages in 0, 1, 20, 300:
        copy = bytearray(raw) + bytes(pages * PAGE)
        struct.pack_into("=Q", copy, 8, len(copy))
        name = put(lab, copy)
        walker = lab.start("walker", name, stop_at="mmap")
        seen.append(address(walker, name))
        require_bytes(walker.wait().require_success().stdout, lines(words), "stdout is the words")
    require(len({mapping.start for mapping in seen}) > 1, "the walker maps the object at an address that the kernel chooses", seen)


@points(1, read="mmap(2), PROT_READ; shm_open(3), O_RDONLY; handout, Steps")
def test_read_only(lab):
    """The walker maps the object read-only, and does not change it."""
    nodes, end = in_a_row(WORDS)
    raw = pack(nodes, end)
    name = lab.name()
    old = lab.make_object(name, bytes(raw), mode=0o400)
    program = lab.start("walker", name, stop_at="mmap")
    program.wait_stopped()
    mine = [mapping for mapping in program.maps() if mapping.object == name]
    require(mine and all(mapping.flags == "r--s" for mapping in mine),
            f"a line `r--s … /dev/shm{name}` in /proc/PID/maps", mine or program.shared_maps())
    program.resume()
    require_bytes(program.wait().require_success().stdout, lines(WORDS), "stdout is the words")
    require(lab.objects() == [old], "the object is unchanged, and there is no other: " + old.line, lab.objects())
    require_bytes(lab.object_bytes(name), bytes(raw), "the object keeps its contents")


# A good list to spoil: three pages, not in order, with room behind the last node.
NODES = [(PAGE + 80, b"first"), (PAGE - 24, b"over a page boundary"), (2 * PAGE + 200, b"third"), (64, b"last")]
SIZE = 2 * PAGE + 2000
GOOD = pack(NODES, SIZE)


def spoilt(at: int, value: int, good: bytes = GOOD) -> bytes:
    """A good list with another number at an offset."""
    raw = bytearray(good)
    struct.pack_into("=Q", raw, at, value)
    return bytes(raw)


@points(1, read="list.h; fstat(2); handout, Steps")
def test_heads(lab):
    """An object that is not a list, not complete yet, or truncated is refused: exit status 1, a message, and no word."""
    require_walk(lab, GOOD, [word for _, word in NODES], "a valid list")
    swapped = int.from_bytes(MAGIC.to_bytes(8, "little"), "big")
    require_refusals(lab, *((spoilt(0, magic), f"the magic is {magic:#x}, not {MAGIC:#x}")
                            for magic in (0, MAGIC ^ 1, MAGIC ^ 1 << 32, MAGIC ^ 1 << 63, swapped)))
    require_refusals(lab, *((spoilt(8, size), f"the size in the head is {size}, the object has {SIZE} bytes")
                            for size in (0, SIZE - 8, SIZE + 8, 300 * PAGE, (1 << 32) + SIZE, 1 << 63)))
    require_refusals(lab, *((GOOD[:size], f"the object was truncated to {size} bytes, the list has {SIZE}")
                            for size in (0, 8, HEAD.size - 1, HEAD.size, PAGE, 2 * PAGE, SIZE - 1)))


@points(1, read="list.h; handout, Background (Trust) and Steps")
def test_links(lab):
    """A link to the head, past the end or to a misaligned place is refused, and a word that is too long, before any
    word is printed."""
    require_walk(lab, GOOD, [word for _, word in NODES], "a valid list")
    top = 1 << 64
    # At SIZE - 1004 there are only zero bytes: a fine node, were it not misaligned.
    # And 2 to the power of 32 beyond the last node: that node, were it not for the upper half of the number.
    middle, last = NODES[1][0], NODES[-1][0]
    links = [8, 16, SIZE - 1004, SIZE - 8, SIZE, 3 * PAGE, (1 << 32) + last, 0x7FFFF7FBF050, 1 << 63, top - 8, top - PAGE]
    places = [("head", FIRST, links), ("second node", middle, links), ("last node", last, [16, 68, SIZE, top - 8])]
    for where, at, values in places:
        what = f"of {SIZE:#x} bytes, and the link in the {where} is"
        require_refusals(lab, *((spoilt(at, value), f"an object {what} {value:#x}") for value in values))
    # So large that nothing is mapped just before it, where a sum that has wrapped round leads.
    large = pack(NODES, SIZE + 500 * PAGE)
    what = f"a link is {top - 16:#x}, the object has {len(large):#x} bytes"
    require_refusals(lab, *((spoilt(at, top - 16, large), what) for at in (FIRST, last)))
    for at, _ in NODES[:3]:
        long = SIZE - at - NODE.size + 1
        require_refusals(lab, (spoilt(at + 8, long), f"the word at {at:#x} has length {long:#x}, and room for {long - 1:#x}"))
    room = SIZE - last - NODE.size
    lengths = [room + 1, 3 * PAGE, 1 << 63, top - 1, top - last - NODE.size]
    require_refusals(lab, *((spoilt(last + 8, length), f"the last word has length {length:#x}, and room for {room:#x}")
                            for length in lengths))


@points(1, read="handout, Background (Trust) and Steps")
def test_circles(lab):
    """A list with a cycle is refused: the walker ends, and no word is printed."""
    require_walk(lab, GOOD, [word for _, word in NODES], "a valid list")
    first, second, third, last = (offset for offset, _ in NODES)
    links = [(first, first), (second, first), (last, first), (last, third), (last, last)]
    require_refusals(lab, *((spoilt(at, target), f"next, in the node at {at}, leads to the node at {target}: a cycle")
                            for at, target in links))
    nodes, end = in_a_row([b"word"] * 1000)
    raw = pack(nodes, end + 100 * PAGE)
    struct.pack_into("=Q", raw, nodes[-1][0], nodes[500][0])
    require_refusals(lab, (raw, "the last of 1000 nodes leads back to the 501st"))
    nodes, end = in_a_row([b"y" * 3000000, b"z"])
    raw = pack(nodes, end)
    struct.pack_into("=Q", raw, nodes[-1][0], nodes[0][0])
    require_refusals(lab, (raw, "the second node leads back to the first, whose word has 3000000 bytes"))


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it and exits with status 1; the builder leaves no new object, and takes no
    name that is taken."""
    lab.each_call_fails(lambda **fault: lab.run("builder", lab.name(), "one", "two", **fault), "/shmlab")
    lab.each_call_fails(lambda **fault: lab.run("walker", put(lab, GOOD), **fault), "/shmlab")
    lab.reset()
    name = lab.name()
    old = lab.make_object(name, b"another user's")
    lab.run("builder", name, "one").require_failure("shm_open", name)
    require(lab.objects() == [old], "the old object is unchanged, and there is no other: " + old.line, lab.objects())
    require_bytes(lab.object_bytes(name), b"another user's", "the old object keeps its contents")
    for program in "builder", "walker":
        run = lab.run(program, "/no/such/name")
        run.require_failure("shm_open", "/no/such/name")
        opened = [call for call in run.program.calls if call.name == "shm_open"]
        require(all(call.text == "/no/such/name" for call in opened), "NAME is passed to shm_open() unchanged", opened)
    run = lab.run("walker", lab.name())
    run.require_failure("shm_open", "/shmlab")
    run.left_behind.require_nothing()
    run = lab.run("walker", put(lab, GOOD), stdout="/dev/full")
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message if stdout is full", run.ending)

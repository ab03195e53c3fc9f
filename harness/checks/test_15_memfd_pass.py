"""Lab 15: memory without a name goes from one stranger to another, sealed; neither trusts the other."""
import errno
import fcntl
import mmap
import os
import select
import socket
from contextlib import contextmanager, suppress

from shmlab import LabFixture, points, require, require_bytes
from shmlab.sandbox.kernel import show

SOCKET = "meeting"
SEALS = {1: "F_SEAL_SEAL", 2: "F_SEAL_SHRINK", 4: "F_SEAL_GROW", 16: "F_SEAL_FUTURE_WRITE"}
ADD_SEALS, GET_SEALS = 1033, 1034  # Python has these names from 3.8 on, and the last seal from 3.13 on
WAIT_SECONDS = 4.0

# Never carried out. But as long as there is a rule for it, the spy keeps a new shared mapping read-only until the first
# store in it: so /proc/PID/maps tells whether there has been one.
WATCH_STORES = ("store", 99, 1)

LARGE = (1 << 32) + 6


def names(seals: int) -> str:
    return " | ".join(name for bit, name in SEALS.items() if seals & bit) or "no seal"


def exists(lab: LabFixture) -> bool:
    return SOCKET in os.listdir(lab.box.work_fd)


def address(lab: LabFixture) -> str:
    """The socket as a process outside of the box can reach it."""
    return f"/proc/self/fd/{lab.box.work_fd}/{SOCKET}"


# ---- this check as a receiver


@contextmanager
def connected(lab: LabFixture, sender):
    """Connects to the student's sender as soon as it listens. Yields None if it ends first."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(WAIT_SECONDS)

        def connects() -> bool:
            if sender.started.status is not None:
                return True
            try:
                connection.connect(address(lab))
                found.append(connection)
            except (FileNotFoundError, ConnectionRefusedError):
                pass
            return bool(found)

        found = []
        require(lab.poll(connects, WAIT_SECONDS), "the sender waits at the socket", sender.describe_state())
        yield found[0] if found else None


@contextmanager
def taken(lab: LabFixture, sender):
    """Takes what the student's sender sends. Yields the descriptors, the data beside them, and the connection."""
    found, data = [], b""
    with connected(lab, sender) as connection:
        try:
            if connection:
                data, found[:] = socket.recv_fds(connection, 1 << 16, 8, socket.MSG_CMSG_CLOEXEC)[:2]
        except ConnectionResetError:
            pass
        except socket.timeout:
            require(False, "the sender sends its message to the process that connects", sender.describe_state())
        try:
            yield found, data, connection
        finally:
            for descriptor in found:
                os.close(descriptor)


def one_memory(sender, message) -> int:
    """The descriptor that a sender has sent, if it is the only one and a memfd, beside one byte of data."""
    descriptors, data, _ = message
    if not descriptors:
        sender.fixture.poll(lambda: sender.started.status is not None, WAIT_SECONDS)
    ending = sender.wait().ending if sender.started.status is not None else []
    require(len(descriptors) == 1, "the sender sends one descriptor", f"it sent {len(descriptors)}",
            "is cmsg_len CMSG_SPACE() instead of CMSG_LEN()? Then the padding after the descriptor is sent as another one"
            if len(descriptors) > 1 else [], ending)
    require(len(data) == 1, "the message is one byte of data and the descriptor",
            f"it has {len(data)} bytes: {show(data, 40)}")
    target = os.readlink(f"/proc/self/fd/{descriptors[0]}")
    require(target.startswith("/memfd:"), "the descriptor refers to a memfd", f"it refers to {target}")
    return descriptors[0]


def require_closed_by_exec(program) -> None:
    """What a stopped program has of a memfd has to be closed if it ever becomes another one."""
    for number, target in program.descriptors().items():
        if target.startswith("/memfd:"):
            flags = program.fixture.box.read(f"/proc/{program.pid}/fdinfo/{number}").split(b"flags:")[1].split()[0]
            require(int(flags, 8) & os.O_CLOEXEC, f"exec closes the descriptor of the memfd in the {program.name}",
                    f"/proc/{program.pid}/fdinfo/{number}: flags {flags.decode()}, without O_CLOEXEC ({os.O_CLOEXEC:o})")


def asked_to_write(program) -> bool:
    """Whether it has asked for a mapping that it can write to."""
    return any(call.name == "mmap" and call.arguments[1] & mmap.PROT_WRITE and not call.failed for call in program.recorded())


# ---- this check as a sender


def sealed(content: bytes, seals: int = sum(SEALS)) -> int:
    """A memfd with these bytes and seals."""
    descriptor = os.memfd_create("check", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.fchmod(descriptor, 0o600)
    os.write(descriptor, content)
    fcntl.fcntl(descriptor, ADD_SEALS, seals)
    return descriptor


def one_more_seal() -> int:
    """F_SEAL_EXEC, which is none of the four, where the kernel has it (Linux 6.3); else 0."""
    descriptor = sealed(b"", 0)
    try:
        fcntl.fcntl(descriptor, ADD_SEALS, 32)
        return 32
    except OSError:
        return 0
    finally:
        os.close(descriptor)


@contextmanager
def sending(lab: LabFixture, descriptors, data: bytes = b"\0", look=lambda receiver: None, **options):
    """Starts the student's receiver and sends it this, without data nothing; then hangs up. Closes the descriptors.

    `look` is called with the receiver when it waits for the message.
    """
    if exists(lab):
        os.unlink(SOCKET, dir_fd=lab.box.work_fd)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address(lab))
        os.chmod(SOCKET, 0o777, dir_fd=lab.box.work_fd)
        listener.listen(1)
        try:
            receiver = lab.start("receiver", SOCKET, **options)

            def comes() -> bool:
                return bool(select.select([listener], [], [], 0)[0]) or receiver.started.status is not None

            require(lab.poll(comes, WAIT_SECONDS), "the receiver connects to the socket", receiver.describe_state())
            if select.select([listener], [], [], 0)[0]:
                with listener.accept()[0] as connection:
                    require(lab.settle(receiver) != "runs", "the receiver sleeps until the message arrives",
                            receiver.describe_state())
                    look(receiver)
                    try:
                        if data:
                            socket.send_fds(connection, [data], descriptors)
                    except (BrokenPipeError, ConnectionResetError):
                        pass  # it has hung up: its ending tells why
            yield receiver
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def prints(lab: LabFixture, content: bytes, wanted: bytes, more: int = 0, **options) -> None:
    with sending(lab, [sealed(content, sum(SEALS) | more)], **options) as receiver:
        run = receiver.wait()
    require(run.exit_status == 0, "the receiver accepts a memfd that has all four seals",
            f"it also has F_SEAL_EXEC ({more})" if more else [], run.ending)
    require_bytes(run.stdout, wanted, "stdout is the text and a newline")


def refused(lab: LabFixture, what: str, descriptors, data: bytes = b"\0", **options) -> None:
    """The receiver must refuse this, and print nothing."""
    with sending(lab, descriptors, data, **options) as receiver:
        run = receiver.wait()
    require(run.exit_status == 1 and run.stderr and "TODO" not in run.stderr,
            "a message and exit status 1", f"the sender {what}", run.ending)
    require(run.says((SOCKET, "recvmsg", "fcntl", "fstat", "mmap")), f"the message names the call or {SOCKET}",
            f"the sender {what}", run.ending)
    require(not run.says_success, "the message includes no reason if no call has failed",
            f"the sender {what}", run.ending)
    require(run.stdout == b"", "nothing on stdout", f"the sender {what}", f"stdout: {show(run.stdout)}")


# ---- the checks


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    sender = lab.start("sender", SOCKET, "hello", stop_at=["listen", "sendmsg"])
    sender.wait_stopped()
    sender.resume()
    receiver = lab.start("receiver", SOCKET)
    lab.poll(lambda: sender.started.status is not None or sender.state().phase == "stopped", WAIT_SECONDS)
    lab.settle(receiver)  # with what is there when it has been sent
    sender.resume()
    run = receiver.wait().require_success()
    sender.wait().require_success()
    require_bytes(run.stdout, b"hello\n", "your receiver prints what your sender sends")
    for program, *words in ["sender"], ["sender", SOCKET], ["sender", SOCKET, "a", "b"], ["receiver"], ["receiver", SOCKET, "x"]:
        lab.run(program, *words).require_usage()


@points(1, read="ftruncate(2), mmap(2); handout, Steps")
def test_sender_hands_over_the_text(lab):
    """The sender's memory is exactly as large as TEXT with its terminating zero byte, holds it, and outlives the sender."""
    for text in "hello", "", "Grüße! " * 2000:
        wanted = text.encode() + b"\0"
        sender = lab.start("sender", SOCKET, text)
        require(lab.settle(sender) != "runs", "the sender sleeps until a receiver connects", sender.describe_state())
        with taken(lab, sender) as message:
            descriptor = one_memory(sender, message)
            sender.wait().require_success()
            size = os.fstat(descriptor).st_size
            require(size == len(wanted), f"a memfd of {len(wanted)} bytes", f"it has {size} bytes")
            require_bytes(os.pread(descriptor, size, 0), wanted, "the memory holds TEXT and a zero byte after the sender has ended")
            more = message[2].recv(100)
            require(not more, "the sender sends one message", f"after it arrived {show(more)}")
        lab.reset()


@points(1, read="fcntl(2), File Sealing; memfd_create(2); handout, Background")
def test_sender_seals(lab):
    """The receiving process cannot shrink, grow or write the sender's memory, and cannot change that."""
    sender = lab.start("sender", SOCKET, "hello")
    with taken(lab, sender) as message:
        descriptor = one_memory(sender, message)
        sender.wait().require_success()
        seals = fcntl.fcntl(descriptor, GET_SEALS)
        missing = sum(bit for bit in SEALS if not seals & bit)
        require(not missing, f"the seals {names(sum(SEALS))}", f"F_GET_SEALS: {names(seals)}", f"missing: {names(missing)}")
        for what, attempt in (
                ("ftruncate to 0", lambda: os.ftruncate(descriptor, 0)),
                ("ftruncate to 8192", lambda: os.ftruncate(descriptor, 8192)),
                ("write", lambda: os.pwrite(descriptor, b"X", 0)),
                ("mmap for writing", lambda: mmap.mmap(descriptor, 1, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)),
                ("adding a seal", lambda: fcntl.fcntl(descriptor, ADD_SEALS, 8))):
            try:
                attempt()
                number = 0
            except OSError as error:
                if error.errno in (errno.ENOMEM, errno.EMFILE, errno.ENFILE):
                    raise  # of this process
                number = error.errno
            require(number == errno.EPERM, f"{what}, by the receiver, fails with EPERM",
                    errno.errorcode.get(number, "it succeeds"))


@points(1, read="mmap(2), strnlen(3); handout, Steps")
def test_receiver_prints_the_text(lab):
    """The receiver prints the text that an unrelated sender sent, up to its zero byte or to the end of the memory."""
    page = os.sysconf("SC_PAGE_SIZE")
    for content, wanted in ((b"hello\0", b"hello\n"), (b"\0", b"\n"), (b"one\0two\0", b"one\n"),
                            (b"x" * page, b"x" * page + b"\n"),
                            ("Grüße! ".encode() * 20000 + b"\0", "Grüße! ".encode() * 20000 + b"\n")):
        prints(lab, content, wanted)
    refused(lab, "sends empty memory", [sealed(b"")])
    # Larger than 32 bits can say. As every mmap() fails, it costs no memory.
    large = os.memfd_create("check", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.ftruncate(large, LARGE)
    os.pwrite(large, b"hello\0", 0)
    fcntl.fcntl(large, ADD_SEALS, sum(SEALS))
    with sending(lab, [large], fail=("mmap", 0, errno.ENOMEM)) as receiver:
        receiver.wait()
    asked = [call for call in receiver.calls if call.name == "mmap" and call.arguments[3] >= 0]
    require(all(call.arguments[0] >= LARGE for call in asked), f"all of the memory, {LARGE} bytes, is mapped", asked)


@points(1, read="proc(5), /proc/PID/maps; memfd_create(2); handout, Background")
def test_one_memory_without_a_name(lab):
    """Both programs map the same memory, the sender for writing and the receiver read-only, and it has no name."""
    sender = lab.start("sender", SOCKET, "hello", stop_at="sendmsg", fail=WATCH_STORES)
    with taken(lab, sender) as message:
        descriptor = one_memory(sender, message)
        inode = os.fstat(descriptor).st_ino
        sender.wait_stopped()
        mine = [mapping for mapping in sender.maps() if mapping.memfd is not None]
        if os.pread(descriptor, 5, 0) == b"hello" and any(m.flags == "r--s" and m.inode == inode for m in mine):
            require(not asked_to_write(sender), "the text is copied into the mapping",
                    "the memory holds the text, but nothing was stored in the mapping: "
                    "was the text written through the descriptor?")
        require([(m.flags, m.inode) for m in mine] == [("rw-s", inode)],
                f"in the sender, after it has sent the descriptor, a line `rw-s … {inode} /memfd:…` in /proc/PID/maps",
                mine or sender.shared_maps())
        require_bytes(os.pread(descriptor, 5, 0), b"hello", "after the descriptor has been sent, the memory holds the text")
        require_closed_by_exec(sender)
        require(not lab.objects(), "nothing in /dev/shm", lab.objects())
        sender.resume()
        sender.wait().require_success()
    descriptor = sealed(b"hello\0")
    inode = os.fstat(descriptor).st_ino
    with sending(lab, [descriptor], stop_at="mmap") as receiver:
        receiver.wait_stopped()
        mine = [mapping for mapping in receiver.maps() if mapping.memfd is not None]
        require([(m.flags, m.inode) for m in mine] == [("r--s", inode)],
                f"in the receiver, after mmap(), a line `r--s … {inode} /memfd:…` in /proc/PID/maps",
                mine or receiver.shared_maps())
        require_closed_by_exec(receiver)
        receiver.resume()
        receiver.wait().require_success()


@points(1, read="cmsg(3), recvmsg(2) and MSG_CTRUNC; handout, Background")
def test_receiver_wants_one_descriptor(lab):
    """The receiver refuses a message that was truncated or does not bring exactly one descriptor."""
    numbers = set()

    def look(receiver) -> None:
        with suppress(OSError):  # it has ended: how is told elsewhere
            numbers.update(receiver.descriptors())

    prints(lab, b"hello\0", b"hello\n", look=look)
    for count in 0, 2, 3:
        refused(lab, f"sends a message with {count} descriptors", [sealed(b"hello\0") for _ in range(count)])
    # Where the receiver has too few numbers left, the kernel cuts off the rest, however large the buffer is.
    if numbers == set(range(len(numbers))):  # else a number is free below the limit, and it would be another case
        for left in 0, 1:
            limit = len(numbers) + left
            refused(lab, f"sends {left + 1} descriptors, and the receiver may have {limit} open (RLIMIT_NOFILE): "
                    f"{'none' if left == 0 else 'only the first'} of them arrives, and the kernel sets MSG_CTRUNC",
                    [sealed(b"hello\0") for _ in range(left + 1)], limits={"files": limit})


@points(1, read="fcntl(2), F_GET_SEALS; handout, Background")
def test_receiver_wants_seals(lab):
    """The receiver refuses anything but a memfd, and a memfd that lacks one of the seals."""
    prints(lab, b"hello\0", b"hello\n", one_more_seal())
    for bit, name in SEALS.items():
        refused(lab, f"sends a memfd without {name}", [sealed(b"hello\0", sum(SEALS) - bit)])
    lab.file("file", b"hello\0")
    refused(lab, "sends a plain file", [os.open("file", os.O_RDWR | os.O_CLOEXEC, dir_fd=lab.box.work_fd)])
    name = lab.name()
    lab.make_object(name, b"hello\0")
    refused(lab, "sends a POSIX object", [os.open(name[1:], os.O_RDWR | os.O_CLOEXEC, dir_fd=lab.box.shm_fd)])


@points(1, read="send(2), MSG_NOSIGNAL and EPIPE; recvmsg(2); handout, Steps")
def test_peer_is_not_there(lab):
    """A peer that hangs up or does not exist is an error: a message, exit status 1, no signal."""
    prints(lab, b"hello\0", b"hello\n")
    refused(lab, "hangs up without a message", [], b"")
    run = lab.run("receiver", SOCKET)  # the check's socket is still there, and nobody waits at it any more
    run.require_failure("connect", SOCKET)
    os.unlink(SOCKET, dir_fd=lab.box.work_fd)
    lab.run("receiver", SOCKET).require_failure("connect", SOCKET)

    sender = lab.start("sender", SOCKET, "hello", stop_at="listen")
    sender.wait_stopped()
    with connected(lab, sender):
        pass
    sender.resume()
    run = sender.wait()
    require(run.signal is None, "the sender is not killed if its receiver has hung up", run.ending)
    run.require_failure("send", SOCKET)


@points(1, read="bind(2), unlink(2), unix(7); handout, Steps")
def test_socket_is_removed(lab):
    """The sender removes its socket, and leaves alone what already exists under that name."""
    for fault in [], [("sendmsg", 1, errno.ECONNRESET)]:
        sender = lab.start("sender", SOCKET, "hello", fail=fault)
        with taken(lab, sender):
            run = sender.wait()
        require(run.exit_status == len(fault), f"exit status {len(fault)}", run.ending)
        require(not exists(lab), f"{SOCKET} is gone after the sender has ended", f"{SOCKET} is still there", run.ending)

    def left_alone(what):
        """A sender that finds something under its name."""
        before = os.stat(SOCKET, dir_fd=lab.box.work_fd)
        sender = lab.start("sender", SOCKET, "hello")

        def same() -> bool:
            try:
                return os.path.samestat(before, os.stat(SOCKET, dir_fd=lab.box.work_fd))
            except FileNotFoundError:
                return False

        lab.poll(lambda: sender.started.status is not None or not same(), WAIT_SECONDS)
        lab.repeatable = lab.repeatable and same()  # by hand, a sender that has taken the name waits for a receiver for ever
        require(same(), f"{what} is unchanged", f"{SOCKET} is " + ("another file now" if exists(lab) else "gone"))
        sender.wait().require_failure("bind", SOCKET)

    lab.file(SOCKET, b"another owner's")
    left_alone("a file of the socket's name")
    require_bytes(lab.box.get(SOCKET, 100), b"another owner's", "a file of the socket's name keeps its contents")
    os.unlink(SOCKET, dir_fd=lab.box.work_fd)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(address(lab))
        other.listen(1)
        left_alone("another sender's socket")


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1 and cleans up."""

    def send(**fault):
        sender = lab.start("sender", SOCKET, "hello", **fault)
        with taken(lab, sender):
            run = sender.wait()
        removed = not exists(lab) or fault.get("fail", [""])[0] == "unlink"
        require(removed, f"{SOCKET} is gone after the sender has failed", f"{SOCKET} is still there", run.ending)
        return run

    def receive(**fault):
        with sending(lab, [sealed(b"hello\0")], **fault) as receiver:
            return receiver.wait()

    lab.each_call_fails(send, SOCKET)
    lab.reset()
    sender = lab.start("sender", SOCKET, "hello", fail=[("sendmsg", 1, errno.ECONNRESET), ("unlink", 1, errno.EACCES)])
    with taken(lab, sender):
        sender.wait().require_each_failure_told()
    lab.reset()
    lab.each_call_fails(receive, SOCKET)
    lab.reset()
    with sending(lab, [sealed(b"hello\0")], stdout="/dev/full") as receiver:
        run = receiver.wait()
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message if stdout is full", run.ending)

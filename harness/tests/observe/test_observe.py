"""The observer names every planted object rightly, as root and as an ordinary user, and claims nothing that it did not see."""
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from shmlab import labs
from shmlab.observe import names, objects, processes, table
from shmlab.sandbox import native

USER = 1234  # owns nothing on the machine
USERS = ["root", "user"] if os.getuid() == 0 else ["user"]
NUMBER = {"root": 0, "user": USER if os.getuid() == 0 else os.getuid()}


def words_as(who, *words):
    """Returns a command that runs as a user."""
    if os.getuid() == NUMBER[who]:
        return [str(word) for word in words]
    return ["setpriv", f"--reuid={NUMBER[who]}", f"--regid={NUMBER[who]}", "--clear-groups", *map(str, words)]


class Planted:
    """A running plant.c: `numbers` are the pids of the process and its child, and the segments' shmids."""

    def __init__(self, who, words, before, script):
        words = ["sh", "-c", script + 'exec "$@"', "sh", *words] if script else words
        self.tag = words[-2]
        self.run = subprocess.Popen(words_as(who, *before, *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.numbers = [int(word) for word in self.run.stdout.readline().split()[1:]]
        assert self.numbers, "plant.c failed"

    def close(self):
        self.run.stdin.close()
        self.run.stdout.close()
        self.run.wait(20)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The observer as one file, and the program that plants."""
    done = subprocess.run(["make", "-s", "build/shmls"], cwd=labs.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    program = tmp_path_factory.mktemp("plant") / "plant"
    subprocess.run([native.host_compiler(), "-std=gnu17", "-O2", "-pthread", "-o", program,
                    Path(__file__).with_name("plant.c"), "-lrt"], check=True)
    return labs.ROOT / "build" / "shmls", program


@pytest.fixture
def place(built, open_directory):
    """A directory that all users may enter and write to, with the observer alone and the program that plants."""
    for path in built:
        shutil.copy(path, open_directory)
    open_directory.chmod(0o777)
    return open_directory


@pytest.fixture
def plant(place):
    """Starts plant.c, and ends it after the test."""
    running = []

    def start(who, what=None, before=(), script=""):
        tag = f"7e{(os.getpid() & 0xFFF) << 8 | len(running) << 4:06x}"
        running.append(Planted(who, [str(place / "plant"), tag, str(what or place)], before, script))
        return running[-1]

    yield start
    for planted in running:
        planted.close()


def observe(place, who, *options, environment=None):
    """Runs the observer, outside of the project."""
    return subprocess.run(words_as(who, sys.executable, place / "shmls", *options), cwd="/", stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, env=environment)


def listed(place, who, *options):
    done = observe(place, who, "--json", *options)
    assert done.returncode in (0, 1) and done.stderr == "", done.stderr
    return json.loads(done.stdout)


def known(data, tag):
    """Returns the named objects whose name has a tag, by name without it and state, each once."""
    mine = [item for item in data["objects"] if item["kind"] in ("posix", "sem") and tag in item["name"]]
    found = {(item["name"].replace(tag, "TAG"), item["state"]): item for item in mine}
    assert len(found) == len(mine)
    return found


def segments(data):
    return {(item["shmid"], item["ipc_namespace"]): item for item in data["objects"] if item["kind"] == "sysv"}


def own_segments(data):
    """Returns the segments of this IPC namespace by their shmids."""
    own = re.sub(r"\D", "", os.readlink("/proc/self/ns/ipc"))
    return {shmid: item for (shmid, namespace), item in segments(data).items() if namespace == own}


@pytest.mark.parametrize("who", USERS)
def test_every_planted_object_is_named_rightly(place, plant, who):
    planted = plant(who)
    pid, child, orphan, gone, both = planted.numbers
    data = listed(place, who, "--all")
    found = known(data, planted.tag)
    expected = {
        ("/TAG-live", "used"): ("posix", 10000, ["ro"]), ("/TAG-open", "used"): ("posix", 4096, ["fd"]),
        ("/TAG-orphan", "orphan"): ("posix", 5000, None), ("/TAG-away", "unseen"): ("posix", 4096, None),
        ("/TAG-gone", "removed"): ("posix", 4096, ["rw"]), ("/TAG-gone", "used"): ("posix", 8192, ["rw"]),
        ("/TAG-goneopen", "removed"): ("posix", 4096, ["fd"]), ("/sem.TAG-lock", "used"): ("sem", 32, ["rw"]),
        ("/TAG-new\\nline (deleted)", "used"): ("posix", 4096, ["rw"])}
    assert found.keys() == expected.keys()
    for name, (kind, size, access) in expected.items():
        item = found[name]
        assert (item["kind"], item["size"]) == (kind, size), item
        assert [(holder["pid"], holder["how"]) for holder in item["holders"]] == (
            [(pid, access), (child, access)] if access else []), item
    assert "open in a process that could not be seen, or in a message on its way" in found["/TAG-away", "unseen"]["notes"]
    with open(f"/proc/{pid}/maps") as maps:
        assert re.search(r"/dev/shm/sem\.\S+ \(deleted\)", maps.read()), "the kernel's name of a semaphore that is there"

    key = int(planted.tag, 16)
    for shmid, state, size, number, access in ((orphan, "orphan", 100000, key, []), (gone, "removed", 200000, 0, ["rw"]),
                                               (both, "used", 300000, key + 2, ["ro", "rw"])):
        item = own_segments(data)[shmid]
        assert (item["state"], item["size"], item["key"]) == (state, size, number), item
        assert [holder["how"] for holder in item["holders"]] == ([access, access] if access else []), item
    assert own_segments(data)[gone]["name"] == f"0x{key + 1:08x}", "its key before it was removed"

    mine = [item for item in data["objects"] if [holder["pid"] for holder in item["holders"]] == [pid, child]]
    plain = {(item["kind"], (item["name"] or "").rsplit("/", 1)[-1]): item for item in mine
             if item["kind"] in ("memfd", "anon", "file")}
    assert sorted(plain) == [("anon", ""), ("file", "read"), ("file", "removed"), ("file", "written"), ("memfd", "mapped"),
                             ("memfd", "open")]
    assert plain["memfd", "mapped"]["state"] == plain["memfd", "open"]["state"] == plain["anon", ""]["state"] == "used"
    assert plain["memfd", "open"]["size"] == 12345 and plain["memfd", "open"]["holders"][0]["how"] == ["fd"]
    assert plain["anon", ""]["size"] == 16384 and plain["file", "read"]["holders"][0]["how"] == ["ro"]
    assert plain["file", "removed"]["state"] == ("removed" if who == "root" else "removed?")
    assert plain["anon", ""]["resident"] == (8192 if who == "root" else None), "what may not be asked is not 0"
    by_default = {item["name"] for item in listed(place, who)["objects"]}
    assert plain["file", "written"]["name"] in by_default and plain["file", "read"]["name"] not in by_default


@pytest.mark.parametrize("who", USERS)
def test_memory_is_divided_by_its_users(place, plant, who):
    planted = plant(who)
    data = listed(place, who, "--pss", "-p", str(planted.numbers[0]))
    item = next(item for item in data["objects"] if item["kind"] == "anon")
    rss, pss = zip(*((holder["mappings"][0]["rss"], holder["mappings"][0]["pss"]) for holder in item["holders"]))
    assert item["resident"] == item["pss"] == sum(pss) == 8192 and min(rss) >= 4096


@pytest.mark.skipif(os.getuid() != 0, reason="only root can plant as another user")
def test_of_another_users_memory_nothing_is_claimed(place, plant):
    planted = plant("root")
    data = listed(place, "user")
    found = known(data, planted.tag)
    assert {name: state for name, state in found} == {
        **{f"/TAG-{name}": "unseen" for name in ("live", "open", "orphan", "away", "gone", "new\\nline (deleted)")},
        "/sem.TAG-lock": "unseen"}
    assert not any(item["holders"] or item["remove"] for item in found.values())
    orphan, gone, both = (own_segments(data)[number] for number in planted.numbers[2:])
    assert [item["state"] for item in (orphan, gone, both)] == ["orphan", "removed", "unseen"], "the kernel counts for everybody"
    assert orphan["remove"] is None and "0 of 4 attachments seen" in both["notes"]
    assert data["unseen"]["processes"] >= 2
    done = observe(place, "user")
    assert re.search(r"^not seen: \d+ processes of \d+ other users?, which may not be read$", done.stderr, re.M), done.stderr
    done = observe(place, "user", "-p", str(planted.numbers[0]))
    assert done.returncode == 2 and "belongs to another user" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("who", USERS)
def test_the_same_shmid_and_name_in_two_namespaces_are_two_objects(place, plant, who):
    inside = ["unshare", *(["-Ur"] if who == "user" else []), "--ipc", "--mount"]
    first, second = (plant(who, before=inside, script="mount -t tmpfs none /dev/shm && ") for _ in range(2))
    assert first.numbers[2:] == second.numbers[2:] and first.numbers[2] == 0
    data = listed(place, who)
    for planted in first, second:
        found = known(data, planted.tag)
        segment = [item for item in segments(data).values() if item["key"] == int(planted.tag, 16)]
        assert [(item["state"], item["shmid"]) for item in segment] == [("orphan", 0)]
        assert [h["pid"] for h in found["/TAG-live", "used"]["holders"]] == planted.numbers[:2]
        assert found["/TAG-orphan", "orphan"]["remove"].startswith("rm /proc/")
        assert found["/TAG-gone", "removed"]["inode"] != found["/TAG-gone", "used"]["inode"]
        enter = "nsenter -i -t" if who == "root" else "nsenter -U --preserve-credentials -i -t"
        assert re.fullmatch(rf"{enter} \d+ ipcrm -m 0", segment[0]["remove"])
    both = [item for (shmid, _), item in segments(data).items() if shmid == first.numbers[4]
            and {holder["pid"] for holder in item["holders"]} & {first.numbers[0], second.numbers[0]}]
    assert [len(item["holders"]) for item in both] == [2, 2] and both[0]["ipc_namespace"] != both[1]["ipc_namespace"]
    command = next(item["remove"] for item in segments(data).values() if item["key"] == int(second.tag, 16))
    subprocess.run(words_as(who, "sh", "-c", command), check=True)
    left = [item["key"] for item in segments(listed(place, who)).values() if item["shmid"] == 0]
    assert int(first.tag, 16) in left and int(second.tag, 16) not in left


@pytest.mark.parametrize("who", USERS)
def test_a_segment_that_a_process_brought_along_is_not_one_of_its_namespace(place, plant, who):
    inside = ["unshare", *(["-Ur"] if who == "user" else []), "--ipc"]
    planted = plant(who, "moved", before=inside)
    pid, before, after = planted.numbers
    items = listed(place, who, "-p", str(pid))["objects"]
    assert before == after and [item["shmid"] for item in items] == [before, after]
    sizes = {item["name"]: (item["size"], bool(item["notes"])) for item in items}
    assert sizes == {"0x00007e57": (8192, False), f"0x{planted.tag}": (4096, True)}, items


@pytest.mark.parametrize("who", USERS)
def test_a_process_whose_first_thread_has_ended_is_read(place, plant, who):
    planted = plant(who, "leader")
    found = known(listed(place, who), planted.tag)
    assert [holder["pid"] for holder in found["/TAG-leader", "used"]["holders"]] == planted.numbers


@pytest.mark.parametrize("who", USERS)
def test_it_removes_nothing_and_its_commands_remove_what_they_name(place, plant, who):
    planted = plant(who)
    orphans = [item for item in listed(place, who)["objects"] if item["remove"] and planted.tag in item["name"]]
    assert sorted(item["kind"] for item in orphans) == ["posix", "sysv"]
    for item in orphans:
        again = listed(place, who, "-o", item["name"])["objects"]
        assert [other["state"] for other in again] == ["orphan"], "looking has not removed it"
        subprocess.run(words_as(who, "sh", "-c", item["remove"]), check=True)
        assert observe(place, who, "-o", item["name"]).returncode == 2


def test_a_name_with_any_byte_is_one_line_and_one_word_for_a_shell(place):
    name = f"shmls {os.getpid()}\n'$(x)".encode() + b"\xff"
    path = b"/dev/shm/" + name
    with open(path, "wb"):
        pass
    try:
        item = next(item for item in listed(place, USERS[0])["objects"] if (item["name"] or "").startswith(f"/shmls {os.getpid()}"))
        assert item["name"].isprintable() and item["name"].endswith("\\n'$(x)\\xff") and item["state"] == "orphan"
        subprocess.run(["bash", "-c", item["remove"]], check=True)
        assert not os.path.exists(path)
    finally:
        if os.path.exists(path):
            os.unlink(path)


@pytest.mark.parametrize("who", USERS)
def test_exit_status_says_whether_there_are_orphans(place, plant, who):
    planted = plant(who)
    tag, pid = planted.tag, str(planted.numbers[0])
    assert observe(place, who, "-o", f"{tag}-orphan").returncode == observe(place, who).returncode == 1
    for word in f"/{tag}-live", f"{tag}-live", f"/dev/shm/{tag}-live", f"{tag}-lock", f"0x{int(tag, 16) + 2:08x}":
        done = observe(place, who, "-o", word)
        assert done.returncode == 0 and re.search(rf"^ +{pid} ", done.stdout, re.M), f"{word}: {done.stdout}{done.stderr}"
    done = observe(place, who, "-p", pid, "-o", str(planted.numbers[4]))
    assert done.returncode == 0 and f"shmid {planted.numbers[4]}\n" in done.stdout
    done = observe(place, who, "-p", pid)
    assert done.returncode == 0 and f"/{tag}-live" in done.stdout and f"/{tag}-orphan" not in done.stdout


@pytest.mark.parametrize("words, says", [
    (["-x"], "option -x not recognized"), (["--nonsense"], "--nonsense not recognized"), (["-p"], "requires argument"),
    (["-p", "one"], "'one' is not a pid"), (["-p", "2147483647"], "there is no process 2147483647"),
    (["-p", "99999999999999"], "is not a pid"), (["-o", "no such thing"], "there is no object 'no such thing'"), (["word"], "-o word"),
    (["--json", "--svg"], "exclude each other"), (["--watch=never"], "'never' is not a number of seconds"),
    (["--watch=0"], "is not a number"), (["--json", "--watch"], "exclude each other"), (["--json=yes"], "must not have an argument"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_usage_error_is_one_line(place, words, says):
    done = observe(place, USERS[0], *words)
    assert done.returncode == 2 and done.stdout == "" and says in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


OBJECT = {"kind": str, "state": str, "name": (str, None), "ipc_namespace": (str, None), "shmid": (int, None), "device": (str, None),
          "inode": (int, None), "key": (int, None), "size": (int, None), "size_at_least": bool, "resident": (int, None),
          "pss": (int, None), "since": (int, None), "uid": (int, None), "mode": (int, None), "names": (int, None),
          "attached": (int, None), "creator": (int, None), "notes": list, "remove": (str, None), "holders": list}
HOLDER = {"pid": int, "how": list, "pss": (int, None), "mappings": list, "descriptors": list}
MAPPING = {"start": int, "end": int, "flags": str, "offset": int, "rss": (int, None), "pss": (int, None), "swap": (int, None)}
UNSEEN = {"processes": int, "other_pid_namespaces": bool, "hidden_processes": bool, "ipc_namespaces": list, "left_out": int}


def fits(value, schema):
    assert list(value) == list(schema), value
    for name, kinds in schema.items():
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        assert type(value[name]) in kinds or value[name] is None and None in kinds, f"{name}: {value[name]!r}"


@pytest.mark.parametrize("who", USERS)
def test_json_has_one_form(place, plant, who):
    planted = plant(who)
    for options in [], ["--all", "--pss"]:
        data = listed(place, who, *options)
        fits(data, {"objects": list, "processes": dict, "unseen": dict, "shmem": dict})
        fits(data["unseen"], UNSEEN)
        fits(data["shmem"], {"total": int, "objects": int, "tmpfs": int})
        for item in data["objects"]:
            fits(item, OBJECT)
            assert item["kind"] in objects.KINDS and item["state"] in objects.STATES
            assert (item["shmid"] is None) == (item["inode"] is not None) == (item["kind"] != "sysv")
            for holder in item["holders"]:
                fits(holder, HOLDER)
                fits(data["processes"][str(holder["pid"])], {"command": (str, None), "uid": (int, None)})
                for mapping in holder["mappings"]:
                    fits(mapping, MAPPING)
                    assert holder["pid"] != planted.numbers[0] or ("--pss" in options) == (mapping["pss"] is not None)
        states = [objects.STATES.index(item["state"]) for item in data["objects"]]
        assert states == sorted(states), "orphans first, then what is removed and held"


def test_the_table_fits_the_terminal(place, plant):
    planted = plant(USERS[0])
    for columns, most in ((None, 80), ("100", 100)):
        done = observe(place, USERS[0], environment={**os.environ, **({"COLUMNS": columns} if columns else {})})
        rows = done.stdout.split("\n\n")[0].splitlines()
        assert rows[0].split() == ["STATE", "KIND", "NAME", "SIZE", "RES", "SINCE", "HOW", "PROCS", "PID", "COMMAND"]
        assert max(map(len, rows)) <= most and "\x1b" not in done.stdout
        for name in "SIZE", "PID":
            end = rows[0].index(name) + len(name)
            assert all(row[end - 1] != " " and row[end:end + 1] in ("", " ") for row in rows), "right-aligned"
    plain = observe(place, USERS[0], "-nub")
    assert "STATE" not in plain.stdout and plain.stderr == "" and " 12345 " in plain.stdout
    assert f"/{planted.tag}-new\\nline (deleted)" in plain.stdout
    text = observe(place, USERS[0], "--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    for name in "pid", "object", "all", "pss", "bytes", "noheadings", "notruncate", "json", "dot", "svg", "watch":
        assert f"--{name}" in text


def test_sizes_are_short():
    assert [table.human(number) for number in (0, 1023, 1024, 4096, 10137, 10189, 100000, 1048575, 1 << 20, 5 << 40)] == [
        "0B", "1023B", "1K", "4K", "9.9K", "10K", "98K", "1M", "1M", "5T"]


def test_only_the_kernel_puts_files_on_its_own_file_system():
    internal = {"00:01": False}
    assert objects.kind_of("fe:00", "/memfd:x (deleted)", internal)[0] == "file"
    assert objects.kind_of("fe:00", "/SYSV00000000 (deleted)", internal)[0] == "file"
    assert objects.kind_of("fe:00", "/dev/zero (deleted)", internal)[0] == "device"
    assert objects.kind_of("00:01", "/memfd:/dev/shm/x (deleted)", internal) == ("memfd", "/dev/shm/x")
    assert objects.kind_of("00:01", "/drm mm object (deleted)", internal)[0] == "other"
    assert objects.internal_devices(), "this kernel has memfds"


def test_the_drawing_has_every_object_and_its_words(place, plant):
    planted = plant(USERS[0])
    root = xml.fromstring(observe(place, USERS[0], "--svg", "-p", str(planted.numbers[0])).stdout)
    space = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in root.iter(space + "text")]
    for name in "live", "gone", "goneopen", "new\\nline (deleted)":
        assert f"posix /{planted.tag}-{name}" in texts, texts
    assert "2 x plant" in texts, "a process and its child, which have the same"
    assert f"posix /{planted.tag}-live (ro)" in root.find(space + "desc").text
    width, height = (float(word) for word in root.get("viewBox").split()[2:])
    for box in root.iter(space + "rect"):
        assert float(box.get("x", 0)) + float(box.get("width")) <= width
        assert float(box.get("y", 0)) + float(box.get("height")) <= height
    assert "2 x posix" not in " ".join(texts), "two objects of one name, of which one is removed, are two boxes"
    told = xml.fromstring(observe(place, USERS[0], "--svg", "-o", f"{planted.tag}-orphan").stdout).find(space + "desc").text
    assert told == f"posix /{planted.tag}-orphan: orphan"
    text = observe(place, USERS[0], "--dot").stdout
    assert text.startswith("graph shmls {") and f'"posix /{planted.tag}-new\\\\nline (deleted)\\n4K"' in text
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=text, text=True, check=True, stdout=subprocess.DEVNULL)


def hear_ctrl_c():
    """If a shell started the tests in the background, SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_watch_prints_what_changes_until_ctrl_c(place):
    name = f"shmls-watched-{os.getpid()}"
    run = subprocess.Popen(words_as(USERS[0], sys.executable, place / "shmls", "--watch=0.05"), stdout=subprocess.PIPE, text=True,
                           preexec_fn=hear_ctrl_c)
    try:
        assert re.fullmatch(r"\d\d:\d\d:\d\d\n", run.stdout.readline())
        with open(f"/dev/shm/{name}", "w"):
            pass
        while f"rm /dev/shm/{name}" not in run.stdout.readline():
            assert run.poll() is None
    finally:
        run.send_signal(signal.SIGINT)
        rest = run.communicate(timeout=30)[0]
        os.unlink(f"/dev/shm/{name}")
    assert run.returncode == 1 and "Traceback" not in rest


def test_a_process_that_goes_while_it_is_read_is_no_error(place):
    churn = subprocess.Popen(["sh", "-c", "while :; do (:) & (:) & (:); done"])
    try:
        for options in ["--json"], ["--json", "--pss", "--all"], []:
            for _ in range(4):
                done = observe(place, USERS[-1], *options)
                assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr
    finally:
        churn.kill()
        churn.wait()


def test_a_reader_that_has_enough_is_no_error(place):
    done = subprocess.run(["sh", "-c", f"{sys.executable} {place}/shmls --json --all | head -n 1; true"], capture_output=True, text=True)
    assert done.stdout == "{\n" and done.stderr == ""


def test_the_project_runs_the_same():
    done = subprocess.run([sys.executable, "-m", "shmlab", "ls", "--json"], cwd=labs.ROOT / "harness", capture_output=True, text=True)
    assert done.returncode in (0, 1) and json.loads(done.stdout)["objects"] is not None, done.stderr
    done = subprocess.run(["make", "-s", "shmls", "ARGS=-p 1x"], cwd=labs.ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "'1x' is not a pid" in done.stderr


def test_clean_ipc_keeps_what_a_process_has(place):
    name = f"shmlab-kept-{os.getpid()}"
    with open(f"/dev/shm/{name}", "w"):
        words = [sys.executable, "-m", "shmlab", "clean-ipc"]
        done = subprocess.run(words, cwd=labs.ROOT / "harness", capture_output=True, text=True)
        assert done.returncode == 0 and os.path.exists(f"/dev/shm/{name}")
        assert f"kept object /{name}: process {os.getpid()} (" in done.stdout
    done = subprocess.run(words, cwd=labs.ROOT / "harness", capture_output=True, text=True)
    assert done.returncode == 0 and not os.path.exists(f"/dev/shm/{name}") and f"removed object /{name}\n" in done.stdout


def test_watch_on_a_terminal_draws_over_what_it_drew(place):
    ours, theirs = pty.openpty()
    run = subprocess.Popen([sys.executable, place / "shmls", "--watch=0.05"], stdin=subprocess.DEVNULL, stdout=theirs,
                           stderr=theirs, env={**os.environ, "TERM": "xterm"}, preexec_fn=hear_ctrl_c)
    os.close(theirs)
    shown = b""
    while shown.count(b"\x1b[H") < 3:
        shown += os.read(ours, 65536)
    run.send_signal(signal.SIGINT)
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert run.wait(20) in (0, 1) and b"Traceback" not in shown and b"STATE" in shown


def test_a_segment_of_huge_pages_has_no_more_than_its_size():
    """The lines are of Linux 6.18: one huge page that is there is counted as 1 GiB, and Shmem does not count it at all."""
    found = processes.Scan()
    names._add_segments(found, "1", "key shmid perms size cpid nattch uid ctime rss\n"
                        "0 1 600 2097152 5 1 0 1 1073741824\n0 2 600 5000 5 1 0 1 8192\n", True)
    huge, usual = found.objects.values()
    assert (huge.resident, huge.huge, usual.resident, usual.huge) == (2 << 20, True, 8192, False)
    _, in_objects, _ = names.shmem(found)
    assert in_objects == 8192


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a /proc with hidepid=2")
def test_where_proc_hides_processes_the_list_says_so(place):
    script = "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=1234 --regid=1234 --clear-groups ./shmls"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], cwd=place, capture_output=True, text=True)
    # 1 if another test has left an orphan for a moment.
    assert done.returncode in (0, 1) and "not seen: processes of other users, which this /proc hides" in done.stderr, done.stderr

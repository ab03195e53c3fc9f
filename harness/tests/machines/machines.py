"""Tries the project on other machines and prints a table of what works: `make test-machines`.

    /usr/bin/python3 harness/tests/machines/machines.py [--roots DIR] [--only WORD]... [--again]

A row is a machine and a user, a column is a command of the README. Needs root, Debian's mmdebstrap and QEMU, about 12 GB
of disk, and two hours on two processors. Each root is built once, in DIR (build/machines). Outcomes are kept by commit: if
the run is interrupted, the same command resumes. Exit status 1 if a command did not do what the README says.
"""
from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping, Optional

import guest

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[2]
PACKAGES = "ca-certificates,git,make,gcc,libc6-dev,python3"
SECONDS = 1800  # for one command; the first one installs packages
STUDENT = "student"

#: The roots are thrown away and hold nothing of value, so old snapshots and suites of other distributions will do.
APT_OPTIONS = ['Acquire::Check-Valid-Until "false"', 'Acquire::AllowInsecureRepositories "true"',
               'APT::Get::AllowUnauthenticated "true"']


@dataclass(frozen=True)
class Command:
    """A column: what is typed, whether it succeeds, and what has to be in the output."""

    name: str
    shell: str
    succeeds: bool
    output: str


#: Three labs, one of each kind of memory, with each compiler that install_compilers() has brought; two of them run schedules.
COMPILERS = """for cc in $(cd /usr/bin && ls | grep -xE '(gcc|clang)-[0-9]+|clang|musl-gcc'); do
    make check LAB="03 05 11" IN=solutions CC=$cc > /tmp/compiled || { cat /tmp/compiled; echo "CC=$cc"; exit 1; }
    [ "$(grep -c "explored: " /tmp/compiled)" = 2 ] || { cat /tmp/compiled; echo "CC=$cc explores nothing"; exit 1; }
    grep -q "30 of 30 points" /tmp/compiled || { cat /tmp/compiled; echo "CC=$cc"; exit 1; }
    echo "$cc: 30 of 30 points"
done"""

#: What Gradescope does with the zip; the submission is all solutions.
GRADESCOPE = """set -e
make gradescope
rm -rf /autograder && mkdir -p /autograder/source /autograder/submission /autograder/results
python3 -m zipfile -e build/gradescope.zip /autograder/source
bash /autograder/source/setup.sh
cp -r solutions/. /autograder/submission
bash /autograder/source/run_autograder
python3 -c 'import json; print("score", json.load(open("/autograder/results/results.json"))["score"])'"""

#: As with sudo; afterwards an ordinary user has the full box.
BOX = f"""set -e
SUDO_UID=1000 SUDO_GID=1000 make box
setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/home/{STUDENT} make doctor | tee /dev/stderr | grep -q 'box: each program'
make unbox"""

#: Programs that hold memory that they have not mapped: the kernel has to end them, and nothing else.
CONTROL_GROUP = """set -e
make doctor | grep 'the kernel, by a control group'
PYTHONPATH=harness python3 -c '
import pathlib
from shmlab import gallery
for attack in gallery.hostile():
    if attack.path.stem in ("malloc_hog", "memory_without_a_name", "memory_in_flight"):
        attack.apply(pathlib.Path("/tmp/attacks", attack.path.stem))'
before=$(sed -n 's/^oom_kill //p' /proc/vmstat)
for attack in /tmp/attacks/*; do
    lab=$(basename "$(dirname "$(ls $attack/labs/*/*.c)")")
    python3 -m pytest -p no:xdist harness --submission $attack/labs --lab ${lab%%_*} > /tmp/said || :
    grep -q 'used more memory than' /tmp/said || cat /tmp/said
done
echo "ended by the kernel: $(( $(sed -n 's/^oom_kill //p' /proc/vmstat) - before > 2 ))"
rm -r /tmp/attacks
make check LAB=05 IN=solutions | grep '10 of 10 points'
ls -d /sys/fs/cgroup/*/box-* 2>/dev/null || echo "no group is left"
"""

COMMANDS = [
    Command("make", "make", True, ""),
    Command("make demo", "make demo", True, "190 of 190 points"),
    Command("skeletons", "make check", False, "0 of 190 points"),
    Command("two labs", 'make 05 && make check LAB="05 11" IN=solutions', True, "20 of 20 points"),
    Command("doctor", "make doctor", True, "tier"),
    Command("hint", "make hint LAB=01", True, ""),
    Command("clean-ipc", "make clean-ipc", True, ""),
    Command("make docs", "make docs", True, ""),
    Command("compilers", COMPILERS, True, "30 of 30 points"),
    Command("make box", BOX, True, ""),
    Command("control group", CONTROL_GROUP, True, r"(?s)ended by the kernel: 1.*no group is left"),
    Command("gradescope", GRADESCOPE, True, r"^score 190(\.0)?$"),
]

#: What a row was tried with, on one line.
VERSIONS = r"""cd %s; python=python3; [ -x .venv/bin/python3 ] && python=.venv/bin/python3
$python -c 'import sys; print("Python %%d.%%d.%%d" %% sys.version_info[:3])'
$python -m pytest --version 2>&1 | sed -n 's/^pytest /pytest /p'
getconf GNU_LIBC_VERSION; uname -r; doxygen --version 2>/dev/null | sed 's/^/Doxygen /'
for cc in $(cd /usr/bin && ls | grep -xE '(gcc|clang)(-[0-9]+)?|musl-gcc'); do
    echo "$cc $($cc -dumpfullversion 2>/dev/null || $cc -dumpversion)"
done"""


@dataclass(frozen=True)
class Machine:
    """A row.

    suite: a suite of Debian or Ubuntu, user: root or STUDENT, wrapper: a command in front of the shell, in the root,
    lacks: columns that are not tried there, with the reason, kernel: the package of a kernel of its own, in an emulated
    machine, else this machine's kernel is used, packages: what is installed there from the beginning.
    """

    name: str
    suite: str
    user: str = "root"
    wrapper: str = ""
    lacks: Mapping[str, str] = field(default_factory=dict)
    kernel: str = ""
    packages: str = ""


SUITES = (("Debian 11", "bullseye"), ("Debian 12", "bookworm"), ("Debian 13", "trixie"), ("Debian sid", "sid"),
          ("Ubuntu 22.04", "jammy"), ("Ubuntu 24.04", "noble"))
UBUNTU = ("jammy", "noble")
ELSEWHERE = {"gradescope": "in the Ubuntu container", "make box": "with Ubuntu's kernel",
             "control group": "with the kernels of Debian 12 and Ubuntu"}
NOT_AGAIN = {"make docs": "in the row of root", "compilers": "in the row of root", **ELSEWHERE}

SLOW = {name: "an emulated processor is too slow" for name in ("make", "make demo", "skeletons", "hint", "clean-ipc")}

#: What .devcontainer/Dockerfile installs.
IMAGE = " ".join(re.findall(r"^    ([a-z0-9+.-]+) \\$", (PROJECT / ".devcontainer" / "Dockerfile").read_text(encoding="utf-8"), re.M))

#: `container` is built from container.c: Docker's default capabilities and system-call filter.
MACHINES = [Machine(f"{name}, {user}", suite, user, lacks=ELSEWHERE if user == "root" else NOT_AGAIN)
            for name, suite in SUITES for user in ("root", STUDENT)]
MACHINES += [
    Machine("container, root", "bookworm", wrapper="/container", lacks=NOT_AGAIN),
    Machine(f"container, {STUDENT}", "bookworm", STUDENT, "/container", NOT_AGAIN),
    Machine("Ubuntu container, root", "jammy", wrapper="/container", lacks={**NOT_AGAIN, "gradescope": ""}),
    Machine("dev container, root", "trixie", wrapper="/container", lacks={**NOT_AGAIN, "make docs": ""}, packages=IMAGE),
    Machine("Debian 11's kernel", "bullseye", STUDENT, lacks={**NOT_AGAIN, **SLOW}, kernel="linux-image-cloud-amd64/bullseye"),
    Machine("Debian 12's kernel", "bookworm", STUDENT, lacks={**NOT_AGAIN, **SLOW, "control group": ""}, kernel="linux-image-cloud-amd64"),
    Machine("Debian 12's kernel, root", "bookworm", kernel="linux-image-cloud-amd64",
            lacks={**NOT_AGAIN, **SLOW, "control group": "", "two labs": "in the row of an ordinary user"}),
    Machine("Ubuntu 24.04's kernel", "noble", STUDENT, lacks={**NOT_AGAIN, **SLOW, "make box": "", "control group": ""},
            kernel="linux-image-virtual apparmor"),
    Machine("one mapped id", "bookworm", STUDENT, "unshare -Ur", NOT_AGAIN),
    Machine("hard limits", "bookworm", STUDENT, "prlimit --nproc=200 --nofile=256 --as=8589934592 --", NOT_AGAIN),
]

#: Makes the root the whole machine: its own mounts, processes and IPC, a /dev of a few nodes, a /dev/shm of $SHM.
ENTER = r"""
set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount -t sysfs sysfs "$ROOT/sys"
mount -t tmpfs -o mode=755 dev "$ROOT/dev"
for node in null zero full random urandom tty; do
    : > "$ROOT/dev/$node"
    mount --bind "/dev/$node" "$ROOT/dev/$node"
done
ln -s /proc/self/fd "$ROOT/dev/fd"
ln -s fd/0 "$ROOT/dev/stdin"
ln -s fd/1 "$ROOT/dev/stdout"
ln -s fd/2 "$ROOT/dev/stderr"
mkdir "$ROOT/dev/shm" "$ROOT/dev/pts"
mount -t tmpfs -o "mode=1777,size=$SHM" shm "$ROOT/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$ROOT/dev/pts"
ln -s pts/ptmx "$ROOT/dev/ptmx"
mount -t tmpfs -o mode=1777 tmp "$ROOT/tmp"
cat /etc/resolv.conf > "$ROOT/etc/resolv.conf"
mkdir -p "$ROOT/mnt/old"
cd "$ROOT"
pivot_root . mnt/old
umount -l /mnt/old 2>/dev/null || true
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LANG=C.UTF-8 "$@"
"""


def enter(root: Path, words: List[str], seconds: float, shm: str = "64m") -> "subprocess.CompletedProcess[str]":
    """Runs a command as root in a root directory, and ends whatever it started.

    Raises subprocess.TimeoutExpired after so many seconds.
    """
    command = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "bash", "-c", ENTER, "enter", *words]
    return subprocess.run(command, env={**os.environ, "ROOT": str(root), "SHM": shm}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=seconds)


def build_root(suite: str, roots: Path) -> Path:
    """Builds the root of a suite, unless it is there; adds an ordinary user and what imitates a container."""
    root = roots / suite
    if not (root / "ready").exists():
        shutil.rmtree(root, ignore_errors=True)
        print(f"building {suite}", flush=True)
        options = [word for option in APT_OPTIONS for word in ("--aptopt", option)] + ["--dpkgopt", "force-unsafe-io"]
        if suite in UBUNTU:
            options += ["--components", "main,universe"]
        subprocess.run(["mmdebstrap", "--quiet", "--variant=apt", f"--include={PACKAGES}", *options, suite, str(root)],
                       check=True, timeout=SECONDS)
        (root / "ready").touch()
    home = root / "home" / STUDENT
    if not home.is_dir():  # newer suites have no useradd at first
        for name, line in ("passwd", f"{STUDENT}:x:1000:1000::/home/{STUDENT}:/bin/bash"), ("group", f"{STUDENT}:x:1000:"):
            with open(root / "etc" / name, "a", encoding="ascii") as file:
                file.write(line + "\n")
        home.mkdir()
        os.chown(home, 1000, 1000)
    subprocess.run(["gcc", "-std=gnu17", "-O2", "-static", str(HERE / "container.c"), "-o", str(root / "container")], check=True)
    return root


def checkout(root: Path, machine: Machine) -> str:
    """Puts a fresh clone of HEAD into the user's home, and returns its path in the root."""
    home = "/root" if machine.user == "root" else f"/home/{machine.user}"
    target = root / home[1:] / "lab"
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(PROJECT), str(target)], check=True)
    if machine.user != "root":
        done = enter(root, ["chown", "-R", f"{machine.user}:{machine.user}", f"{home}/lab"], 60)
        assert done.returncode == 0, done.stdout
    return f"{home}/lab"


def install(root: Path, names: str) -> None:
    """Installs packages, as an administrator of the machine does."""
    words = f"apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {names} && apt-get clean"
    done = enter(root, ["bash", "-c", words], SECONDS)
    if done.returncode != 0:
        raise SystemExit(f"{root.name}: {done.stdout[-400:]}")


def install_compilers(root: Path) -> None:
    """Installs the oldest and the newest gcc and clang that the suite has, of those that the project supports, and musl.

    A package that is listed and cannot be downloaded is passed over for the next one.
    """
    install(root, "musl-tools")
    for name, oldest in ("gcc", 10), ("clang", 11):
        listed = (f"apt-cache pkgnames {name}- | sed -n 's/^{name}-\\([0-9]*\\)$/\\1/p' | "
                  f"while read n; do [ $n -lt {oldest} ] || echo $n; done")
        for order in "sort -n", "sort -rn":
            words = (f"for n in $({listed} | {order}); do DEBIAN_FRONTEND=noninteractive apt-get install -y "
                     f"--no-install-recommends {name}-$n && break; done; apt-get clean")
            enter(root, ["bash", "-c", words], SECONDS)


def attempt(root: Path, machine: Machine, directory: str, command: Command) -> str:
    """Runs one command. Returns "ok" and the seconds, or why not."""
    if machine.lacks.get(command.name):
        return f"- {machine.lacks[command.name]}"
    if command.name == "compilers":
        install_compilers(root)
    words = [*machine.wrapper.split(), "bash", "-c", f"cd {directory} && {command.shell}"]
    if machine.user != "root":
        words = ["setpriv", f"--reuid={machine.user}", f"--regid={machine.user}", "--init-groups", "env",
                 f"HOME=/home/{machine.user}", *words]
    else:
        words = ["env", "HOME=/root", *words]
    began = time.monotonic()
    try:
        done = enter(root, words, SECONDS)
    except subprocess.TimeoutExpired:
        return f"NO: did not end within {SECONDS} s"
    return judge(command, done.returncode, done.stdout, time.monotonic() - began)


def judge(command: Command, status: int, output: str, seconds: float) -> str:
    """Returns "ok" and the seconds, or why a command did not do what it should."""
    if (status == 0) == command.succeeds and re.search(command.output, output, re.M):
        return f"ok {seconds:.0f} s"
    print(output[-4000:], flush=True)
    last = [line.strip() for line in output.splitlines() if line.strip()][-1:] or ["no output"]
    return f"NO: exit status {status}: {last[0][:150]}"


def attempt_in_guest(root: Path, machine: Machine, directory: str, commands: List[Command]) -> Dict[str, str]:
    """Runs commands on an emulated machine with a kernel of its own. Returns the cells by the commands' names."""
    install(root, f"{machine.kernel} {guest.PACKAGES} python3-pytest binutils")
    tried = [(command.name, "root" if command.name == "make box" else machine.user, command.shell)
             for command in commands if not machine.lacks.get(command.name)]
    done = guest.run(root, directory, tried, SECONDS * 2, lambda line: print(f"{machine.name}: {line}", flush=True))
    cells = {}
    for command in commands:
        if machine.lacks.get(command.name):
            cells[command.name] = f"- {machine.lacks[command.name]}"
        elif command.name in done:
            cells[command.name] = judge(command, *done[command.name])
        else:
            cells[command.name] = "NO: the machine did not start, or not in time" if not done else "NO: not in time"
    return cells


def table(outcomes: Dict[str, Dict[str, str]]) -> str:
    """Formats the outcomes; the reasons of what did not work come below."""
    names = [command.name for command in COMMANDS]
    width = max(len(machine.name) for machine in MACHINES)
    lines = [" " * width + "  " + "  ".join(f"{name:<10}" for name in names)]
    why: List[str] = []
    untried: Dict[str, List[str]] = {}
    for machine, row in outcomes.items():
        cells = [row.get(name, "- not tried") for name in names]
        lines.append(f"{machine:<{width}}  " + "  ".join(f"{cell.split(':')[0].split('- ')[0] or '-':<10}" for cell in cells))
        why += [f"{machine}, {name}: {cell[4:]}" for name, cell in zip(names, cells) if cell.startswith("NO")]
        for name, cell in zip(names, cells):
            if cell.startswith("- "):
                untried.setdefault(f"- {name}: {cell[2:]}", []).append(machine)
    why += [f"{reason}: {'; '.join(rows)}" for reason, rows in untried.items()]
    tried = [f"{machine}: {row['versions']}" for machine, row in outcomes.items() if "versions" in row]
    return "\n".join(lines + ([""] + why if why else []) + ([""] + tried if tried else []))


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="Tries the project on other machines.")
    parser.add_argument("--roots", default="", help="directory for the roots (default: build/machines)")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="only machines whose names contain this")
    parser.add_argument("--again", action="store_true", help="forget the outcomes of this commit")
    options = parser.parse_args(arguments)
    if os.getuid() != 0:
        print("error: other machines are imitated with chroot and mounts: run this as root", file=sys.stderr)
        return 2
    roots = Path(options.roots or PROJECT / "build" / "machines").resolve()
    roots.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(roots).free < 12 << 30:
        print(f"error: {roots} has less than 12 GB free: name another directory with ROOTS=", file=sys.stderr)
        return 2
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True).stdout.strip()
    outcomes: Dict[str, Dict[str, str]] = {}
    chosen = [machine for machine in MACHINES if not options.only or any(word in machine.name for word in options.only)]
    for machine in chosen:
        kept = roots / "outcomes" / commit / f"{machine.name}.json"
        kept.parent.mkdir(parents=True, exist_ok=True)
        row = outcomes[machine.name] = json.loads(kept.read_text()) if kept.exists() and not options.again else {}
        todo = [command for command in COMMANDS if command.name not in row]
        if not todo:
            continue
        try:
            root = build_root(machine.suite, roots)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            row.update({command.name: f"- no root of {machine.suite}" for command in COMMANDS})
            continue
        if machine.user != "root" or machine.wrapper:
            install(root, machine.packages or "python3-pytest binutils")
        directory = checkout(root, machine)
        if machine.kernel:
            row.update(attempt_in_guest(root, machine, directory, todo))
            kept.write_text(json.dumps(row, indent=1))
            continue
        for command in todo:
            row[command.name] = attempt(root, machine, directory, command)
            print(f"{machine.name}: {command.name}: {row[command.name]}", flush=True)
            row["versions"] = ", ".join(enter(root, ["bash", "-c", VERSIONS % directory], 60).stdout.split("\n")[:-1])
            kept.write_text(json.dumps(row, indent=1))
    print("\n" + table(outcomes))
    return int(any(cell.startswith("NO") for row in outcomes.values() for cell in row.values()))


if __name__ == "__main__":
    sys.exit(main())

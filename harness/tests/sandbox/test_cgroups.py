"""Control groups: where the harness may make them, and that programs enter them and are told when one was full.

The kernel's own limit is tried on a machine that has the second version with memory: `make test-machines`, control group.
"""
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from shmlab.sandbox import cgroups
from shmlab.sandbox.box import Box

CONTROLLERS = "cpu memory pids"


@pytest.fixture
def hierarchy(tmp_path, monkeypatch):
    """Ordinary files in the place of the kernel's. Returns a function that makes them, with this process in a group of that path."""
    def make(own="/", controllers=CONTROLLERS, topmost=False, delegated=(), user=1000):
        root = tmp_path / "mounted"
        for group in (root, root / own.strip("/")):
            group.mkdir(parents=True, exist_ok=True)
            (group / "cgroup.controllers").write_text(controllers)
            (group / "cgroup.procs").write_text("")
            if group != root or not topmost:
                (group / "cgroup.type").write_text("domain\n")
        (tmp_path / "mountinfo").write_text(f"31 23 0:28 / {root} rw - cgroup2 cgroup2 rw\n")
        (tmp_path / "cgroup").write_text(f"4:memory:/other\n0::{own}\n")
        monkeypatch.setattr(cgroups, "_MOUNTS", tmp_path / "mountinfo")
        monkeypatch.setattr(cgroups, "_OWN", tmp_path / "cgroup")
        monkeypatch.setattr(cgroups, "_is_delegated", lambda group: str(group.relative_to(root)) in delegated)
        monkeypatch.setattr(cgroups.os, "geteuid", lambda: user)
        cgroups._find.cache_clear()
        return root

    yield make
    cgroups._find.cache_clear()


def test_none_is_mounted(hierarchy, tmp_path):
    hierarchy()
    (tmp_path / "mountinfo").write_text("31 23 0:28 /memory /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n")
    assert cgroups.parent() is None and "not mounted" in cgroups.why_none()


def test_the_first_version_has_the_memory(hierarchy):
    hierarchy(controllers="hugetlb")
    assert cgroups.parent() is None and "cannot limit memory" in cgroups.why_none()


def test_a_session_that_is_not_delegated_is_left_alone(hierarchy):
    root = hierarchy("/user.slice/session-3.scope")
    assert cgroups.parent() is None and "systemd-run --user --scope -p Delegate=yes" in cgroups.why_none()
    assert not (root / "user.slice/session-3.scope" / cgroups.LEAF).exists()


@pytest.mark.parametrize("own", ["/", "/user.slice/run-1.scope"])
def test_in_a_delegated_group_the_harness_steps_aside(hierarchy, own):
    """The topmost one that a container sees is its own."""
    root = hierarchy(own, delegated=["user.slice/run-1.scope"])
    group = root / own.strip("/")
    assert cgroups.parent() == group and (group / cgroups.LEAF).is_dir()
    assert (group / "cgroup.subtree_control").read_text() == "+cpu"  # the last one that was written


def test_a_later_process_of_the_harness_finds_the_same_group(hierarchy):
    root = hierarchy(f"/run-1.scope/{cgroups.LEAF}", delegated=["run-1.scope"])
    (root / "run-1.scope" / "cgroup.controllers").write_text(CONTROLLERS)
    (root / "run-1.scope" / "cgroup.procs").write_text("")
    assert cgroups.parent() == root / "run-1.scope"


def test_root_has_a_group_beside_those_of_the_machine(hierarchy):
    root = hierarchy("/user.slice/session-3.scope", topmost=True, user=0)
    assert cgroups.parent() == root / cgroups.ROOTS
    assert not (root / "user.slice/session-3.scope" / cgroups.LEAF).exists(), "root's session stays where it is"


@pytest.mark.parametrize("asked, written", [("", None), ("1.5", "150000 100000"), ("0", "1000 100000"), ("-1", None), ("nan", None)])
def test_the_limits_of_a_group(tmp_path, monkeypatch, asked, written):
    """These files are there before a real group is made, and nowhere else."""
    monkeypatch.setenv("SHMLAB_CPUS", asked)
    make, names = Path.mkdir, ("memory.swap.max", "pids.max", "cpu.max", "cgroup.procs", "memory.events")
    monkeypatch.setattr(Path, "mkdir", lambda path: (make(path), [(path / name).write_text("") for name in names]))
    group = cgroups.Group(tmp_path, 768)
    found = {name: (group.path / name).read_text() for name in ("memory.max", *names[:3])}
    assert found == {"memory.max": str(768 << 20), "memory.swap.max": "0", "pids.max": "512", "cpu.max": written or ""}
    group.forget_descriptors()


def test_programs_enter_the_group_and_are_told_when_it_was_full(tmp_path, monkeypatch, tier):
    """The group is two ordinary files here, and this test is the kernel: it counts, then kills."""
    procs, events = tmp_path / "procs", tmp_path / "events"
    procs.write_text("")
    events.write_text("low 0\nmax 3\noom 1\noom_kill 0\n")
    descriptors = [os.open(procs, os.O_WRONLY | os.O_APPEND), os.open(events, os.O_RDONLY)]
    group = SimpleNamespace(descriptors=descriptors, forget_descriptors=lambda: None, close=lambda: None, path=tmp_path)
    monkeypatch.setattr(Box, "_make_group", staticmethod(lambda memory_mb: group))
    with Box(tier) as box:
        first, second = box.start(["cat"], stdin=-1), box.start(["cat"], stdin=-1)
        assert procs.read_text() == "00", "each of them"
        events.write_text("low 0\nmax 3\noom 2\noom_kill 1\n")
        box.kill(first.pid, signal.SIGKILL)
        assert box.wait(first, 10) and first.over_memory and box.wait(second, 10) and second.over_memory
        box.clean()
        third = box.start(["true"])
        assert box.wait(third, 10) and third.status == 0 and not third.over_memory, "that is past"
    for fd in descriptors:
        os.close(fd)

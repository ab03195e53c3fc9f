"""The short form of `make test-machines`: a bare Debian, containers, one mapped id, and the limits of a shared server."""
import json
import os
import pwd
import shutil
import subprocess
import tempfile

import machines
import pytest
import running

from shmlab import gallery, labs
from shmlab.sandbox import native

pytestmark = [pytest.mark.skipif(os.getuid() != 0, reason="other machines are imitated by root")]
SOME_LABS = ["01", "02", "05", "07", "08", "11", "15"]
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture(scope="module")
def container():
    """The program that imitates a container."""
    with tempfile.TemporaryDirectory(prefix="shmlab-tests-") as directory:
        os.chmod(directory, 0o755)
        program = os.path.join(directory, "container")
        subprocess.run(["gcc", "-std=gnu17", "-O2", "-static", machines.HERE / "container.c", "-o", program], check=True)
        yield program


def as_nobody(*words):
    return ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups", *words]


PLACES = {
    "container, root": lambda container: [container],
    "container, user": lambda container: as_nobody(container),
    "one mapped id": lambda container: as_nobody("unshare", "-Ur"),
    "hard limits": lambda container: as_nobody("prlimit", "--nproc=200", "--nofile=256", f"--as={8 << 30}", "--"),
}


@pytest.fixture
def project(open_directory):
    """A copy of the project that an ordinary user can write to."""
    target = open_directory / "lab"
    shutil.copytree(labs.ROOT, target, ignore=shutil.ignore_patterns("build", ".git", ".venv", "__pycache__"))
    return target


@pytest.mark.xdist_group("host")
@pytest.mark.parametrize("place", PLACES)
def test_solutions_and_skeletons(place, container, project):
    """Right programs get all the points there, and none is blamed for what the machine refuses."""
    words = PLACES[place](container)
    if words[0] != container:
        subprocess.run(["chown", "-R", f"{NOBODY.pw_uid}:{NOBODY.pw_gid}", project], check=True)
    environment = {**os.environ, "HOME": str(project), "SHMLAB_BUILD": str(project / "build")}
    # Each kind of memory, and programs that wait for each other; `make test-machines` runs all labs in each place.
    some = [word for number in SOME_LABS for word in ("--lab", number)]
    for submission, score in ("solutions", f"{10 * len(SOME_LABS)} of {10 * len(SOME_LABS)} points"), ("labs", "  0 of"):
        done = subprocess.run([*words, *running.pytest_command("harness", "--submission", submission, *some)], cwd=project,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=600)
        assert score in done.stdout, done.stdout[-6000:] + done.stderr[-2000:]
        assert "ERROR" not in done.stdout


@pytest.mark.xdist_group("host")
@pytest.mark.parametrize("place", ["container, user", "one mapped id"])
def test_an_object_that_its_owner_may_not_read_fails_no_other_check(place, container, project):
    """Root may read every object; an ordinary user gets the same verdict."""
    mistake = next(mistake for mistake in gallery.mistakes() if mistake.name == "mode_in_decimal")
    submission = mistake.apply(project / "submission")
    subprocess.run(["chown", "-R", f"{NOBODY.pw_uid}:{NOBODY.pw_gid}", project], check=True)
    environment = {**os.environ, "HOME": str(project), "SHMLAB_BUILD": str(project / "build")}
    words = running.pytest_command("harness", "--submission", str(submission), "--lab", "08", "--results", str(project / "results.json"))
    subprocess.run([*PLACES[place](container), *words], cwd=project, stdin=subprocess.DEVNULL, capture_output=True, env=environment,
                   timeout=120)
    checks = json.loads((project / "results.json").read_text())["checks"]
    assert {check["check"] for check in checks if check["status"] != "passed"} == set(mistake.caught_by)


@pytest.mark.full
def test_a_bare_debian():
    """The README's first command, where there is a compiler, make and Python and nothing else."""
    machine = next(machine for machine in machines.MACHINES if machine.name == "Debian 12, root")
    roots = native.build_directory() / "machines"
    roots.mkdir(parents=True, exist_ok=True)
    root = machines.build_root(machine.suite, roots)
    directory = machines.checkout(root, machine)
    for command in machines.COMMANDS[:4]:
        assert machines.attempt(root, machine, directory, command).startswith("ok"), command


def test_the_table_names_what_did_not_work():
    outcomes = {"one": {"make": "ok 1 s", "make demo": "NO: exit status 2: why"}, "two": {"make": "ok 2 s", "make demo": "- needs root"}}
    text = machines.table(outcomes)
    assert "one, make demo: exit status 2: why" in text and "- make demo: needs root: two" in text

"""On a machine that lacks something, each command prints one line with a remedy, fails, and changes nothing."""
import os
import re
import shutil
import subprocess

import pytest

from shmlab import labs

TOOLS = ("sh", "dirname", "id", "mkdir", "mktemp", "rm", "touch", "env", "cut", "cat", "tail", "sed", "head", "grep", "make",
         "cmp")


class Machine:
    """A checkout of the files that setup.sh needs, and a PATH with few commands, in a directory with an awkward name."""

    def __init__(self, directory):
        self.root = directory / "a b'c\"d\ne"
        self.tools = directory / "tools"
        self.tools.mkdir()
        (self.root / "harness").mkdir(parents=True)
        (self.root / "labs" / "05_sysv_create").mkdir(parents=True)
        for name in "Makefile", "harness/other_make.mk", "labs/05_sysv_create/sysv_create.c":
            shutil.copyfile(labs.ROOT / name, self.root / name)
        # The machine's own Python and headers are out of sight under names that do not exist.
        script = (labs.ROOT / "harness" / "setup.sh").read_text().replace("/usr/bin/python3", str(self.tools / "usr-python3"))
        (self.root / "harness" / "setup.sh").write_text(script)  # without the x bit
        for name in TOOLS:
            (self.tools / name).symlink_to(shutil.which(name, path="/usr/bin:/bin"))

    def add(self, name, script):
        """Adds a command to the machine, in place of a link to the real one: never written through."""
        (self.tools / name).unlink(missing_ok=True)
        with open(self.tools / name, "x") as file:
            file.write(f"#!/bin/sh\n{script}\n")
        (self.tools / name).chmod(0o755)

    def add_python(self, version, pytest_version="7.4.0", venv="exit 1"):
        """Adds an interpreter that reports this version and has this pytest (None: no pytest)."""
        why = f"pytest {pytest_version}" if pytest_version and int(pytest_version.split(".")[0]) < 6 else ""
        why = why if pytest_version else f"Python {version} without pytest"
        why = f"Python {version}" if tuple(map(int, version.split("."))) < (3, 9) else why
        probe = f'echo "{why}" >&2; exit 1' if why else "exit 0"
        self.add("usr-python3", f'case "$1 $2" in "-m venv") {venv} ;; "-c "*) {probe} ;; esac\nexit 0')

    def add_compiler(self):
        self.add("cc", "exit 0")

    def run(self, *words, **environment):
        done = subprocess.run(words, cwd=self.root, env={"PATH": str(self.tools), **environment}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def setup(self, purpose="check", **environment):
        return self.run("sh", "harness/setup.sh", purpose, **environment)

    def left(self):
        return {path.name for path in self.root.iterdir()} - {"Makefile", "harness", "labs", "build"}


@pytest.fixture
def machine(open_directory):
    return Machine(open_directory)


def refused(machine, outcome, *words):
    """Asserts that a command said so in one line."""
    status, output, errors = outcome
    lines = [line for line in errors.splitlines() if not line.startswith(("make: ***", "installing"))]
    assert status != 0 and output == "" and len(lines) == 1, outcome
    for word in words:
        assert word in lines[0], outcome
    assert machine.left() == set()


def test_a_machine_with_everything_gets_its_interpreter(machine):
    machine.add_python("3.11")
    machine.add_compiler()
    assert machine.setup() == (0, f"{machine.tools}/usr-python3\n", "")


def test_no_compiler_and_no_package_manager(machine):
    machine.add_python("3.11")
    refused(machine, machine.setup(), "missing on this machine: gcc", "your system's package manager")
    refused(machine, machine.run("make", "05"), "no compiler 'cc'", "CC=")
    machine.add_compiler()
    refused(machine, machine.run("make", "05", "CC=nocc -m32"), "no compiler 'nocc -m32'")
    machine.add("apt-get", "exit 1")
    machine.add("id", "echo 1000")
    (machine.tools / "cc").unlink()
    refused(machine, machine.setup(), "Ask an administrator to run: apt-get install gcc")


@pytest.mark.parametrize("processor, bits", [("i686", 32), ("armv7l", 32), ("x86_64", 32)])
def test_a_system_of_32_bits(processor, bits, machine):
    machine.add_compiler()
    machine.add_python("3.11")
    machine.add("uname", f'[ "$1" = -m ] && echo {processor} || echo Linux')
    machine.add("getconf", f"echo {bits}")
    refused(machine, machine.setup(), "64-bit", processor)
    refused(machine, machine.run("make", "05"), "64-bit", processor)


def test_no_linux(machine):
    machine.add("uname", "echo Darwin")
    refused(machine, machine.setup(), "needed: Linux", "docs/machine.md")


def test_no_network_for_packages(machine):
    machine.add_python("3.11")
    machine.add("id", "echo 0")
    machine.add("apt-get", 'echo "E: Unable to locate package $4"; [ "$1" = update ]')
    status, output, errors = machine.setup()
    assert status != 0 and output == "" and machine.left() == {"build-setup.log"}
    first, second = errors.splitlines()
    assert first.startswith("installing gcc") and "E: Unable to locate package" in second and "network" in second, errors


@pytest.mark.parametrize("version, pytest_version, says", [
    ("3.8", "7.4.0", "is Python 3.8"), ("3.8", None, "is Python 3.8"), ("3.11", "5.4.3", "is pytest 5.4.3"),
    ("3.11", None, "missing on this machine: python3-pytest"),
])
def test_what_is_there_is_too_old(machine, version, pytest_version, says):
    machine.add_compiler()
    machine.add_python(version, pytest_version)
    refused(machine, machine.setup(), says)
    assert not (machine.root / ".venv").exists()


def test_packages_are_not_installed_if_they_would_not_help(machine):
    machine.add_compiler()
    machine.add_python("3.8")
    machine.add("id", "echo 0")
    machine.add("apt-get", "touch installed; exit 0")
    refused(machine, machine.setup(), "Python 3.9 or later with pytest 6 or later", "is Python 3.8")


@pytest.mark.parametrize("pytest_version", [None, "5.4.3"])
def test_pytest_is_installed_into_a_venv(machine, pytest_version):
    machine.add_compiler()
    machine.add_python("3.11", pytest_version, venv='mkdir -p .venv/bin; printf "#!/bin/sh\\nexit 0\\n" >.venv/bin/python3; '
                                                    "chmod +x .venv/bin/python3")
    machine.add("chmod", 'exec /bin/chmod "$@"')
    status, output, errors = machine.setup()
    assert (status, output) == (0, f"{machine.root}/.venv/bin/python3\n"), errors


def test_a_venv_without_network_leaves_nothing(machine):
    machine.add_compiler()
    machine.add_python("3.11", None, venv='mkdir -p .venv/bin; printf "#!/bin/sh\\nexit 1\\n" >.venv/bin/python3')
    refused(machine, machine.setup(), "python3-pytest")
    assert not (machine.root / ".venv").exists()


def test_the_real_interpreter_answers_the_probe(machine):
    """The probe is the one of setup.sh, asked of the Python that runs the tests."""
    probe = re.search(r"PROBE='\n(.*?)\n'", (labs.ROOT / "harness" / "setup.sh").read_text(), re.S)[1]
    python = shutil.which("python3", path="/usr/bin")
    assert subprocess.run([python, "-c", probe, "pytest"]).returncode == 0
    done = subprocess.run([python, "-c", probe, "pytest,nosuchmodule"], capture_output=True, text=True)
    assert done.returncode == 1 and re.fullmatch(r"Python 3\.\d+ without nosuchmodule\n", done.stderr)
    older = probe.replace("< (3, 9)", "< (9, 9)")
    done = subprocess.run([python, "-c", older, "pytest"], capture_output=True, text=True)
    assert re.fullmatch(r"Python 3\.\d+\n", done.stderr)
    older = probe.replace("< 6", "< 999")
    done = subprocess.run([python, "-c", older, "pytest"], capture_output=True, text=True)
    assert re.fullmatch(r"pytest [\d.]+\n", done.stderr)


# ---- build/ -------------------------------------------------------------------------------------------------


def as_user(*words):
    """Runs a command as an ordinary user, for whom permissions hold."""
    user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"] if os.getuid() == 0 else []
    return [*user, *words]


@pytest.mark.parametrize("words", [("make", "05"), ("make", "check"), ("make", "hint"), ("make", "doctor")])
@pytest.mark.skipif(os.getuid() != 0, reason="only root can leave files of root")
def test_files_of_root_in_build_are_one_line_with_the_remedy(machine, words):
    for directory in (machine.root, *machine.root.parents[:3]):
        directory.chmod(0o755)
    machine.add_python("3.11")
    machine.add_compiler()
    os.chown(machine.root, 1000, 1000)
    (machine.root / "build").mkdir()
    os.chown(machine.root / "build", 1000, 1000)
    (machine.root / "build" / "flags").touch()
    setpriv = shutil.which("setpriv")
    outcome = machine.run(setpriv, *as_user(*words)[1:])
    refused(machine, outcome, "cannot write to build/flags", "sudo rm -rf build")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("mount, words, says", [
    ("-o ro", ("make", "05"), "copy the project"), ("-o ro", ("make", "check"), "SHMLAB_BUILD=/tmp/"),
    ("-o size=4k", ("make", "check"), "the disk may be full"),
])
def test_a_directory_that_cannot_be_written_to(machine, mount, words, says):
    machine.add_python("3.11")
    machine.add_compiler()
    (machine.root / "build").mkdir()
    script = f'mount -t tmpfs {mount} none build && {{ [ -w build ] && : >build/x && cat /dev/zero >build/x 2>/dev/null; ' \
             f'PATH="$0" exec {" ".join(words)}; }}'
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, str(machine.tools)], cwd=machine.root,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    refused(machine, (done.returncode, done.stdout, done.stderr), "cannot write to build", says)


def test_python_38_is_refused_before_anything_is_imported(tmp_path):
    init = (labs.ROOT / "harness" / "shmlab" / "__init__.py").read_text()
    assert init.index("sys.version_info < (3, 9)") < init.index("import_module")
    (tmp_path / "shmlab.py").write_text(init.replace("< (3, 9)", "< (9, 9)"))
    done = subprocess.run(["/usr/bin/python3", "-c", "import shmlab"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and re.fullmatch(r"error: Python 3\.9 or later is needed; this is 3\.\d+, \S+\n", done.stderr)


def test_another_make_stops_at_the_first_line():
    """BSD's make is not installed; its variable .PARSEFILE is set by hand, and GNU make does not know .error."""
    done = subprocess.run(["make", "-n", "help", ".PARSEFILE=Makefile"], cwd=labs.ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and "harness/other_make.mk" in done.stderr
    assert (labs.ROOT / "harness" / "other_make.mk").read_text().splitlines()[1].startswith(".error GNU make is needed")

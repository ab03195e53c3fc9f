"""The dev container has what harness/setup.sh wants and gets the box; VS Code's matchers find a failed check's line."""
import json
import os
import re
import subprocess
import sys

import pytest
import running

from shmlab import labs

DEVCONTAINER = labs.ROOT / ".devcontainer"
VSCODE = labs.ROOT / ".vscode"
IMAGES = {"Dockerfile": ["check", "grade", "dist", "docs"], "autograder.Dockerfile": ["check", "grade"]}


def jsonc(path):
    """Reads JSON in which whole lines are comments, as VS Code does."""
    return json.loads(re.sub(r"^\s*//.*$", "", path.read_text(), flags=re.M))


def packages(name):
    """Returns the packages that a Dockerfile installs."""
    command = re.search(r"apt-get install -y --no-install-recommends \\\n(.*?)\n    &&", (DEVCONTAINER / name).read_text(), re.S)
    return [line.strip(" \\") for line in command[1].splitlines()]


def wanted(purpose, tmp_path):
    """Returns the packages that setup.sh would install for a purpose on a machine that has none of them."""
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    for name in "sh", "dirname", "id", "env", "cut", "cat", "mkdir", "mktemp", "rm", "touch":
        if not (tools / name).exists():
            (tools / name).symlink_to(f"/usr/bin/{name}")
    apt = tools / "apt-get"
    apt.write_text('#!/bin/sh\n[ "$1" = install ] && echo "$@" >>"$PACKAGES"\nexit 0\n')
    apt.chmod(0o755)
    (tools / "sudo").write_text('#!/bin/sh\n[ "$1" = -n ] && shift\nexec "$@"\n')
    (tools / "sudo").chmod(0o755)
    listed = tmp_path / f"packages-{purpose}"
    # The machine's own Python and headers are out of sight under names that do not exist.
    script = (labs.ROOT / "harness" / "setup.sh").read_text().replace("/usr/bin/python3", "/nowhere/python3")
    copy = tmp_path / "harness" / "setup.sh"
    copy.parent.mkdir(exist_ok=True)
    copy.write_text(script.replace("/usr/include/stdio.h", "/nowhere/stdio.h"))
    environment = {"PATH": str(tools), "PACKAGES": str(listed)}
    subprocess.run(["/bin/sh", copy, purpose], env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    words = {word for line in listed.read_text().splitlines() for word in line.split() if not word.startswith("-")}
    return words - {"install"}


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_every_package_that_the_setup_would_install(image, tmp_path):
    installed = packages(image)
    assert installed == sorted(set(installed))
    for purpose in IMAGES[image]:
        lacks = wanted(purpose, tmp_path)
        assert "gcc" in lacks and "python3-pytest" in lacks, "the imitated machine lacks everything"
        assert lacks <= set(installed), f"{image} lacks {sorted(lacks - set(installed))} for {purpose}"


# ---- the box in a container ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def container(tmp_path_factory):
    program = tmp_path_factory.mktemp("container") / "container"
    source = labs.ROOT / "harness" / "tests" / "machines" / "container.c"
    subprocess.run(["gcc", "-std=gnu17", "-O2", "-Wall", "-Werror", source, "-o", program], check=True)
    return program


def doctor(container, options, build):
    """Returns what `doctor` says about the box in an imitated container that was started with these options."""
    command = ["unshare", "--mount", "--pid", "--ipc", "--fork", "--mount-proc", "--kill-child", container, *options,
               sys.executable, "-m", "shmlab", "doctor"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "PYTHONPATH": str(running.HARNESS), "SHMLAB_BUILD": str(build)})
    assert done.returncode == 0, done.stdout
    return re.search(r"^ +(box: .*)$", done.stdout, re.M)[1]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can imitate a container")
def test_the_run_arguments_are_the_fewest_that_allow_the_box(container, tmp_path):
    words = jsonc(DEVCONTAINER / "devcontainer.json")["runArgs"]
    pairs = list(zip(words[::2], words[1::2]))
    assert doctor(container, words, tmp_path).startswith("box: each program runs in its own")
    for pair in pairs:
        fewer = [word for other in pairs if other != pair for word in other]
        # AppArmor is not imitated: without its option, everything works here.
        works = doctor(container, fewer, tmp_path).startswith("box: each program runs in its own")
        assert works == (pair[1] == "apparmor=unconfined"), pair


@pytest.mark.skipif(os.getuid() != 0, reason="only root can imitate a container")
def test_without_the_run_arguments_the_first_line_says_so(container, tmp_path):
    command = ["unshare", "--mount", "--pid", "--ipc", "--fork", "--mount-proc", "--kill-child", container,
               *running.pytest_command(str(running.HARNESS), "--lab", "05", "--submission", str(labs.SOLUTIONS))]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "SHMLAB_BUILD": str(tmp_path)})
    first = done.stdout.splitlines()[0]
    assert first.startswith("box: ") and not first.startswith("box: each program runs in its own"), done.stdout
    assert re.search(r"^  [1-9]\d* of 10 points", done.stdout, re.M), done.stdout


# ---- VS Code ------------------------------------------------------------------------------------------------


def task(label):
    return next(task for task in jsonc(VSCODE / "tasks.json")["tasks"] if task["label"] == label)


def problems(output, matchers):
    """Returns (owner, file, line, message) of each problem: each pattern of a matcher has to match one line, in order."""
    lines, found = output.splitlines(), []
    for matcher in matchers:
        patterns = matcher["pattern"] if isinstance(matcher["pattern"], list) else [matcher["pattern"]]
        for start in range(len(lines) - len(patterns) + 1):
            matches = [re.search(pattern["regexp"], line) for pattern, line in zip(patterns, lines[start:])]
            if all(matches):
                found.append((matcher["owner"], *(next(match[pattern[part]] for pattern, match in zip(patterns, matches)
                                                       if part in pattern) for part in ("file", "line", "message"))))
    return found


def test_the_matchers_find_the_line_of_the_call(tmp_path):
    """The line that the editor shows is the one that the patch of a mistake has changed."""
    lab = labs.find("03")
    source = (labs.SOLUTIONS / lab.name / "anonymous_fork.c").read_text()
    wrong = source.replace("MAP_SHARED", "MAP_PRIVATE")
    (tmp_path / "anonymous_fork.c").write_text(wrong)
    line = next(str(number) for number, text in enumerate(wrong.splitlines(), 1) if "MAP_PRIVATE |" in text)
    output = running.check("03", tmp_path).output
    for label in "check this lab", "watch this lab":
        found = problems(output, task(label)["problemMatcher"])
        assert any(owner == "shmlab" and (file, at) == ("anonymous_fork.c", line) and "no shared anonymous mapping" in message
                   for owner, file, at, message in found), found
        assert any(owner == "shmlab-calls" and at == line and message.startswith("[") and "mmap(" in message
                   for owner, _, at, message in found), found


def test_the_matchers_find_what_the_compiler_reports(tmp_path):
    source = (labs.SOLUTIONS / "01_page_size" / "page_size.c").read_text().replace("return EXIT", "return EXTI")
    (tmp_path / "page_size.c").write_text(source)
    wrong = next(str(number) for number, text in enumerate(source.splitlines(), 1) if "EXTI" in text)
    found = problems(running.check("01", tmp_path).output, task("check this lab")["problemMatcher"])
    assert any((owner, file, line) == ("shmlab-compiler", "page_size.c", wrong) and "EXTI" in message
               for owner, file, line, message in found), found


@pytest.mark.parametrize("line, place", [
    ("  calls     sysv_create.c:31  shmget(0x53002032, 6, IPC_CREAT|IPC_EXCL|0640) = 0", ("sysv_create.c", "31")),
    ("            calls     labs/05_sysv_create/sysv_create.c:31  [4] shmdt(0x7f0000) = -1 EINVAL", ("sysv_create.c", "31")),
    ("                      sysv_create.c:9   exit(0)", ("sysv_create.c", "9")),
    ("            by hand   make 05; cd build/labs/05_sysv_create; ./sysv_create a:1 b", None),
    ("            read      labs/05_sysv_create/README.md, Steps", None),
])
def test_a_call_is_found_wherever_the_column_is(line, place):
    line = line if line.startswith(" " * 10) else " " * 10 + line
    found = [problem for problem in problems(line, task("check this lab")["problemMatcher"]) if problem[0] == "shmlab-calls"]
    assert [problem[1:3] for problem in found] == ([place] if place else [])


def test_the_watching_matchers_know_when_a_check_begins_and_ends():
    background = task("watch this lab")["problemMatcher"][0]["background"]
    first = running.check("01", labs.LABS).output.splitlines()[0]
    assert re.search(background["beginsPattern"], first), first
    text = (running.HARNESS / "shmlab" / "student.py").read_text()
    assert 'print(f"  watching ' in text and background["endsPattern"] == "^ *watching "


def substituted(words, source):
    """Replaces VS Code's variables as it does if this source is open."""
    relative = source.relative_to(labs.ROOT)
    values = {"workspaceFolder": labs.ROOT, "relativeFileDirname": relative.parent, "fileBasenameNoExtension": source.stem,
              "fileDirnameBasename": source.parent.name, "input:arguments": "meeting_place hello"}
    return [re.sub(r"\$\{([\w:]+)\}", lambda match: str(values[match[1]]), word) for word in words]


@pytest.mark.parametrize("label", [task["label"] for task in jsonc(VSCODE / "tasks.json")["tasks"]])
def test_every_task_is_a_command_of_the_makefile(label):
    """`make -n` refuses a target that does not exist."""
    words = substituted(task(label)["args"], labs.LABS / "05_sysv_create" / "sysv_create.c")
    done = subprocess.run(["make", "-n", *words], cwd=labs.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not os.path.exists("/usr/bin/gdb"), reason="gdb is not installed")
def test_the_debugger_stops_in_the_program_that_is_open():
    (configuration,) = jsonc(VSCODE / "launch.json")["configurations"]
    source = labs.SOLUTIONS / "05_sysv_create" / "sysv_create.c"
    build = task(configuration["preLaunchTask"])
    subprocess.run(["make", *substituted(build["args"], source)], cwd=labs.ROOT, check=True, capture_output=True)
    commands = [word for command in substituted([c["text"] for c in configuration["setupCommands"]], source)
                for word in ("-ex", "interpreter-exec mi '" + command + "'")]
    (program, cwd) = substituted([configuration["program"], configuration["cwd"]], source)
    done = subprocess.run(["gdb", "-nx", "-batch", program, *commands, "-ex", "start", "-ex", "print argc"], cwd=cwd,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert "$1 = 3" in done.stdout and "sysv_create.c:" in done.stdout, done.stdout + done.stderr

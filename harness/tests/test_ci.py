"""What harness/ci/ has for GitHub and GitLab: the script runs in a container as root and as a user, in the students' edition."""
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest
from test_devcontainer import wanted

from shmlab import dist, labs

CI = labs.ROOT / "harness" / "ci"
FILES = "github.yml", "gitlab.yml"


@pytest.fixture(scope="module")
def container(tmp_path_factory):
    """The program that imitates a container."""
    program = tmp_path_factory.mktemp("container") / "container"
    source = Path(__file__).with_name("machines") / "container.c"
    subprocess.run(["gcc", "-std=gnu17", "-O2", "-static", source, "-o", program], check=True)
    return program


@pytest.fixture
def edition(open_directory):
    dist.students_edition(open_directory / "lab")
    for lab in "01", "08":
        for path in (labs.SOLUTIONS / labs.find(lab).name).glob("*.c"):
            shutil.copyfile(path, open_directory / "lab" / "labs" / path.parent.name / path.name)
    return open_directory / "lab"


def check(container, edition, who, numbers):
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LAB": numbers, "GITHUB_STEP_SUMMARY": str(edition.parent / "summary")}
    return subprocess.run([container, "sh", "harness/ci/check.sh", who], cwd=edition, env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(os.getuid() != 0, reason="the platforms' containers begin as root")
@pytest.mark.xdist_group("host")
@pytest.mark.parametrize("who, uid", [("root", 0), ("user", 1000)])
def test_labs_are_checked_in_a_container(container, edition, who, uid):
    done = check(container, edition, who, "01 08")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"**20 of 20 points** as {who}" in done.stdout and "| 08_posix_create | 10 of 10 |  |" in done.stdout
    assert (edition / "build" / "ci" / "junit.xml").stat().st_uid == uid
    done = check(container, edition, who, "05")
    assert done.returncode == 1, done.stdout + done.stderr
    first = labs.find("05").checks()[0].sentence
    assert (edition.parent / "summary").read_text().splitlines()[-1] == f"| 05_sysv_create | 0 of 10 | {first} |"
    cases = list(xml.parse(edition / "build" / "ci" / "junit.xml").iter("testcase"))
    assert len(cases) == len(labs.find("05").checks()) and all(case.find("failure") is not None for case in cases)
    done = check(container, edition, who, "77")
    assert done.returncode not in (0, 1) and "The checks did not start" in done.stdout


def test_the_user_has_to_be_named():
    done = subprocess.run(["sh", CI / "check.sh"], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "sh harness/ci/check.sh user" in done.stderr


@pytest.mark.parametrize("name", FILES)
def test_a_platform_installs_what_a_check_needs_and_keeps_what_it_writes(name, tmp_path):
    text = (CI / name).read_text()
    installed = set(re.search(r"--no-install-recommends (.*)", text)[1].split())
    assert wanted("check", tmp_path) <= installed
    assert "debian:trixie" in text and "[root, user]" in text and "sh harness/ci/check.sh" in text and "build/ci/" in text
    assert not (labs.ROOT / ".github").exists() and not (labs.ROOT / ".gitlab-ci.yml").exists(), "they are off until they are copied"


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_yaml(name):
    yaml = pytest.importorskip("yaml")
    data = yaml.safe_load((CI / name).read_text())
    job = data["jobs"]["check"] if name == "github.yml" else data["check"]
    assert job["strategy"]["matrix"]["who"] == ["root", "user"] if name == "github.yml" else job["parallel"]["matrix"][0]["WHO"]
    assert name != "github.yml" or data["permissions"] == {"contents": "read"}

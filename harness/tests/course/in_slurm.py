"""`make test-slurm`, as root: courses that a real Slurm graded as job arrays on two nodes have the marks of one machine.

The test starts Debian's munged, slurmctld and two slurmd itself, without systemd, with files in a directory of its own.
"""
import csv
import os
import socket
import subprocess
import time

import pytest
from grading import grade, results
from test_whole_course import LATE, Course, differences

from shmlab import labs

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="slurmd starts tasks as their users, so it needs root")

CONFIGURATION = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={directory}/munge.socket
SlurmUser=root
SlurmdUser=root
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmctldPidFile={directory}/ctld.pid
SlurmdPidFile={directory}/slurmd.%n.pid
SlurmdSpoolDir={directory}/spool.%n
StateSaveLocation={directory}/state
SlurmctldLogFile={directory}/ctld.log
SlurmdLogFile={directory}/slurmd.%n.log
SlurmctldPort={ports[0]}
SwitchType=switch/none
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
"""
LABS = "01", "05", "08"


def wait_for(condition, what, seconds=240):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.1)
    return found


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Slurm:
    def __init__(self, directory):
        self.directory, self.running = directory, []
        for name in "state", "spool.n1", "spool.n2":
            (directory / name).mkdir()
        (directory / "munge.key").write_bytes(os.urandom(128))
        (directory / "munge.key").chmod(0o400)
        (directory / "slurm.conf").write_text(CONFIGURATION.format(directory=directory, host=os.uname().nodename.split(".")[0],
                                                                   ports=free_ports(3)))
        self.environment = {**os.environ, "SLURM_CONF": str(directory / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
                            "TERM": "dumb"}
        for name in "SLURM_JOB_ID", "MAKEFLAGS", "MAKELEVEL", "MFLAGS":
            self.environment.pop(name, None)

    def start(self):
        files = [f"--{name}-file={self.directory}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        self.daemon("munged", "--foreground", "--force", f"--socket={self.directory}/munge.socket", *files)
        wait_for((self.directory / "munge.socket").exists, "munged")
        self.daemon("slurmctld", "-D", "-i")
        for node in "n1", "n2":
            self.daemon("slurmd", "-D", "-N", node)
        wait_for(lambda: self.run("sinfo", "-h", "-N", "-o", "%T", check=False).split() == ["idle", "idle"], "two nodes")

    def daemon(self, *words):
        log = open(self.directory / f"{words[0]}.{len(self.running)}.out", "wb")
        self.running.append(subprocess.Popen(words, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def stop(self):
        for process in reversed(self.running):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run(self, *words, check=True):
        done = subprocess.run(words, env=self.environment, cwd=labs.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def submit(self, *words):
        """Submits docs/slurm.sbatch. Returns the job's id."""
        return self.run("sbatch", "--parsable", f"--output={self.directory}/%A_%a.out", *words).strip().split(";")[0]

    def states(self, job):
        """Returns the state of each task of a job."""
        lines = self.run("scontrol", "--oneliner", "show", "job", job).splitlines()
        return {words.get("ArrayTaskId", ""): words["JobState"] for words in
                (dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines)}

    def wait(self, job, seconds=240):
        wait_for(lambda: not set(self.states(job).values()) & {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING"}, f"job {job}", seconds)
        return self.states(job)

    def output(self, job):
        return "".join(path.read_text() for path in sorted(self.directory.glob(f"{job}_*.out")))


@pytest.fixture
def slurm(tmp_path):
    (tmp_path / "slurm").mkdir(mode=0o755)
    for directory in (tmp_path, *list(tmp_path.parents)[:2]):  # munged refuses a socket that nobody else can reach
        directory.chmod(0o755)
    made = Slurm(tmp_path / "slurm")
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_a_job_array_on_two_nodes_gives_the_same_marks_also_after_a_task_was_killed(slurm, tmp_path):
    for number, name in enumerate(("ada", "ben", "cem", "dot", "eve", "fay")):
        for lab in LABS:
            target = tmp_path / "in" / name / labs.find(lab).name
            target.mkdir(parents=True)
            for path in ((labs.LABS if number == 1 else labs.SOLUTIONS) / target.name).glob("*.c"):
                (target / path.name).write_text(f"{path.read_text()}// {name}\n")
    wrong = tmp_path / "in" / "cem" / "05_sysv_create" / "sysv_create.c"
    wrong.write_text(wrong.read_text().replace("IPC_CREAT | IPC_EXCL | MODE", "IPC_CREAT | MODE"))
    course = tmp_path / "course.ini"
    course.write_text(f"[course]\nlabs = {' '.join(LABS)}\n")
    out = tmp_path / "results"
    array = ["docs/slurm.sbatch", "2", str(tmp_path / "in"), str(out), str(course)]

    job = slurm.submit("--array=1-2", *array)
    merging = slurm.submit(f"--dependency=afterany:{job}", "docs/slurm.sbatch", "merge", str(out))
    killed = tmp_path / "results.slice.2"
    wait_for(lambda: list(killed.glob("students/*/checks/*.json")) or slurm.states(job).get("2") == "FAILED", "an outcome of slice 2")
    slurm.run("scancel", "--full", "--signal=KILL", f"{job}_2")
    states = slurm.wait(job)
    assert states == {"1": "COMPLETED", "2": states["2"]} and states["2"] != "COMPLETED", (states, slurm.output(job))
    assert slurm.wait(merging) == {"": "FAILED"}
    assert f"slice 2/2 in {killed} is not finished" in slurm.output(merging) and not out.exists()

    again = slurm.submit("--array=2", *array)
    assert slurm.wait(again) == {"2": "COMPLETED"}, slurm.output(again)
    assert " of them graded before" in slurm.output(again)
    merging = slurm.submit("docs/slurm.sbatch", "merge", str(out))
    assert slurm.wait(merging) == {"": "COMPLETED"}, slurm.output(merging)

    assert grade(tmp_path / "in", tmp_path / "whole", "--course", str(course)).returncode == 0
    assert results(out) == results(tmp_path / "whole")
    assert (out / "grades.csv").read_bytes() == (tmp_path / "whole" / "grades.csv").read_bytes()
    assert [row[-3] for row in csv.reader((out / "grades.csv").open(newline=""))][1:3] == ["30", "0"]


@pytest.mark.parametrize("platform", ["canvas", "moodle"])
def test_a_download_of_all_submissions_on_two_nodes(platform, slurm, tmp_path):
    (tmp_path / "course").mkdir()
    course, out = Course(platform, tmp_path / "course"), tmp_path / "results"
    array = ["docs/slurm.sbatch", "2", str(course.directory / "download.zip"), str(out), str(course.directory / "course.ini")]
    job = slurm.submit("--array=1-2", *array)
    merging = slurm.submit(f"--dependency=afterany:{job}", "docs/slurm.sbatch", "merge", str(out))
    assert slurm.wait(job, 2400) == {"1": "COMPLETED", "2": "COMPLETED"}, slurm.output(job)
    assert slurm.wait(merging) == {"": "COMPLETED"}, slurm.output(merging)
    assert differences(course, results(out), LATE) == []
    course.run("whole")
    assert results(out) == results(course.directory / "whole")

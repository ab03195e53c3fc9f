# An image that grades a course, for instructors: it contains the solutions, so keep it from your students.
#
#     docker build -t shmlab-grader -f .devcontainer/autograder.Dockerfile .
#     docker run --rm --security-opt seccomp=unconfined --security-opt systempaths=unconfined \
#         --security-opt apparmor=unconfined -v "$PWD/handed-in:/handed-in:ro" -v "$PWD/results:/results" shmlab-grader
#
# What follows the image's name are further words of `make grade`, for example LAB=05. devcontainer.json explains the
# three security options; without them, `make grade` refuses unless you trust the programs (TRUST=1).
FROM debian:trixie

# One package a line. harness/tests/test_devcontainer.py compares the list with what harness/setup.sh installs.
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    binutils \
    gcc \
    libc6-dev \
    make \
    musl-tools \
    patch \
    python3 \
    python3-jinja2 \
    python3-pytest \
    python3-rich \
    && rm -rf /var/lib/apt/lists/*

COPY . /lab
WORKDIR /lab
ENTRYPOINT ["make", "--no-print-directory", "grade", "FROM=/handed-in", "OUT=/results"]

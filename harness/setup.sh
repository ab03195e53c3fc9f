#!/bin/sh
# Usage: sh harness/setup.sh PURPOSE
#
# Installs what a command needs and this machine lacks, and prints the path of the Python interpreter to use.
# PURPOSE is one of
#   build      nothing: only looks whether there is a compiler ($2) and build/ can be written to; for `make` alone
#   check      a C compiler and pytest, for students
#   grade      also what the progress bar and the reports need
#   collect    also git
#   dist       also musl-gcc and a compiler for the other processor, with which the peers are compiled again
#   lint       also flake8, mypy, shellcheck, clang-format and clang-tidy
#   machines   also mmdebstrap, which builds the roots of other machines, and QEMU, which gives some a kernel of their own
#   docs       also Doxygen, and lunr for the search box
#   docs-test  also Chromium, Selenium and axe-core
#   test-slurm also what the reports need, and Slurm with munge
#   test-real  also PostgreSQL, Redis and stress-ng
#   test       everything that the project's own tests need, except a browser
# Installs Debian packages as root or with sudo. If only Python's modules are missing and that is not possible, installs
# them into .venv. Otherwise prints one line that says what to do, and exits with status 1.
set -u
cd "$(dirname "$0")/.." || exit 1
purpose=${1:-check}
build=build
[ "$purpose" = build ] || build=${SHMLAB_BUILD:-build}

say() { printf '%s\n' "$*" >&2; }

# ---- build/ ------------------------------------------------------------------------------------------------

# `sudo make check` leaves files that their owner's next command cannot replace. This is looked at before anything is
# installed.
check_build_directory() {
    if [ "$purpose" = build ]; then
        elsewhere="copy the project to a directory that can be written to"
    else
        elsewhere="name another directory, for example: export SHMLAB_BUILD=/tmp/shmlab-$(id -u)"
    fi
    if [ ! -e "$build" ] && ! mkdir -p "$build" 2>/dev/null; then
        say "cannot create the directory $build: $elsewhere"
        exit 1
    fi
    for path in "$build" "$build"/* "$build"/labs/*; do
        if [ -e "$path" ] && [ ! -w "$path" ]; then
            if [ "$(id -u)" -eq 0 ] || [ -O "$path" ]; then
                say "cannot write to $path: $elsewhere"
            else
                say "cannot write to $path, which belongs to another user (was a command run with sudo?): sudo rm -rf $build"
            fi
            exit 1
        fi
    done
    if ! probe=$(mktemp "$build/.probe.XXXXXX" 2>/dev/null) || ! echo probe 2>/dev/null >"$probe"; then
        rm -f "${probe:-}"
        say "cannot write to $build, the disk may be full: make space, or $elsewhere"
        exit 1
    fi
    rm -f "$probe"
}

# ---- Linux, 64 bits ---------------------------------------------------------------------------------------

# A number and an address have 64 bits in the handouts, in the layouts of lab 17 and 18, and in the spy's record.
system=$(uname -s 2>/dev/null)
if [ -n "$system" ] && [ "$system" != Linux ]; then
    say "needed: Linux; docs/machine.md says how to get it on a machine with $system"
    exit 1
fi
processor=$(uname -m 2>/dev/null)
case $processor-$(getconf LONG_BIT 2>/dev/null) in
i?86-* | armv*-* | *-32)
    say "needed: a 64-bit system, x86-64 or aarch64; this one is $processor with $(getconf LONG_BIT 2>/dev/null || echo 32)-bit programs"
    exit 1
    ;;
esac

# ---- Python ------------------------------------------------------------------------------------------------

# Reports why an interpreter cannot be used, in words; nothing if it can. pytest's version is read from its metadata,
# because importing pytest is slow.
PROBE='
import sys
if sys.version_info < (3, 9):
    sys.exit("Python %d.%d" % sys.version_info[:2])
import importlib.util, importlib.metadata
for name in sys.argv[1].split(","):
    if not importlib.util.find_spec(name):
        sys.exit("Python %d.%d without %s" % (*sys.version_info[:2], name))
try:
    version = importlib.metadata.version("pytest")
except importlib.metadata.PackageNotFoundError:
    import pytest
    version = pytest.__version__
if int(version.split(".")[0]) < 6:
    sys.exit("pytest " + version)
'

# Sets $python to the first interpreter that has all modules in $1. Otherwise sets $found to what there is instead,
# $newer to an interpreter that is new enough, and $apt_helps to "no" if Debian's package of pytest would not be used.
# The system's interpreter is tried before the one on PATH, which may be a slow wrapper script.
find_python() {
    python='' found='' newer='' apt_helps=yes
    for name in .venv/bin/python3 /usr/bin/python3 python3; do
        path=$(command -v "$name" 2>/dev/null) || continue
        case $path in /*) ;; *) path=$PWD/$path ;; esac
        if why=$("$path" -c "$PROBE" "$1" 2>&1); then
            python=$path
            return 0
        fi
        why=$(printf '%s\n' "$why" | tail -n 1)
        found="${found:+$found; }$name is $why"
        case $why in
        *without*) newer=${newer:-$path} ;;
        pytest*) newer=${newer:-$path} && [ "$name" = /usr/bin/python3 ] && apt_helps=no ;;
        *) [ "$name" = /usr/bin/python3 ] && apt_helps=no ;;
        esac
    done
    return 1
}

# Installs the modules in $1 into .venv. Returns 1, and leaves nothing behind, if that is not possible.
make_venv() {
    [ -n "$newer" ] || return 1
    [ -e .venv ] && ! .venv/bin/python3 -c '' 2>/dev/null && return 1 # not ours to replace
    [ -e .venv ] && was_there=yes || was_there=
    names=$(printf '%s' "$1" | sed 's/,/ /g; s/xdist/pytest-xdist/; s/pytest /pytest>=6 /; s/pytest$/pytest>=6/')
    say "installing $names into .venv"
    # shellcheck disable=SC2086
    if { [ -n "$was_there" ] || "$newer" -m venv .venv; } >/dev/null 2>&1 &&
        .venv/bin/python3 -m pip install --quiet --retries 1 $names >/dev/null 2>&1; then
        return 0
    fi
    [ -n "$was_there" ] || rm -rf .venv
    return 1
}

# ---- what is missing ---------------------------------------------------------------------------------------

check_build_directory
if [ "$purpose" = build ]; then
    compiler=${2:-cc}
    if ! command -v "${compiler%% *}" >/dev/null 2>&1; then
        say "there is no compiler '$compiler': \`make doctor\` installs one, or name another with CC="
        exit 1
    fi
    exit 0
fi

sanitizes() { echo 'int main(void){return 0;}' | "$1" -x c -fsanitize=address,undefined -o /dev/null - 2>/dev/null; }

modules=pytest
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }

need cc gcc
if [ ! -e /usr/include/stdio.h ] && ! echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1; then
    missing="$missing libc6-dev"
fi
if [ "$purpose" = grade ] || [ "$purpose" = test ] || [ "$purpose" = test-slurm ]; then
    modules=pytest,rich,jinja2
    need patch patch
fi
if [ "$purpose" = machines ] || [ "$purpose" = test ]; then
    need mmdebstrap mmdebstrap
fi
if [ "$purpose" = machines ]; then
    need qemu-system-x86_64 qemu-system-x86
    need mkfs.ext4 e2fsprogs
fi
case $purpose in
lint | test)
    need flake8 flake8
    need mypy mypy
    need shellcheck shellcheck
    need clang-format clang-format
    need clang-tidy clang-tidy
    ;;
esac
if [ "$purpose" = dist ] || [ "$purpose" = test ]; then
    need musl-gcc musl-tools
fi
if [ "$purpose" = test ]; then
    modules=$modules,xdist
    need gcc gcc
    need clang clang
    need git git
    need strace strace
    need lsof lsof
    need gdb gdb
    need ipcs util-linux
    need pgrep procps
    if command -v clang >/dev/null 2>&1; then
        sanitizes clang || missing="$missing libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
    elif command -v apt-cache >/dev/null 2>&1; then
        late_clang_rt=yes
    fi
fi
[ "$purpose" != collect ] || need git git
case $purpose in test | docs*) need doxygen doxygen ;; esac
lunr=' libjs-lunr python3-lunr'
[ ! -e /usr/share/javascript/lunr/lunr.min.js ] || [ ! -d /usr/lib/python3/dist-packages/lunr ] || lunr=
case $purpose in test | docs-test) missing="$missing$lunr" ;; esac
if [ "$purpose" = test-real ]; then
    [ -n "$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null)" ] || missing="$missing postgresql"
    need redis-server redis-server
    need stress-ng stress-ng
fi
if [ "$purpose" = test-slurm ]; then
    PATH=$PATH:/usr/sbin
    need munged munge
    need slurmctld slurmctld
    need slurmd slurmd
    need sbatch slurm-client
fi
if [ "$purpose" = docs-test ]; then
    modules=pytest,selenium,jinja2
    need chromium chromium
    need chromedriver chromium-driver
    need npm npm
fi
if ! find_python "$modules" && [ "$apt_helps" = yes ]; then
    missing="$missing python3-pytest" # this package depends on python3
    case $purpose in grade | test | test-slurm) missing="$missing python3-rich python3-jinja2" ;; esac
    [ "$purpose" = test ] && missing="$missing python3-pytest-xdist"
    [ "$purpose" = docs-test ] && missing="$missing python3-selenium python3-jinja2"
fi

# Optional: without this theme the pages have Doxygen's own, without lunr no search box, without this compiler the students' edition has peers for one
# processor.
wanted=
case $missing in *doxygen*) wanted=doxygen-awesome-css ;; esac
[ "$purpose" != docs ] || wanted="$wanted$lunr"
if [ "$purpose" = dist ] || [ "$purpose" = test ]; then
    case $processor in
    x86_64) command -v aarch64-linux-gnu-gcc >/dev/null 2>&1 || wanted="$wanted gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;;
    aarch64) command -v x86_64-linux-gnu-gcc >/dev/null 2>&1 || wanted="$wanted gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;;
    esac
fi

# ---- installing --------------------------------------------------------------------------------------------

needed="Python 3.9 or later with pytest 6 or later"

if [ -z "$python" ] && [ "$apt_helps" = no ] && [ -z "$newer" ]; then
    say "needed: $needed; here, $found. Install a newer Python, so that \`python3\` is the newer one"
    exit 1
fi

root=
can_install=
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" -eq 0 ]; then
        can_install=yes
    elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        can_install=yes
        root=sudo
    fi
fi

install() { $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }

if [ -n "$missing$wanted" ] && [ -n "$can_install" ]; then
    say "installing$missing${wanted:+ $wanted}"
    log="build-setup.log"
    { : >"$log"; } 2>/dev/null || log=$(mktemp) || log=/dev/null
    $root apt-get update >"$log" 2>&1 </dev/null
    # shellcheck disable=SC2086
    [ -z "$missing" ] || {
        install $missing && { [ "${late_clang_rt:-}" != yes ] || install "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"; }
    } >>"$log" 2>&1 </dev/null || {
        why=$(grep '^E:' "$log" | head -n 1)
        say "apt-get could not install$missing: ${why:-the reason is unknown}. $log has the rest; if the network is down, try again later"
        exit 1
    }
    # shellcheck disable=SC2086
    [ -z "$wanted" ] || install $wanted >>"$log" 2>&1 </dev/null || say "not available, so done without: $wanted"
    [ "$log" = /dev/null ] || rm -f "$log"
    [ -n "$python" ] || find_python "$modules"
elif [ -n "$missing" ]; then
    others=
    for package in $missing; do
        case $package in python3-*) ;; *) others="$others $package" ;; esac
    done
    if [ -n "$others" ] || ! make_venv "$modules"; then
        if command -v apt-get >/dev/null 2>&1; then
            say "missing on this machine:$missing. Ask an administrator to run: apt-get install$missing"
        else
            say "missing on this machine:$missing (Debian's names). Install them with your system's package manager"
        fi
        exit 1
    fi
    find_python "$modules"
fi

if [ -z "$python" ] && ! { make_venv "$modules" && find_python "$modules"; }; then
    say "needed: $needed${found:+; here, $found}. Could not install it into .venv: is the network up, and is there python3-venv?"
    exit 1
fi
# Debian has no axe-core that works with its Chromium.
axe="$build/npm/node_modules/axe-core/axe.min.js"
if [ "$purpose" = docs-test ] && [ ! -e "$axe" ]; then
    say "installing axe-core into $build/npm"
    if ! why=$(npm install --prefix "$build/npm" --no-save --no-audit --no-fund --loglevel=error axe-core@4.14.1 2>&1) || [ ! -e "$axe" ]; then
        say "npm could not install axe-core: $(printf '%s\n' "${why:-the reason is unknown}" | head -n 1). Is the network up?"
        exit 1
    fi
fi
printf '%s\n' "$python"

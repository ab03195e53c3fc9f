#!/bin/sh
# Usage: harness/setup.sh PURPOSE
#
# Installs what a command needs and this machine lacks, and prints the path of the Python interpreter to use.
# PURPOSE is one of
#   check      a C compiler and pytest, for students
#   grade      also what the progress bar and the reports need
#   dist       also musl-gcc, with which the peers are compiled a second time
#   lint       also flake8, mypy, shellcheck, clang-format and clang-tidy
#   machines   also mmdebstrap, which builds the roots of other machines
#   docs       also Doxygen
#   docs-test  also Chromium and Selenium
#   test       everything that the project's own tests need, except a browser
# Installs Debian packages as root or with sudo. Without apt, installs pytest into .venv if only that is missing.
# Otherwise prints one line that says what to install.
set -u
cd "$(dirname "$0")/.." || exit 1
purpose=${1:-check}

say() { echo "$*" >&2; }

# Prints the first interpreter that has all modules in $1. find_spec() is used because importing pytest is slow. The
# system's interpreter is tried before the one on PATH, which may be a slow wrapper script.
find_python() {
    for python in .venv/bin/python3 /usr/bin/python3 python3; do
        path=$(command -v "$python" 2>/dev/null) || continue
        if "$path" -c "import sys, importlib.util as u; assert sys.version_info >= (3, 9)
assert all(u.find_spec(module) for module in '$1'.split(','))" 2>/dev/null; then
            case $path in /*) ;; *) path=$PWD/$path ;; esac
            echo "$path"
            return 0
        fi
    done
    return 1
}

sanitizes() { echo 'int main(void){return 0;}' | "$1" -x c -fsanitize=address,undefined -o /dev/null - 2>/dev/null; }

modules=pytest
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }

need cc gcc
if [ ! -e /usr/include/stdio.h ] && ! echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1; then
    missing="$missing libc6-dev"
fi
if [ "$purpose" = grade ] || [ "$purpose" = test ]; then
    modules=pytest,rich,jinja2
    need patch patch
fi
[ "$purpose" = machines ] && need mmdebstrap mmdebstrap
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
    need ipcs util-linux
    if command -v clang >/dev/null 2>&1; then
        sanitizes clang || missing="$missing libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
    elif command -v apt-cache >/dev/null 2>&1; then
        late_clang_rt=yes
    fi
fi
case $purpose in test | docs*) need doxygen doxygen ;; esac
if [ "$purpose" = docs-test ]; then
    modules=pytest,selenium
    need chromium chromium
    need chromedriver chromium-driver
fi
python=$(find_python "$modules") || {
    missing="$missing python3-pytest" # this package depends on python3
    case $purpose in grade | test) missing="$missing python3-rich python3-jinja2" ;; esac
    [ "$purpose" = test ] && missing="$missing python3-pytest-xdist"
    [ "$purpose" = docs-test ] && missing="$missing python3-selenium"
}
case $missing in *doxygen*) wanted=doxygen-awesome-css ;; esac # optional: the pages also work without this theme

if [ -n "$missing" ]; then
    if command -v apt-get >/dev/null 2>&1; then
        root=
        if [ "$(id -u)" -ne 0 ]; then
            if command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
                root=sudo
            else
                say "missing on this machine:$missing. Ask an administrator to run: apt-get install$missing"
                exit 1
            fi
        fi
        say "installing$missing"
        {
            $root apt-get update
            # shellcheck disable=SC2086
            $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
            if [ "${late_clang_rt:-}" = yes ]; then
                $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
                    "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
            fi
        } >build-setup.log 2>&1 </dev/null || {
            say "apt-get could not install$missing: see build-setup.log"
            exit 1
        }
        if [ -n "${wanted:-}" ]; then
            $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$wanted" \
                >>build-setup.log 2>&1 </dev/null || say "the package $wanted is not available: the pages will have Doxygen's own theme"
        fi
        rm -f build-setup.log
    elif command -v python3 >/dev/null 2>&1 && command -v cc >/dev/null 2>&1 && [ "$purpose" = check ]; then
        say "installing pytest into .venv"
        { python3 -m venv .venv && .venv/bin/python3 -m pip install --quiet pytest; } >&2 || {
            say "could not install pytest: install it with your system's package manager"
            exit 1
        }
    else
        say "missing on this machine:$missing (Debian's names). Install them with your system's package manager"
        exit 1
    fi
    python=$(find_python "$modules") || {
        say "no Python 3.9 or later can import $modules, even after installing$missing"
        exit 1
    }
fi
echo "$python"

#!/bin/sh
# Usage: harness/lint.sh
#
# Looks at the project's own code without running it: format, types, and what the compilers do not report.
# Prints what each tool has found; exit status 1 if one of them found anything.
# shellcheck disable=SC2317 # what run() calls looks unreachable
set -u
cd "$(dirname "$0")/.." || exit 1
status=0

run() { # NAME COMMAND...
    name=$1
    shift
    if output=$("$@" 2>&1); then
        echo "  ok    $name"
    else
        echo "  FAIL  $name"
        echo "$output"
        status=1
    fi
}

c_files() { find labs solutions docs/examples harness/native harness/hostile harness/tests -name '*.[ch]' | sort; }

# clang-tidy needs seconds for a file: the programs and the harness's own C, a few at a time. The spy's parts are read
# as spy.c includes them.
tidy() {
    find solutions harness/native -name '*.c' ! -path '*/spy/*' -o -name spy.c | sort |
        xargs -n 4 -P "$(nproc)" sh -c 'clang-tidy --quiet "$@" -- -std=gnu17 2>/dev/null' sh
}

types() { (cd harness && mypy --no-error-summary -p shmlab); }

run "flake8        Python's style" flake8 harness docs/examples
run "mypy          Python's types" types
run "shellcheck    shell scripts" shellcheck harness/setup.sh harness/lint.sh docs/slurm.sbatch harness/ci/check.sh .ci/run
# shellcheck disable=SC2046
run "clang-format  C's format" clang-format --dry-run -Werror $(c_files)
run "clang-tidy    C's bugs" tidy
exit $status

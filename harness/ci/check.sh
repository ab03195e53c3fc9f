#!/bin/sh
# Usage, as root, in a container of a platform: sh harness/ci/check.sh root|user
#
# Checks the labs as this user. Writes build/ci/junit.xml, build/ci/results.json and build/ci/summary.md, and shows the summary where
# GitHub puts one. LAB="01 02" names the labs; without it, all count. The exit status is 0 if they have all their points.
set -u
cd "$(dirname "$0")/../.." || exit 1
out=build/ci
rm -rf "$out"
mkdir -p "$out" || exit 1

as=
case ${1:-} in
root) ;;
user)
    chown -R 1000:1000 . || exit 1
    as="setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/tmp"
    ;;
*)
    echo "error: say as whom: sh harness/ci/check.sh root, or sh harness/ci/check.sh user" >&2
    exit 2
    ;;
esac
who=$1
set --
for lab in ${LAB:-}; do
    set -- "$@" --lab "$lab"
done
# shellcheck disable=SC2086 # the words of $as
$as python3 -m pytest harness --submission labs --junitxml="$out/junit.xml" --results "$out/results.json" "$@"
status=$?

python3 - "$out/results.json" "$who" >"$out/summary.md" <<'END'
import json
import sys

try:
    with open(sys.argv[1], encoding="utf-8") as file:
        data = json.load(file)
except (OSError, ValueError):
    sys.exit(print("The checks did not start: see the output of this job."))
labs = data["labs"]
print(f"**{sum(one['score'] for one in labs.values())} of {sum(one['maximum'] for one in labs.values())} points** as {sys.argv[2]}\n")
print("| lab | points | the first requirement that does not hold |\n|---|---|---|")
for name, one in labs.items():
    first = next((check["sentence"] for check in data["checks"] if check["lab"] == name and check["status"] != "passed"), "")
    print(f"| {name} | {one['score']} of {one['maximum']} | {first.replace('|', chr(92) + '|')} |")
END
cat "$out/summary.md"
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
    cat "$out/summary.md" >>"$GITHUB_STEP_SUMMARY"
fi
exit "$status"

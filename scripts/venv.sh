#!/bin/sh
# Makes .venv and installs the project into it: `scripts/venv.sh runtime` or `scripts/venv.sh dev` (with the test tools).
# Called by the Makefile. Exact files come from requirements/, each known by its
# hash, so that two machines get the same.
set -eu
cd "$(dirname "$0")/.."
kind=$1
venv=.venv

say() { echo "visitstats: $*" >&2; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    found=$("${PYTHON:-python3}" --version 2>/dev/null || echo "not there")
    say "Python 3.11 or newer is needed, and ${PYTHON:-python3} is $found;" \
        "install it, or name one: make PYTHON=/path/to/python3.12 ..."
    exit 1
}

if ! new_enough "$venv/bin/python" || [ "$(cat "$venv/.place" 2>/dev/null || pwd)" != "$(pwd)" ]; then
    python=$(find_python)
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        say "$python cannot make a virtual environment: install its venv module (Debian, Ubuntu: apt install python3-venv)"
        exit 1
    fi
    say "making $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
pwd >"$venv/.place"
rm -f "$venv/.runtime" "$venv/.dev"

case $kind in
runtime | dev) ;;
*) say "usage: scripts/venv.sh runtime|dev" && exit 2 ;;
esac
say "installing ($kind); the first time takes a minute or two"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet --timeout 30 --retries 3 "$@"; }
# The build tool comes first, pinned like everything else: an isolated build would fetch whatever is newest.
if ! pip install --require-hashes -r requirements/build.txt ||
    ! pip install --require-hashes --no-deps --no-build-isolation -r "requirements/$kind.txt" ||
    ! pip install --no-deps --no-build-isolation --editable .; then
    say "the installation failed (see above); is the package index reachable?"
    exit 1
fi
touch "$venv/.runtime"
[ "$kind" = runtime ] || touch "$venv/.dev"

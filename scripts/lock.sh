#!/bin/sh
# Renews constraints.txt: the newest versions that pyproject.toml allows, seen in a fresh environment.
set -eu
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"${PYTHON:-python3}" -m venv "$fresh"
"$fresh/bin/pip" install --quiet --disable-pip-version-check --upgrade setuptools
"$fresh/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation --editable '.[dev]'
# redis-py wants it before Python 3.11.3 (Debian 12 has 3.11.2), which this Python may not be.
"$fresh/bin/pip" install --quiet --disable-pip-version-check async-timeout
{
    echo "# Exact versions of everything that is installed, by 'make lock'; pyproject.toml says what is allowed."
    "$fresh/bin/pip" freeze --all --exclude-editable --exclude pip
} >constraints.txt.new
mv constraints.txt.new constraints.txt

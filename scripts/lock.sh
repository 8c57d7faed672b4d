#!/bin/sh
# Renews requirements/*.txt: the newest versions that pyproject.toml allows, for every platform, each with the hashes of
# its files. `scripts/lock.sh keep` keeps the versions and renews the hashes alone.
set -eu
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"${PYTHON:-python3}" -m venv "$fresh"
"$fresh/bin/pip" install --quiet --disable-pip-version-check uv
echo setuptools >"$fresh/build.in"
cat requirements/*.txt 2>/dev/null | sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' | sort -u >"$fresh/known"
[ "${1:-}" = keep ] || : >"$fresh/known"
lock() {
    name=$1
    shift
    {
        echo "# Every file that is installed, by its hash: made by 'make lock'; pyproject.toml says what is allowed."
        "$fresh/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
            --no-header --constraint "$fresh/known" "$@"
    } >"$fresh/$name"
}
lock build.txt "$fresh/build.in"
lock dev.txt --extra dev pyproject.toml
# The program is run with what it is tested with.
sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' "$fresh/dev.txt" >"$fresh/known"
lock runtime.txt pyproject.toml
mkdir -p requirements
mv "$fresh/build.txt" "$fresh/dev.txt" "$fresh/runtime.txt" requirements/

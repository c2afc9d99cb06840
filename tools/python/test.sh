#!/usr/bin/env bash
# The Python package: makes its wheel, installs that into a virtual environment in target/python, and tests it there.
#
#   tools/python/test.sh         the wheel, the stubs, and every class and function: under a minute after the build
#   tools/python/test.sh --all   also the slow tests, the wheel and the source package as they would be published, and every
#                                Python that is at hand
#
# The wheel of every run is packed of the library that `cargo build --workspace` makes with everything else: maturin builds one
# package by itself, which is another set of features of `core`, and with it another build of all. PYTHON names another
# interpreter. Exit status 3: what is needed is not to be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
all=
case "$*" in
'') ;;
--all) all=yes ;;
*) echo "usage: $0 [--all]" >&2 && exit 2 ;;
esac
# shellcheck source=tools/python/common.sh
. "$here/common.sh"

# tests PLACE WHEEL ARGUMENT...: installs a wheel or a source package and tests it, outside of the source folder.
tests() {
    local place=$1 package=$2
    shift 2
    installed "$place" "$package"
    (cd "$home" && MAMBABYTE_PROGRAM=$target/debug/mambabyte PYTHONDONTWRITEBYTECODE=1 "$place/bin/python" -m pytest \
        -p no:cacheprovider -c "$here/pyproject.toml" --rootdir "$here" "$here/tests" --durations 5 "$@")
}

wanted=$here/tests/requirements.txt
first=$(environment venv "$python" "$wanted") || missing "the packages of tools/python/tests/requirements.txt could not be installed"
made=$(packed "$first")
tests "$first" "$made" -m "not slow"

[ -n "$all" ] || exit 0
export PYO3_PYTHON=$first/bin/python
rm -rf "$home/released" "$home/source"
"$first/bin/maturin" build --quiet --locked --manifest-path "$here/Cargo.toml" --out "$home/released"
released=$(echo "$home"/released/*.whl)
ls -l "$released"
MAMBABYTE_WHEEL=$released tests "$first" "$released"
for version in 3.10 3.11 3.12 3.13 3.14; do
    other=python$version
    # A shim of an interpreter that is not installed is found, too.
    "$other" -c '' 2>/dev/null || { echo "$other: not at hand" && continue; }
    place=$(environment "venv-$version" "$other" "$wanted") || { echo "$other: the tests' packages are not to be had for it" && continue; }
    echo "$other"
    tests "$place" "$released" -m "not slow"
done
# From the source package, as pip builds it where there is no wheel.
"$first/bin/maturin" sdist --manifest-path "$here/Cargo.toml" --out "$home/source"
# shellcheck disable=SC2030,SC2031
(
    export CARGO_TARGET_DIR=$home/source-target
    PATH=$first/bin:$PATH
    tests "$first" "$home"/source/*.tar.gz -m "not slow"
)

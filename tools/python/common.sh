# What test.sh and examples.sh share; they have `set -euo pipefail`, and `here` is this folder.
# shellcheck shell=bash
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
home=$target/python
python=${PYTHON:-python3}
missing() {
    echo "error: $*"
    exit 3
}

# environment NAME PYTHON REQUIREMENTS: the folder of a virtual environment that has what a file lists; made anew if that has
# changed.
environment() {
    local place=$home/$1 python=$2 list=$3 wanted
    wanted=$(sha256sum <"$list")
    if [ "$(cat "$place/made" 2>/dev/null)" != "$wanted" ]; then
        rm -rf "$place"
        "$python" -m venv "$place" >&2 || return 1
        "$place/bin/python" -m pip install --quiet --disable-pip-version-check -r "$list" >&2 || return 1
        echo "$wanted" >"$place/made"
    fi
    echo "$place"
}

# installed PLACE PACKAGE: into an environment, a wheel or a source package of ours.
installed() {
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall --no-build-isolation "$2"
}

# packed PLACE: the path of a wheel of the library that cargo builds with everything else.
packed() {
    cargo build --quiet --locked --workspace --features mambabyte/cuda --lib >&2
    "$1/bin/python" "$here/wheel.py" "$target/debug" "$home/wheels"
}

cd "$root"
command -v "$python" >/dev/null || missing "$python is not installed"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || missing "$python is older than 3.10"
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing "$python has no venv; in Debian: apt-get install python3-venv"
mkdir -p "$home"

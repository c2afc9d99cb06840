#!/usr/bin/env bash
# The examples, on clusters of real processes on this machine, and the notebook: what is in tools/python/examples and
# docs/quickstart.ipynb.
#
#   tools/python/examples.sh                     tests them, with the library of the workspace's build
#   tools/python/examples.sh --measure [WORD...] two workers against one, with a wheel as it would be published; the words are
#                                                those of examples/measure.py
#   tools/python/examples.sh --notebook          runs the notebook, and writes it with what it has shown
#
# Everything is in a virtual environment in target/python. PYTHON names another interpreter. Exit status 3: what is needed is
# not to be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
what=${1:---test}
case "$what" in
--test | --notebook) [ $# -le 1 ] ;;
--measure) shift ;;
*) false ;;
esac || { echo "usage: $0 [--measure [WORD...] | --notebook]" >&2 && exit 2; }
# shellcheck source=tools/python/common.sh
. "$here/common.sh"

java -version >/dev/null 2>&1 || missing "java is not installed, which Spark needs; in Debian: apt-get install default-jre-headless"
release=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
[ "${release:-0}" -ge 17 ] || missing "java is of release ${release:-unknown}, and Spark needs 17 or newer"
place=$(environment examples "$python" "$here/examples/requirements.txt") ||
    missing "the packages of tools/python/examples/requirements.txt could not be installed"
export PYTHONDONTWRITEBYTECODE=1 PATH=$place/bin:$PATH
if [ "$what" = --measure ]; then
    python -m pip install --quiet --disable-pip-version-check "maturin>=1.9,<2"
    rm -rf "$home/measured"
    maturin build --quiet --locked --manifest-path "$here/Cargo.toml" --out "$home/measured"
    installed "$place" "$(echo "$home"/measured/*.whl)"
    exec python "$here/examples/measure.py" "$@"
fi
installed "$place" "$(packed "$place")"
if [ "$what" = --notebook ]; then
    exec python "$here/examples/run_notebook.py" docs/quickstart.ipynb --write
fi
cd "$home"
python -m pytest -p no:cacheprovider -c "$here/pyproject.toml" --rootdir "$here" "$here/examples/tests" --durations 8

#!/bin/sh
# tests/fuzz/run.sh SECONDS [TARGET...]: builds the fuzz targets and runs each, or those named, for that long with
# libFuzzer. Fails if one crashes, hangs or takes too much memory; the input that did it is then in
# tests/fuzz/artifacts.
#
# tests/fuzz/run.sh seeds FOLDER: the targets that are already built in this folder read their seeds and no more.
#
# A stable compiler is enough: RUSTC_BOOTSTRAP lets it take the flags that `cargo fuzz` would give a nightly one. There
# is no address sanitizer; overflow checks and debug assertions are on.
set -u
all="blob snapshot archive safetensors index torch pickle config"
usage() {
    echo "usage: $0 SECONDS [TARGET...], or $0 seeds FOLDER; the targets are $all" >&2
    exit 2
}
seconds=${1:-}
[ $# -gt 0 ] && shift
case $seconds in
seeds)
    [ $# = 1 ] && [ -d "$1" ] || usage
    bin=$(cd "$1" && pwd) || exit 2
    shift
    ;;
'' | *[!0-9]*) usage ;;
esac
cd "$(dirname "$0")" || exit 2

if [ "$seconds" != seeds ]; then
    host=$(rustc -vV | sed -n 's/^host: //p')
    flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
    flags="$flags -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
    flags="$flags -Cllvm-args=-sanitizer-coverage-trace-compares"
    # With --target the flags are kept from build scripts and macros.
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags cargo build --profile fuzz --locked -p mambabyte-fuzz --target "$host" || exit 2
    bin=${CARGO_TARGET_DIR:-../../target}/$host/fuzz
fi

# Checkpoints are loaded from files: in memory, if there is such a folder.
scratch=$(mktemp -d -p /dev/shm mambabyte-fuzz.XXXXXX 2>/dev/null || mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

bad=0
mkdir -p artifacts
for target in ${*:-$all}; do
    # What earlier runs found is kept in corpus/ and used again.
    corpus=corpus/$target
    seeds=$scratch/seeds/$target
    log=$scratch/$target.log
    mkdir -p "$corpus" "$seeds"
    limits="-timeout=10 -max_total_time=$seconds $corpus"
    # A debug build is slow, so the corpus of longer runs is left out.
    [ "$seconds" = seeds ] && limits="-timeout=60 -runs=0"
    # No timeout(1): -max_total_time ends the run, -timeout one input that hangs.
    # shellcheck disable=SC2086 # words
    if FUZZ_SEEDS=$seeds TMPDIR=$scratch "$bin/$target" -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="artifacts/$target-" $limits "$seeds" >"$log" 2>&1; then
        verdict="nothing found"
    else
        verdict="CRASH, see artifacts/$target-*"
        bad=1
        tail -n 40 "$log"
    fi
    stat() { sed -n "s/^stat::$1: *//p" "$log" | tail -n 1; }
    executions=$(stat number_of_executed_units)
    if [ "$seconds" = seeds ]; then
        # The empty input and at least one seed.
        [ "${executions:-0}" -ge 2 ] || bad=1
        echo "$target: ${executions:-?} inputs read: $verdict"
    else
        cover=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
        echo "$target: ${executions:-?} executions, $(stat average_exec_per_sec)/s, $cover edges covered: $verdict"
    fi
done
exit $bad

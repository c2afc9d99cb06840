#!/usr/bin/env bash
# Runs the tests: formatting, lints, documentation, the test suite, the fuzz targets, chip builds, the firmware on emulated
# boards. docs/TESTING.md says what each step proves.
#
#   ./test.sh         what every change must pass: 18 to 50 minutes on two cores
#   ./test.sh --all   the full matrix: every board and model, long streams, all power cuts, fuzzing, each feature alone
#
# Two lanes run side by side, one for this machine and one for chips. What a step printed is in target/test/, and here
# too if the step failed. Installs what is missing if it may (Debian packages, as root); says what it could not run.
set -uo pipefail
cd "$(dirname "$0")" || exit 1
all=
case "$*" in
'') ;;
--all) all=yes ;;
*) echo "usage: $0 [--all]" >&2 && exit 2 ;;
esac
target=${CARGO_TARGET_DIR:-$PWD/target}
logs=$PWD/target/test
rm -rf "$logs"
mkdir -p "$logs" || exit 1
has() { command -v "$1" >/dev/null 2>&1; }

# Steps. A line of a lane's results: verdict, seconds, seconds of CPU, name, reason; with tabs between them.
lane=main
number=0
result() {
    printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$logs/$lane.results"
}
# step NAME COMMAND...: exit status 3 says that a toolchain or an emulator is missing.
step() {
    local name=$1 status=0 log note wall user system verdict=passed reason=
    shift
    number=$((number + 1))
    log=$(printf '%s/%s-%02d.log' "$logs" "$lane" "$number")
    note=${log%.log}.note
    TIMEFORMAT='%0R %0U %0S'
    { time "$@" >"$log" 2>&1 </dev/null; } 2>"$note" || status=$?
    # The last line: the shell may have said before that a signal ended the command.
    read -r wall user system < <(tail -n 1 "$note")
    case $status in
    0) ;;
    3) verdict=skipped reason=$(grep '^error: ' "$log" | tail -n 1) && reason=${reason#error: } ;;
    *) verdict=FAILED reason="status $status, $log" ;;
    esac
    result "$verdict" "$wall" "$((user + system))" "$name" "$reason"
    {
        [ "$verdict" = FAILED ] && sed 's/^/    /' "$log"
        printf '%-7s %5s s, CPU %5s s: %s%s\n' "$verdict" "$wall" "$((user + system))" "$name" "${reason:+ ($reason)}"
    } >"$note"
    # In one piece: the other lane prints too.
    cat "$note"
    rm -f "$note"
    return "$status"
}
skip() {
    result skipped 0 0 "$1" "$2"
    printf '%-7s %s (%s)\n' skipped "$1" "$2"
}

packages=(qemu-system-arm qemu-system-misc qemu-user rustc-web cargo-web rust-web-src rust-web-clippy gcc-arm-none-eabi chromium nodejs
    python3-venv g++ mosquitto mosquitto-clients openssl)
install_missing() {
    local program missing=
    for program in qemu-system-arm qemu-system-riscv32 qemu-aarch64 /usr/bin/rustc /usr/bin/clippy-driver arm-none-eabi-gcc chromium \
        node g++ mosquitto_pub openssl; do
        has "$program" || missing="$missing $program"
    done
    python3 -c "import ensurepip" 2>/dev/null || missing="$missing python3-venv"
    if [ -n "$all" ] && ! has java; then
        missing="$missing java"
        packages+=(default-jre-headless)
    fi
    [ -n "$missing" ] || return 0
    if ! has apt-get || [ "$(id -u)" != 0 ]; then
        echo "missing:$missing; to be installed by hand, in Debian by: apt-get install ${packages[*]}"
        return 0
    fi
    echo "missing:$missing; installing ${packages[*]}"
    apt-get update -qq >/dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null 2>&1 ||
        echo "not all of it could be installed"
}

# One set of features for everything that is compiled for this machine, so that each crate is compiled once. Code for GPUs
# is in it: without a GPU it must say so, which is tested too.
workspace=(--workspace --features mambabyte/cuda)
# Nobody edits and builds again in a clone that is there for one run.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0
xtask() { MAMBABYTE_PROGRAM=$target/debug/mambabyte "$target/debug/xtask" "$@"; }

# This machine: lints, documentation, tests, the libraries for C and for the web.
lane_host() {
    # The kernels that this processor has must have run.
    local backends=scalar
    if [ "$(uname -m)" = x86_64 ]; then
        if grep -qw avx2 /proc/cpuinfo; then
            backends=avx2,$backends
        else
            skip "the AVX2 kernels" "this processor has no AVX2"
        fi
        if grep -qw avx512_vnni /proc/cpuinfo; then
            backends=avx512,$backends
        else
            skip "the AVX-512 kernels, the fastest ones" "this processor has no AVX-512 VNNI, and no emulator of it is to be had"
        fi
    fi
    has mosquitto_pub && PATH=$PATH:/usr/sbin has mosquitto || skip "MQTT with a broker" "mosquitto is not installed"
    step "tests" env MAMBABYTE_EXPECT_BACKENDS="$backends" cargo test --quiet --no-fail-fast "${workspace[@]}"
    if has nvidia-smi; then
        step "tests on the GPU" cargo test --quiet "${workspace[@]}" -- --ignored --test-threads 1 gpu_
    else
        skip "tests on the GPU" "there is no NVIDIA GPU here"
    fi
    step "the fuzz targets read their seeds" tests/fuzz/run.sh seeds "$target/debug"
    step "the GPU kernels: fatbins are of these sources" xtask cuda check
    step "circles of imports" xtask circles --most 3
    step "the Python package" tools/python/test.sh ${all:+--all}
    step "the library in Node and in Chromium" xtask web test
    step "the C library on an emulated Cortex-M4" xtask c test
    step "lints" cargo clippy --quiet "${workspace[@]}" --all-targets -- -D warnings -D clippy::incompatible_msrv
    step "lints without GPU code" cargo clippy --quiet --workspace --all-targets -- -D warnings
    step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --quiet "${workspace[@]}" --no-deps
    [ -n "$all" ] && host_matrix
}

# Programs for chips: built, linked, run on emulated boards.
lane_chips() {
    if [ -n "$all" ]; then
        step "lints and documentation of the firmware on three kinds of cores" \
            xtask firmware lint --board mps2-an386 --board virt-rv32imc --board rp2040
    else
        step "lints and documentation of the firmware" xtask firmware lint
    fi
    step "core for chips" xtask firmware core ${all:+--all}
    step "no panic, no float and no allocation, by linking" xtask firmware proof
    step "the kernels of every core against the scalar code" xtask firmware kernels ${all:+--all}
    [ -z "$all" ] || step "hostile blobs on a Cortex-M4 and on RISC-V" xtask firmware forge
    step "the golden checksums of adapters on emulated boards" xtask firmware adapt
    step "what the detector says on emulated boards" xtask firmware alarms
    if [ -n "$all" ]; then
        step "the golden checksums of every model on every emulated board" xtask firmware test --all
        step "every program for boards that are not emulated" xtask firmware real --all
        step "a serial line without loss for 1,000,000 bytes, and a flood with every loss counted" \
            xtask firmware soak --bytes 1000000
        step "snapshots through every cut of the power" xtask firmware power --points all --random 1000 --kills 20
        step "snapshots through every cut of the power, RISC-V" xtask firmware power --board virt-rv32imc --points all
    else
        step "the golden checksums on emulated boards, of sensor-micro on one of each kind of kernels" xtask firmware test
        step "a program for each board that is not emulated" xtask firmware real
        step "a serial line without loss, and a flood with every loss counted" xtask firmware soak
        step "snapshots through power cuts" xtask firmware power
    fi
    step "the figures of firmware/FOOTPRINT.md" xtask firmware footprint --check
    step "the stack of the program stream" xtask firmware stack
    step "a panic says what is wrong and ends with status 1" xtask firmware faults
    step "generated text on emulated boards" xtask firmware generate
}

# What only --all has.
host_matrix() {
    local feature
    step "a folder of logs on Ray and on Spark, and the notebook" tools/python/examples.sh
    step "the command without GPU code" cargo test --quiet -p mambabyte
    for feature in "" std f32 record flash defmt kernel-check; do
        step "core with ${feature:-no feature} alone" \
            cargo clippy --quiet -p mambabyte-core --features "$feature" --all-targets -- -D warnings
    done
    step "the C library with kernel-check alone" \
        cargo clippy --quiet -p mambabyte-capi --features kernel-check --all-targets -- -D warnings
    for feature in "" cuda; do
        step "host with ${feature:-no feature} alone" \
            cargo clippy --quiet -p mambabyte-host --features "$feature" --all-targets -- -D warnings
        step "the command with ${feature:-no feature} alone" \
            cargo clippy --quiet -p mambabyte --features "$feature" --all-targets -- -D warnings
    done
    step "the GPU kernels: compiled anew to the same code, no spills, by NVRTC too" xtask cuda check --all
    if cargo deny --version >/dev/null 2>&1; then
        # The other workspace has a list of dependencies of its own.
        for manifest in Cargo.toml firmware/Cargo.toml; do
            step "licences, banned crates and sources of $manifest" \
                cargo deny --manifest-path "$manifest" --all-features --locked check licenses bans sources
        done
    else
        skip "licences, banned crates and sources" "cargo-deny is not installed"
    fi
    if cargo +nightly miri --version >/dev/null 2>&1; then
        step "core and the C library in Miri" cargo +nightly miri test --quiet -p mambabyte-core -p mambabyte-capi \
            --features mambabyte-core/flash,mambabyte-core/record --target-dir "$target/miri"
    else
        skip "core and the C library in Miri" "there is no nightly toolchain with Miri"
    fi
    step "speculation over a million bytes" cargo test --quiet "${workspace[@]}" --lib --test speculate -- --ignored all_
    step "a service: 100,000,000 bytes and 1,000 kills" cargo test --quiet "${workspace[@]}" --test endurance -- --ignored
    step "libFuzzer, 60 s a target" tests/fuzz/run.sh 60
}

begin=$SECONDS
install_missing
step "formatting" cargo fmt --all --check
step "formatting of the firmware" cargo fmt --check --manifest-path firmware/Cargo.toml
# Both cores. Without the programs nothing else can run.
if step "build" cargo build --quiet --locked "${workspace[@]}" --bins --lib; then
    groups=()
    trap 'for group in "${groups[@]}"; do kill -TERM -- "-$group" 2>/dev/null; done' EXIT
    trap 'exit 130' INT TERM
    set -m # Each lane is a group of processes, so that all of it can be ended.
    for lane in host chips; do
        (
            "lane_$lane"
            touch "$logs/$lane.done"
        ) &
        groups+=($!)
    done
    set +m
    wait "${groups[@]}"
    groups=()
    for lane in host chips; do
        [ -e "$logs/$lane.done" ] || result FAILED 0 0 "the lane for $lane" "it ended before its last step"
    done
fi

echo
printf '%-7s %6s %6s  %s\n' "" wall CPU "step (seconds)"
passed=0 failed=0 skipped=0
while IFS=$'\t' read -r verdict wall cpu name reason; do
    case $verdict in
    passed) passed=$((passed + 1)) ;;
    skipped) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)) ;;
    esac
    printf '%-7s %6s %6s  %s%s\n' "$verdict" "$wall" "$cpu" "$name" "${reason:+: $reason}"
done < <(cat "$logs"/{main,host,chips}.results 2>/dev/null)
echo "$((SECONDS - begin)) s in all"
echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]

#!/usr/bin/env bash
# Runs all tests: formatting, lints, documentation, the test suite, chip builds, the firmware on emulated boards.
# Installs what is missing if it may (Debian packages, as root); says what it could not run.
set -euo pipefail
cd "$(dirname "$0")"
passed=0 failed=0 skipped=0
step() {
    local name=$1
    shift
    echo "== $name"
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $name"; fi
}
skip() {
    skipped=$((skipped + 1))
    echo "== $1: NOT RUN, $2"
}
# Exit status 3 says that a toolchain or an emulator is missing.
chip_step() {
    local name=$1 status=0
    shift
    echo "== $name"
    "$@" || status=$?
    case $status in
    0) passed=$((passed + 1)) ;;
    3) skip "$name" "see above" ;;
    *) failed=$((failed + 1)) && echo "FAILED: $name" ;;
    esac
}
has() { command -v "$1" >/dev/null 2>&1; }

packages=(qemu-system-arm qemu-system-misc qemu-user rustc-web cargo-web rust-web-src gcc-arm-none-eabi chromium nodejs
    python3-venv g++)
missing=0
for program in qemu-system-arm qemu-system-riscv32 qemu-aarch64 /usr/bin/rustc arm-none-eabi-gcc chromium node g++; do
    has "$program" || missing=1
done
if [ "$missing" = 1 ] && has apt-get && [ "$(id -u)" = 0 ]
then
    echo "== installing ${packages[*]}"
    apt-get update -qq >/dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null 2>&1 ||
        echo "   not all of it could be installed"
fi

step "formatting" cargo fmt --all --check
step "lints" cargo clippy --quiet --workspace --all-targets -- -D warnings
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps
# The kernels that this processor has must have run.
backends=scalar
if grep -qw avx2 /proc/cpuinfo 2>/dev/null; then backends=avx2,$backends; fi
if grep -qw avx512_vnni /proc/cpuinfo 2>/dev/null; then backends=avx512,$backends; fi
step "tests" env MAMBABYTE_EXPECT_BACKENDS="$backends" cargo test --quiet --workspace
step "lints with GPU code" cargo clippy --quiet -p mambabyte -p mambabyte-host --features mambabyte/cuda --all-targets -- -D warnings
step "what GPU code does without a GPU" cargo test --quiet -p mambabyte-host --features cuda
step "the command without a GPU" cargo test --quiet -p mambabyte --features cuda --lib
chip_step "the GPU kernels: current, no spills, arithmetic equal to the CPU's" cargo xtask cuda check
chip_step "the library in Node and in Chromium" cargo xtask web test
chip_step "core for chips" cargo xtask firmware core
chip_step "the golden checksums on emulated boards" cargo xtask firmware test
chip_step "the kernels of every core against the scalar code" cargo xtask firmware kernels
chip_step "the figures of firmware/FOOTPRINT.md" cargo xtask firmware footprint --check
chip_step "a serial line without loss, and a flood with every loss counted" cargo xtask firmware soak --bytes 100000 --flood 32768
chip_step "the stack of the program stream" cargo xtask firmware stack
chip_step "programs for boards that are not emulated" cargo xtask firmware real
chip_step "a panic says what is wrong and ends with status 1" cargo xtask firmware faults
chip_step "snapshots through power cuts" cargo xtask firmware power
chip_step "generated text on emulated boards" cargo xtask firmware generate
chip_step "no panic, no float and no allocation, by linking" cargo xtask firmware proof
chip_step "the C library on an emulated Cortex-M4" cargo xtask c test
if has nvidia-smi; then
    step "GPU" cargo test --quiet -p mambabyte-host --features cuda -- --ignored gpu_
else
    skip "GPU" "there is no NVIDIA GPU here"
fi
echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]

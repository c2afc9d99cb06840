#!/usr/bin/env bash
# Runs all tests: formatting, lints, documentation, the test suite, chip builds, the firmware on an emulated chip.
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
has() { command -v "$1" >/dev/null 2>&1; }

if { ! has qemu-system-arm || ! [ -x /usr/bin/rustc ]; } && has apt-get && [ "$(id -u)" = 0 ]; then
    echo "== installing qemu-system-arm and Debian's rustc with library source (rustc-web cargo-web rust-web-src)"
    apt-get update -qq >/dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        qemu-system-arm rustc-web cargo-web rust-web-src >/dev/null 2>&1 || echo "   not all of it could be installed"
fi

step "formatting" cargo fmt --all --check
step "lints" cargo clippy --quiet --workspace --all-targets -- -D warnings
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps
step "tests" cargo test --quiet --workspace
step "core without std" cargo build --quiet -p mambabyte-core --features f32,defmt
if [ -x tests/no_std.sh ]; then
    if [ -x /usr/bin/rustc ] || [ -n "${NO_STD_FORCE:-}" ]; then
        step "core for chips" tests/no_std.sh
    else
        skip "core for chips" "no toolchain for chip targets (rustup target add, or Debian's rust-web-src)"
    fi
    if has qemu-system-arm && [ -x /usr/bin/rustc ]; then
        step "firmware on an emulated Cortex-M4" firmware/build.sh test
    else
        skip "firmware on an emulated Cortex-M4" "qemu-system-arm or the chip toolchain is missing"
    fi
fi
skip "GPU" "there is no GPU code yet"
echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]

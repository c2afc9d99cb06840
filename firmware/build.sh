#!/usr/bin/env bash
# Builds and runs chip programs. Picks the toolchain route by itself, says which, installs nothing.
#   firmware/build.sh build|run|test|core [--target T]      (FW_BOARD chooses the memory map)
set -euo pipefail
cd "$(dirname "$0")"
command=${1:-build} target=thumbv7em-none-eabihf
[ "${2:-}" = --target ] && target=$3
out=$PWD/target

route() {
    local lib
    lib=$(rustc --print target-libdir --target "$target" 2>/dev/null || true)
    if compgen -G "$lib/libcore-*.rlib" >/dev/null; then
        how="installed target of $(rustc --version)" cargo=(cargo) std=()
    elif [ -d "$(rustc --print sysroot)/lib/rustlib/src/rust/library" ]; then
        how="library source of $(rustc --version)" cargo=(env RUSTC_BOOTSTRAP=1 cargo) std=(-Zbuild-std=core)
    elif [ -x /usr/bin/rustc ] && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ]; then
        how="library source of /usr/bin/rustc, $(/usr/bin/rustc --version)" std=(-Zbuild-std=core)
        cargo=(env -u RUSTUP_TOOLCHAIN RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1 /usr/bin/cargo)
        out=$PWD/target/debian
        # Debian's compiler has no linker of its own for chips: rustup's, or lld.
        local host lld variable
        host=$(/usr/bin/rustc -vV | sed -n 's/^host: //p')
        lld=$(rustc --print sysroot)/lib/rustlib/$host/bin/rust-lld
        [ -x "$lld" ] || lld=$(command -v ld.lld || true)
        variable=CARGO_TARGET_$(echo "$target" | tr 'a-z.-' 'A-Z__')_LINKER
        if [ -n "$lld" ]; then export "$variable=$lld"; fi
    else
        echo "no toolchain for $target. One of these helps:" >&2
        echo "  rustup target add $target" >&2
        echo "  rustup component add rust-src" >&2
        echo "  apt-get install rustc-web cargo-web rust-web-src" >&2
        exit 3
    fi
    echo "target $target: $how" >&2
}

build() { CARGO_TARGET_DIR=$out "${cargo[@]}" build --quiet --release "${std[@]}" --target "$target" "$@"; }

run() {
    qemu-system-arm -M mps2-an386 -cpu cortex-m4 -display none -monitor none -serial none \
        -semihosting-config enable=on,target=native -kernel "$out/$target/release/onebyte" 2>&1
}

route
case $command in
build) build ;;
run) build && run ;;
core) (cd ../core && build) ;;
test)
    build
    printed=$(run) || { echo "$printed" && exit 1; }
    echo "$printed"
    golden=$(cat ../models/sensor-pico/golden.crc32)
    case $printed in
    *"checksum $golden"*) echo "the emulated Cortex-M4 computes the golden checksum" ;;
    *) echo "expected checksum $golden" && exit 1 ;;
    esac
    ;;
*) echo "build, run, test or core" >&2 && exit 2 ;;
esac

#!/usr/bin/env bash
# The core builds for every chip target, by whatever route firmware/build.sh finds.
set -euo pipefail
cd "$(dirname "$0")/.."
for target in thumbv6m-none-eabi thumbv7m-none-eabi thumbv7em-none-eabihf thumbv8m.main-none-eabihf \
    riscv32imc-unknown-none-elf riscv32imac-unknown-none-elf wasm32-unknown-unknown; do
    firmware/build.sh core --target "$target"
done

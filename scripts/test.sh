#!/usr/bin/env bash
# Formatting, lints, all tests, doc tests and docs, on a machine that has Rust and perhaps nothing else.
# The tests need a Vulkan adapter; where there is none, Debian's software driver is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*"; }

# The loader and at least one driver's manifest, in the places the loader looks.
have_vulkan() {
    [ "$(uname -s)" = Linux ] || return 0 # Metal and Direct3D need nothing installed
    if command -v vulkaninfo >/dev/null && vulkaninfo --summary 2>/dev/null | grep -q deviceName; then
        return 0
    fi
    local ldconfig manifests
    ldconfig=$(command -v ldconfig || echo /sbin/ldconfig)
    "$ldconfig" -p 2>/dev/null | grep -q 'libvulkan\.so\.1' || return 1
    # Vulkan's own variables replace the standard folders.
    if [ -n "${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}}" ]; then return 0; fi
    manifests=$(find /usr/share/vulkan/icd.d /usr/local/share/vulkan/icd.d /etc/vulkan/icd.d \
        "${XDG_DATA_HOME:-$HOME/.local/share}/vulkan/icd.d" -name '*.json' 2>/dev/null || true)
    [ -n "$manifests" ]
}

install_vulkan() {
    if ! command -v apt-get >/dev/null; then
        echo "No Vulkan driver was found and this is no Debian: install a Vulkan loader and a driver" >&2
        echo "(Mesa's lavapipe will do; often named mesa-vulkan-drivers), then run this again." >&2
        exit 1
    fi
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "No Vulkan driver was found. As root: apt-get install mesa-vulkan-drivers libvulkan1" >&2
            exit 1
        fi
        sudo=(sudo)
    fi
    "${sudo[@]}" apt-get update -q
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qy --no-install-recommends mesa-vulkan-drivers libvulkan1
}

say "Vulkan"
if have_vulkan; then
    echo "found"
else
    install_vulkan
fi
# Mesa keeps the pipelines that it compiled; beside the build they are there for the next run.
export MESA_SHADER_CACHE_DIR="${MESA_SHADER_CACHE_DIR:-${CARGO_TARGET_DIR:-$PWD/target}/mesa}"
mkdir -p "$MESA_SHADER_CACHE_DIR"
# From here on a missing adapter is a failure, not an ignored test.
export FEWBIT_REQUIRE_GPU=1

say "cargo fmt --check"
cargo fmt --check

say "cargo clippy --release --all-targets"
cargo clippy --release --all-targets -- -D warnings

# Doc tests have their own step below, hence the list of targets.
say "cargo test --release (library, programs, tests, examples)"
cargo test --release --no-fail-fast --lib --bins --tests --examples

say "cargo test --release --doc"
cargo test --release --doc

say "examples"
for example in matmul stochastic_rounding embed custom_kernel; do
    cargo run --release --quiet --example "$example"
done

say "cargo doc --no-deps"
RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps

say "test.sh: all passed"

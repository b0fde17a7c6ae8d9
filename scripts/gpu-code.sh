#!/usr/bin/env bash
# What Mesa's compiler for AMD makes of fewbit's kernels, on any machine with its Vulkan driver: registers, waves, hot
# loops. Nothing is run on a GPU, and nothing is timed.
#   scripts/gpu-code.sh [FAMILY] [KERNEL] [--permutation TEXT] [--json] [--compare FILE] [--code [PERMUTATION]] ...
# `scripts/gpu-code.sh --help` lists the rest; the default family is gfx1100. GPU_CODE=program skips the build.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
manifest=$here/benches/gpu-code/Cargo.toml
program=${GPU_CODE:-}
if [ -z "$program" ]; then
    cargo build --release --quiet --manifest-path "$manifest" >&2
    built=$(cargo metadata --format-version 1 --no-deps --manifest-path "$manifest" |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    program=$built/release/fewbit-gpu-code
fi
exec "$program" "$@"

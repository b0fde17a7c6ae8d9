#!/usr/bin/env bash
# Everything test.sh does, then what is too slow or too rarely broken for every push: other platforms, all
# features, the ignored tests, and Miri on the number formats and the portable CPU kernels where a nightly is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*"; }

scripts/features.sh
scripts/test.sh
export FEWBIT_REQUIRE_GPU=1

say "all features"
cargo test --release --no-fail-fast --all-features

say "ignored tests"
cargo test --release --no-fail-fast --all-features --lib --bins --tests -- --ignored

say "every kernel with all of wgpu's runtime checks"
FEWBIT_CHECKED_SHADERS=1 cargo test --release --test kernels -- --include-ignored vulkan

say "fifty kills of a training at random moments"
FEWBIT_KILLS=50 cargo test --release -p fewbit-cli --test cli -- kills::

say "mutants of the CPU kernels"
python3 scripts/mutants-cpu.py

say "matrix units, on a Mesa 26 software driver; SPIR-V up to date"
# Experimental features of wgpu: asked for here and nowhere else. The test fails where the driver has no units.
if [ "$(uname -sm)" = "Linux x86_64" ] && command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
    scripts/mesa26.sh fetch
    FEWBIT_EXPERIMENTAL=1 FEWBIT_REQUIRE_GPU=0 \
        CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$PWD/scripts/mesa26.sh run" \
        cargo test --release --test kernels -- matmul
    FEWBIT_EXPERIMENTAL=1 CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$PWD/scripts/mesa26.sh run" \
        cargo test --release --test spirv
    FEWBIT_EXPERIMENTAL=1 CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$PWD/scripts/mesa26.sh run" \
        cargo test --release --test trust -- --include-ignored matmul
    FEWBIT_EXPERIMENTAL=1 FEWBIT_MUTANT_RUNNER="$PWD/scripts/mesa26.sh run" \
        CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$PWD/scripts/mesa26.sh run" \
        cargo test --release --test mutants -- --include-ignored matmul/coop
    scripts/spirv.sh --check
else
    echo "skipped: scripts/mesa26.sh needs Debian on x86_64"
fi

for target in aarch64-unknown-linux-gnu x86_64-pc-windows-msvc aarch64-apple-darwin aarch64-linux-android; do
    say "check for $target"
    if ! rustup target list --installed | grep -qx "$target"; then
        rustup target add "$target"
    fi
    cargo check --release -p fewbit --lib --no-default-features --features cpu,native --target "$target"
done

say "Miri on the formats and on the portable CPU kernels"
if cargo +nightly miri --version >/dev/null 2>&1; then
    # Miri is some hundred times slower than a processor: few random cases are enough to find undefined
    # behaviour, and the values are checked by the native run above. By default it also errs by an ulp at random in
    # exp and ln, which results are compared to the bit with.
    export PROPTEST_CASES=4 MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-deterministic-floats"
    cargo +nightly miri test -p fewbit --no-default-features --test formats
    cargo +nightly miri test -p fewbit --no-default-features --features check --lib -- check::tests
else
    echo "skipped: no nightly with Miri (rustup toolchain install nightly --component miri rust-src)"
fi

say "full.sh: all passed"

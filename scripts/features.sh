#!/usr/bin/env bash
# The library compiles without warnings under every set of features that somebody may ask for, in a browser
# build too; its dependencies stay few; and the package holds what the build needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Most crates in a build without features, fewbit included.
most_crates=65
wasm=wasm32-unknown-unknown

# Nothing is run here; the release profile only shares its artifacts with the other scripts.
check() {
    printf '\n== features: %s\n' "$*"
    # Without -p the program's own features would be added.
    cargo clippy --release -p fewbit --lib "$@" -- -D warnings
}

check --no-default-features
for feature in cpu native sparse quant nn io compress check tune sprs native-bf16; do
    check --no-default-features --features "$feature"
done
check
check --all-features

if ! rustup target list --installed | grep -qx "$wasm"; then
    rustup target add "$wasm"
fi
check --no-default-features --features check,compress,io,nn,quant --target "$wasm"

printf '\n== the program\n'
cargo clippy --release -p fewbit-cli -- -D warnings

printf '\n== crates\n'
# Every crate that a build of the library takes, one a line.
crates() {
    cargo tree -p fewbit -e normal --prefix none "$@" | sed 's/ (\*)$//' | sort -u
}
count=$(crates --no-default-features | wc -l)
echo "$count without features (at most $most_crates)"
if [ "$count" -gt "$most_crates" ]; then
    echo "too many crates: cargo tree -p fewbit -e normal --no-default-features shows them" >&2
    exit 1
fi
if crates --all-features | grep -E '^(clap|comfy-table|ctrlc|env_logger|indicatif|plotters) '; then
    echo "these belong to the program, not to the library" >&2
    exit 1
fi
echo "none of the program's in the library with all features"

printf '\n== package\n'
packed=$(cargo package -p fewbit --allow-dirty --no-verify --list)
shaders=$(find shaders -name '*.wgsl' -o -name '*.spv' 2>/dev/null | sort || true)
if [ -z "$shaders" ]; then
    echo "there is no shaders/*.wgsl" >&2
    exit 1
fi
while read -r shader; do
    if ! grep -qxF "$shader" <<<"$packed"; then
        echo "the package lacks $shader" >&2
        exit 1
    fi
done <<<"$shaders"
if grep '^cli/' <<<"$packed"; then
    echo "the library's package holds the program" >&2
    exit 1
fi
echo "$(wc -l <<<"$packed") files, all $(wc -l <<<"$shaders") shaders among them"

printf '\n== features.sh: all passed\n'

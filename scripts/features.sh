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
    cargo clippy --release --lib "$@" -- -D warnings
}

check --no-default-features
for feature in cpu io nn compress native native-bf16 sprs tune; do
    check --no-default-features --features "$feature"
done
check --all-features

if ! rustup target list --installed | grep -qx "$wasm"; then
    rustup target add "$wasm"
fi
check --no-default-features --features io,nn,compress --target "$wasm"

printf '\n== crates without features\n'
crates=$(cargo tree -e normal --no-default-features --prefix none | sed 's/ (\*)$//' | sort -u | wc -l)
echo "$crates (at most $most_crates)"
if [ "$crates" -gt "$most_crates" ]; then
    echo "too many crates: cargo tree -e normal --no-default-features shows them" >&2
    exit 1
fi

printf '\n== package\n'
packed=$(cargo package --allow-dirty --no-verify --list)
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
echo "$(wc -l <<<"$packed") files, all $(wc -l <<<"$shaders") shaders among them"

printf '\n== features.sh: all passed\n'

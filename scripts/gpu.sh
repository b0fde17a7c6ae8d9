#!/usr/bin/env bash
# All that only a real GPU can tell, in one command, from prebuilt release programs: info, check, tune, bench with
# its charts, then the peers that are there. Needs neither Rust nor a network; leaves JSON, SVG and summary.md.
#
#   scripts/gpu.sh [--out DIR] [--adapter NAME] [--sizes LIST] [--quick] [--experimental] [--native-bf16] [--software]
#
# Built beforehand, here or elsewhere:
#   cargo build --release
#   cargo build --release --manifest-path benches/peers/Cargo.toml [--features burn]
# --experimental adds f16 matrix units, --native-bf16 those and bf16 ones where the driver reports them.
# FEWBIT and FEWBIT_PEERS name the two programs where they lie elsewhere; the second may be absent. --software lets
# a software adapter stand in, to try the script: its times say nothing of a GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=target/gpu
sizes=1024,4096,8192
pick=()
quick=()
more=()
software=no
while [ $# -gt 0 ]; do
    case $1 in
        --out) out=${2:?--out DIR} && shift ;;
        --adapter) pick=(--adapter "${2:?--adapter NAME}") && shift ;;
        --sizes) sizes=${2:?--sizes LIST} && shift ;;
        --quick) quick=(--quick) ;;
        --experimental) more=(--experimental) ;;
        --native-bf16) more=(--experimental --native-bf16) ;;
        --software) software=yes ;;
        *)
            sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
            exit 2
            ;;
    esac
    shift
done
fewbit=${FEWBIT:-target/release/fewbit}
peers=${FEWBIT_PEERS:-benches/peers/target/release/fewbit-peers}
if ! [ -x "$fewbit" ]; then
    echo "there is no program $fewbit: cargo build --release, or FEWBIT=..." >&2
    exit 1
fi
mkdir -p "$out"
# What is tuned here stays here.
export FEWBIT_CACHE_DIR=$out/cache
device=(--device gpu "${pick[@]}" "${more[@]}")

say() { printf '\n== %s\n' "$*"; }
failed=()
# One step: its JSON into a file, its exit status remembered, the rest still run.
step() {
    local name=$1
    shift
    say "$name: $*"
    local begin=$SECONDS
    "$@" >"$out/$name.json" || failed+=("$name")
    echo "$name: $((SECONDS - begin)) s, $(wc -c <"$out/$name.json") bytes"
}

step info "$fewbit" info --json
step check "$fewbit" check "${device[@]}" "${quick[@]}" --json
name=$(sed -n 's/.*"device":{[^}]*"name":"\([^"]*\)".*/\1/p' "$out/check.json" | head -n 1)
echo "adapter: ${name:-unknown}"
case $name in
    *llvmpipe* | *lavapipe* | *SwiftShader* | *WARP* | "")
        if [ "$software" = no ]; then
            echo "this is no real GPU; --software lets it stand in" >&2
            exit 1
        fi
        ;;
esac
step tune "$fewbit" tune "${device[@]}" --sizes "$sizes" --json
step bench "$fewbit" bench "${device[@]}" --sizes "$sizes" --save "$out/saved.json" --plot "$out/plots" --json
if [ -x "$peers" ]; then
    say "peers"
    PEERS=$peers scripts/peers.sh "${quick[@]}" --gpu --out "$out/peers" || failed+=(peers)
else
    echo "no peers: $peers is not there"
fi

{
    echo "# fewbit on ${name:-an unknown adapter}"
    echo
    for file in "$out"/*.json; do
        echo "- $(basename "$file"): $(wc -c <"$file") bytes"
    done
    if [ ${#failed[@]} -gt 0 ]; then
        echo
        echo "Failed: ${failed[*]}"
    fi
    if [ -e "$out/peers/peers.md" ]; then
        echo
        cat "$out/peers/peers.md"
    fi
} >"$out/summary.md"
say "$out/summary.md"
cat "$out/summary.md"
[ ${#failed[@]} -eq 0 ]

#!/usr/bin/env bash
# fewbit beside other libraries on the same shapes: one table of ratios, peers.md and peers.json.
#   scripts/peers.sh [--quick|--full] [--out DIR] [--gpu] [--burn] [--train]
# Rust's libraries come with benches/peers; Python's (torch, numpy, scipy) are those that PYTHON (python3) has,
# and what it lacks is named in the table. --gpu adds fewbit on a GPU beside torch's CUDA and, with --burn, burn.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

effort=()
out=target/peers
devices=(cpu)
features=()
train=
while [ $# -gt 0 ]; do
    case $1 in
        --quick | --full) effort=("$1") ;;
        --out)
            out=${2:?--out DIR}
            shift
            ;;
        --gpu) devices=(cpu gpu) ;;
        --train) train=yes ;;
        --burn) features=(--features burn) ;;
        *)
            echo "usage: scripts/peers.sh [--quick|--full] [--out DIR] [--gpu] [--burn] [--train]" >&2
            exit 2
            ;;
    esac
    shift
done
python=${PYTHON:-python3}
mkdir -p "$out"
out=$(cd "$out" && pwd)

manifest=benches/peers/Cargo.toml
program=${PEERS:-}
if [ -z "$program" ]; then
    cargo build --release --manifest-path "$manifest" "${features[@]}"
    built=$(cargo metadata --format-version 1 --no-deps --manifest-path "$manifest" |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    program=$built/release/fewbit-peers
fi

# A result that is another is a failure, after the table is there.
failed=0
files=()
for device in "${devices[@]}"; do
    "$program" "${effort[@]}" --device "$device" --json "$out/rust-$device.json" || failed=1
    files+=("$out/rust-$device.json")
    if command -v "$python" >/dev/null; then
        "$python" benches/peers/peers.py --fewbit "$program" "${effort[@]}" --device "$device" \
            --json "$out/python-$device.json" || failed=1
    else
        echo '{"results": [], "missing": [{"peer": "torch, numpy, scipy", "why": "no Python"}]}' \
            >"$out/python-$device.json"
    fi
    files+=("$out/python-$device.json")
done
if ! command -v "$python" >/dev/null; then
    echo "The table needs Python (PYTHON=...); what was measured is in ${files[*]}" >&2
    exit 1
fi
"$python" benches/peers/peers.py --merge "${files[@]}" --out "$out" || failed=1
cat "$out/peers.md"
if [ -n "$train" ]; then
    cargo build --release -p fewbit-cli
    built=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    for model in mlp lenet-5; do
        "$python" benches/peers/train.py --fewbit "$built/release/fewbit" --model "$model" --json "$out/train-$model.json" ||
            failed=1
    done
fi
exit "$failed"

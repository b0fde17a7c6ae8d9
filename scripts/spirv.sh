#!/usr/bin/env bash
# Compiles the kernel that WGSL cannot express (shaders/matmul/bf16.comp, bf16 matrix units) to shaders/matmul/ and
# validates what comes out, with the glslang and spirv-val that scripts/mesa26.sh fetches. The results are committed:
# nobody needs this to build fewbit.
#
#   scripts/spirv.sh           compile anew
#   scripts/spirv.sh --check   fail if what is committed is not what the source compiles to, or not valid
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=shaders/matmul
case ${1:-} in
--check)
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
    ;;
"") ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
scripts/mesa26.sh fetch
compile() {
    local file=$1
    shift
    # Cooperative matrices bring Vulkan's memory model, which is part of Vulkan 1.2.
    scripts/mesa26.sh run glslang -V --target-env vulkan1.2 --quiet "$@" shaders/matmul/bf16.comp -o "$out/$file"
    scripts/mesa26.sh run spirv-val --target-env vulkan1.2 "$out/$file"
    if ! cmp "$out/$file" "shaders/matmul/$file"; then
        echo "shaders/matmul/$file is stale: scripts/spirv.sh compiles it anew" >&2
        return 1
    fi
    echo "$file: valid, $(wc -c <"$out/$file") bytes"
}
compile bf16.spv
compile f16.spv -DSTAND_IN

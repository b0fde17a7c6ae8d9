#!/usr/bin/env bash
# A Mesa 26 software Vulkan driver beside whatever is installed, for what older drivers lack (cooperative
# matrices), and the shader compiler of the same suite: their packages and every library under them, down to libc,
# are unpacked under target/mesa26, and programs run with those. Nothing is installed. Needs Debian's apt-get and
# dpkg, no root.
#
#   scripts/mesa26.sh fetch             download and unpack (about 80 MB), if that has not been done
#   scripts/mesa26.sh run PROGRAM ...   run a program with it: one of those packages' own, or one from here
#
# As a runner: CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="scripts/mesa26.sh run" cargo test ...
# MESA26_SUITE chooses another suite than sid. Programs that PROGRAM starts itself do not get the libraries.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=${CARGO_TARGET_DIR:-$here/target}/mesa26
suite=${MESA26_SUITE:-sid}
root=$home/$suite

fail() {
    echo "mesa26.sh: $*" >&2
    exit 1
}

fetch() {
    [ ! -e "$root/complete" ] || return 0
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || fail "this needs Debian's apt-get and dpkg"
    local codename site keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    # The mirror this machine uses already; only the suite differs.
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    site=$(apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' |
        awk -v release="$codename" '$1 == release { print $2; exit }')
    [ -n "$site" ] || fail "apt has no source for Debian's release ${codename:-(unknown)}"
    [ -r "$keyring" ] || fail "$keyring is missing (package debian-archive-keyring)"

    local apt=$home/apt-$suite
    rm -rf "$apt" "$root"
    mkdir -p "$apt"/{parts,lists/partial,cache/archives/partial} "$root"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
        "$site" "$suite" "$keyring" >"$apt/parts/mesa26.sources"
    # Nothing counts as installed, so that every library comes from the same suite.
    : >"$apt/status"
    local options=(-q -y --no-install-recommends
        -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$apt/parts"
        -o "Dir::State::Lists=$apt/lists" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache"
        -o Acquire::Languages=none -o Debug::NoLocking=1 -o APT::Sandbox::User=root
        -o Binary::apt-get::APT::Keep-Downloaded-Packages=true -o APT::Keep-Downloaded-Packages=true)
    apt-get "${options[@]}" update >&2
    # With an empty status --download-only takes the whole closure; docker's clean-up hooks are left out.
    apt-get "${options[@]}" -o DPkg::Post-Invoke= -o APT::Update::Post-Invoke= --download-only \
        install mesa-vulkan-drivers libvulkan1 glslang-tools spirv-tools >&2
    local package
    for package in "$apt"/cache/archives/*.deb; do
        dpkg -x "$package" "$root"
    done
    rm -rf "$apt"
    [ -n "$(find "$root" -name 'libvulkan_lvp.so' -print -quit)" ] || fail "no lavapipe in $suite"
    [ -x "$root/usr/bin/glslang" ] || fail "no glslang in $suite"
    touch "$root/complete"
}

case ${1:-} in
fetch)
    fetch
    ;;
run)
    shift
    [ $# -gt 0 ] || fail "run what?"
    fetch
    program=$root/usr/bin/$1
    [ -x "$program" ] || program=$(command -v -- "$1") || fail "no program $1"
    shift
    libraries=$(dirname "$(find "$root" -name 'libvulkan_lvp.so' -print -quit)")
    loader=$(find "$root" -name 'ld-linux-*.so.*' -print -quit)
    manifest=$(find "$root" -name 'lvp_icd*.json' -print -quit)
    [ -n "$loader" ] && [ -n "$manifest" ] || fail "the packages of $suite hold no loader or no manifest"
    export VK_DRIVER_FILES=$manifest
    # Other drivers' libraries belong to another libc.
    exec "$loader" --inhibit-cache --library-path "$libraries" "$program" "$@"
    ;;
*)
    fail "usage: mesa26.sh fetch | run PROGRAM ..."
    ;;
esac

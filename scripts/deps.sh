#!/bin/sh
# deps.sh [build|run|test|lint|all] - installs what is missing, on Debian and Ubuntu through apt-get, with
# sudo if we are not root. Says first what it will install; asks no network when nothing is missing.
set -eu

build="gcc make pkg-config libhiredis-dev libuv1-dev libjansson-dev libyaml-dev libssl-dev redis-tools"
run="python3" # for the sample program handler
test="libcmocka-dev python3 python3-redis supervisor clang valgrind nodejs npm openssl procps ca-certificates"
lint="clang-format cppcheck shellcheck"

case ${1:-build} in
    build) wanted=$build ;;
    run) wanted="$build $run" ;;
    test) wanted="$build $run $test" ;;
    lint) wanted=$lint ;;
    all) wanted="$build $run $test $lint" ;;
    *)
        echo "usage: deps.sh [build|run|test|lint|all]" >&2
        exit 64
        ;;
esac

# Elsewhere only what the build itself needs can be looked for.
elsewhere_present() {
    command -v cc >/dev/null && command -v redis-cli >/dev/null && command -v python3 >/dev/null &&
        pkg-config --exists hiredis libuv jansson yaml-0.1
}
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    case ${1:-build} in
        build | run) elsewhere_present 2>/dev/null && exit 0 ;;
    esac
    echo "deps: no apt-get here. Install what these Debian packages bring, then run make:" >&2
    echo "    $wanted" >&2
    exit 1
fi

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# A program that is here by other means (a newer node, a newer compiler) counts as installed.
present() {
    case $1 in
        gcc | make | pkg-config | clang | valgrind | npm | openssl | cppcheck | shellcheck)
            command -v "$1" >/dev/null || installed "$1"
            ;;
        nodejs) command -v node >/dev/null || installed nodejs ;;
        clang-format) command -v clang-format >/dev/null || installed clang-format ;;
        *) installed "$1" ;;
    esac
}

missing=
for package in $wanted; do
    present "$package" || missing="$missing $package"
done
# clang's fuzzing and sanitizing runtime carries the compiler's version in its name.
case " $wanted " in
    *" clang "*)
        if ! find /usr/lib -name 'libclang_rt.fuzzer-*' 2>/dev/null | grep -q .; then
            missing="$missing libclang-rt-dev"
        fi
        ;;
esac
[ -z "$missing" ] && exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "deps: run this as root:  apt-get install --no-install-recommends$missing" >&2
        exit 1
    }
    as_root=sudo
fi
echo "deps: installing$missing"
$as_root apt-get update -q
case " $missing " in
    *" libclang-rt-dev "*)
        if ! apt-cache show libclang-rt-dev >/dev/null 2>&1; then
            version=$(apt-cache depends clang | sed -n 's/.*Depends: clang-\([0-9]*\).*/\1/p' | head -n 1)
            missing=$(echo "$missing" | sed "s/libclang-rt-dev/libclang-rt-$version-dev/")
        fi
        ;;
esac
# shellcheck disable=SC2086 # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing

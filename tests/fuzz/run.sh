#!/bin/sh
# run.sh SECONDS FUZZER... - runs each fuzzer on its committed corpus, then freely for SECONDS.
# What it finds anew goes to build/fuzz; a crash ends the run with its input named.
set -eu
seconds=$1
shift
failed=0
for fuzzer in "$@"; do
    name=$(basename "$fuzzer")
    work=build/fuzz/found/$name
    mkdir -p "$work"
    if "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$work/" "$work" "tests/fuzz/corpus/${name#fuzz_}" >"$work.log" 2>&1; then
        echo "ok - $name: $(grep -o "stat::number_of_executed_units.*\|Done [0-9]* runs.*" "$work.log" | tail -n 1)"
    else
        echo "not ok - $name"
        tail -n 40 "$work.log"
        failed=1
    fi
done
exit $failed

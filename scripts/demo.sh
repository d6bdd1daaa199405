#!/bin/sh
# demo.sh - `make demo`: on a temporary Redis, a job of each kind, and a table of what became of it.
# Ends by itself; exit 0 only if every outcome is the expected one.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=scripts/private-redis.sh
. scripts/private-redis.sh

build=${BUCKETLINE_BUILD:-build}
dir=$(mktemp -d /tmp/bl-demo.XXXXXX)
trap 'private_redis_stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

private_redis_start "$dir" "$dir/data" || exit 1
export BUCKETLINE_REDIS_URL="unix://$redis_socket"
cli() { redis-cli -s "$redis_socket" "$@"; }

cat >"$dir/worker.yaml" <<YAML
queues: [critical, default]
runners: 4
state_dir: $dir/state
grace: 500ms
plugins: ["$PWD/$build/jobs/*.so"]
handlers:
  report: {exec: [/usr/bin/python3, "$PWD/jobs/report.py"], timeout: 30s}
  picky: {exec: [/bin/sh, -c, "echo not like this >&2; exit 65"]}
YAML
push() { # ID TYPE ARGS [OPTIONS...]
    id=$1 type=$2 args=$3
    shift 3
    "$build/enqueue" -q default --id "$id" --reply-to "reply:$id" "$@" "$type" "$args" >/dev/null
}
fast='fixed:0.1'

push plugin echo '{"hello":"world"}'
push program report '{"n":12345678901234567890,"x":0.1,"e":[]}'
push delayed noop null --in 1s
push retried fail '{"message":"once","times":1}' --retry 3 --backoff $fast
push failed fail '{"message":"always"}' --retry 2 --backoff $fast
push refused picky '{}'
push crashing crash '{"mode":"segv"}' --backoff $fast
push endless crash '{"mode":"spin"}' --timeout 500ms --retry 0
cli lpush queue:critical '{"type":"echo","id":"by-lpush","reply_to":"reply:by-lpush"}' >/dev/null
cli lpush queue:default 'this is no JSON' >/dev/null
cli lpush queue:default '{"type":"nobody.knows"}' >/dev/null

echo "working ..."
"$build/worker" -c "$dir/worker.yaml" --burst --burst-wait 20s >"$dir/log" 2>&1
code=$?

bad=0
row() { # WHAT EXPECTED ACTUAL WHY
    mark=ok
    [ "$2" = "$3" ] || { mark="EXPECTED $2"; bad=1; }
    printf '%-38s %-8s %-10s %s\n' "$1" "$3" "$mark" "$4"
}
answer() { # ID WHAT EXPECTED
    text=$(cli lpop "reply:$1")
    what=$(printf '%s' "$text" | sed -n 's/.*"outcome":"\([a-z]*\)".*/\1/p')
    why=$(printf '%s' "$text" | sed -n 's/.*"message":"\([^"]*\)".*/\1/p' |
        sed 's/\\n$//' | cut -c1-60)
    attempt=$(printf '%s' "$text" | sed -n 's/.*"attempt":\([0-9]*\).*/\1/p')
    row "$2" "$3" "$what" "attempt ${attempt:-?}${why:+, $why}"
}
holds() { # KEY TEXT
    if cli lrange "$1" 0 -1 | grep -q "$2"; then echo yes; else echo no; fi
}
printf '\n%-38s %-8s %-10s %s\n' JOB OUTCOME '' ''
answer plugin "a plugin's handler" "done"
answer program "a program's handler" "done"
answer by-lpush "pushed by redis-cli" "done"
answer delayed "not before a second later" "done"
answer retried "fails once, then works" "done"
answer failed "fails always" dead
answer refused "exit 65" dead
answer crashing "crashes its process three times" dead
answer endless "an endless loop, stopped" dead
row "no JSON: a dead letter with its bytes" yes "$(holds '{queue:default}:dead' 'this is no JSON')" ""
row "unknown type: parked" yes "$(holds '{queue:default}:parked' 'nobody.knows')" ""
row "nothing is left running" 0 "$(cli hlen '{queue:default}:run')" ""
[ "$code" -eq 1 ] || { echo "worker --burst exited $code, expected 1 (dead letters)"; bad=1; }
if [ "$bad" -ne 0 ]; then
    echo
    echo "the worker's log:"
    cat "$dir/log"
fi
exit "$bad"

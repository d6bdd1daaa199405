#!/bin/sh
# run.sh - `make run`: a private Redis, a worker with the shipped worker.yaml, a sample job of each
# kind.  ^C ends all, the worker first.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=scripts/private-redis.sh
. scripts/private-redis.sh

dir=${BUCKETLINE_PRIVATE_DIR:-${XDG_RUNTIME_DIR:-/tmp}/bucketline}
[ -n "${BUCKETLINE_PRIVATE_DIR:-}${XDG_RUNTIME_DIR:-}" ] || dir=/tmp/bucketline-$(id -u)
state=${XDG_STATE_HOME:-${HOME:-/tmp}/.local/state}/bucketline
data=${BUCKETLINE_PRIVATE_DATA:-$state/redis}
build=${BUCKETLINE_BUILD:-build}
worker_pid=

# A second ^C goes to the worker, which then ends at once instead of finishing what has begun.
end() {
    trap 'kill -TERM "$worker_pid" 2>/dev/null' INT TERM HUP
    if [ -n "$worker_pid" ]; then
        kill -TERM "$worker_pid" 2>/dev/null
        while kill -0 "$worker_pid" 2>/dev/null; do
            wait "$worker_pid" # ends early when a signal is trapped
        done
    fi
    trap '' INT TERM HUP
    private_redis_stop
    exit "${1:-0}"
}
trap 'echo; echo "ending: worker first, Redis last"; end 0' INT TERM HUP

private_redis_start "$dir" "$data" 6379 || exit 1
export BUCKETLINE_REDIS_URL="unix://$redis_socket"
cat <<TEXT
A private Redis for trying things out: $redis_socket$([ "$redis_port" -ne 0 ] && echo " and 127.0.0.1:$redis_port")
Its data lie in $data
TEXT

# Its journal lies with the data it belongs to, apart from that of a worker of another Redis.
STATE_DIRECTORY=$data/worker \
    setsid setpriv --pdeathsig TERM "$build/worker" -c worker.yaml --log-level debug \
    8>&- 9>&- </dev/null &
worker_pid=$!

echo "Pushing a sample job of each kind:"
push() {
    "$build/enqueue" "$@" || end 1
}
push echo '{"hello":"world"}'
push report '{"n":12345678901234567890,"x":0.1,"e":[]}'
push sleep '{"ms":300}'
push fail '{"message":"a sample failure"}' --retry 1 --backoff fixed:2
push noop --in 3s
redis-cli -s "$redis_socket" lpush queue:default \
    '{"type":"echo","args":["pushed by redis-cli"]}' >/dev/null || end 1
cat <<TEXT

From another terminal, in this directory:
    redis-cli -s $redis_socket lpush queue:default '{"type":"echo","args":{"hello":"again"}}'
    $build/enqueue -u unix://$redis_socket report '{"rows":[1,2,3]}'
    $build/jobctl -u unix://$redis_socket queues
^C ends all.

TEXT
wait "$worker_pid"
code=$?
worker_pid=
end "$code"

#!/bin/sh
# valgrind.sh BUILD - the main path under valgrind: a burst of jobs of each kind over a private Redis.
# Fails on any error or leak of the worker.  Runners are started from the plain binary: they load
# plugins, and are tried under ASan.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/private-redis.sh
. scripts/private-redis.sh
build=$1
dir=$(mktemp -d /tmp/bl-vg.XXXXXX)
trap 'private_redis_stop; rm -rf "$dir"' EXIT

private_redis_start "$dir" "$dir/data"
export BUCKETLINE_REDIS_URL="unix://$redis_socket"
cat >"$dir/worker.yaml" <<YAML
queues: [default]
runners: 2
state_dir: $dir/state
plugins: ["$PWD/$build/jobs/*.so"]
YAML
"$build/enqueue" -n 200 noop >/dev/null
"$build/enqueue" echo '[1,2,3]' --reply-to reply:x --keep 1h >/dev/null
"$build/enqueue" fail '{}' --retry 1 --backoff fixed:0.1 >/dev/null
"$build/enqueue" crash '{"mode":"abort"}' --backoff fixed:0.1 >/dev/null
"$build/enqueue" noop --in 1s >/dev/null
redis-cli -s "$redis_socket" lpush queue:default 'no json' '{"type":"nobody"}' >/dev/null
BUCKETLINE_RUNNER_EXE="$PWD/$build/worker"
export BUCKETLINE_RUNNER_EXE
code=0
valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect,possible \
    --errors-for-leak-kinds=definite,indirect,possible --child-silent-after-fork=yes \
    "$build/worker" -c "$dir/worker.yaml" --burst --burst-wait 20s >"$dir/log" 2>&1 || code=$?
cat "$dir/log"
[ "$code" -eq 1 ] || { echo "worker exited $code, expected 1 (it leaves dead letters)"; exit 1; }
left=$(redis-cli -s "$redis_socket" hlen '{queue:default}:run')
[ "$left" -eq 0 ] || { echo "$left jobs are left running"; exit 1; }
dead=$(redis-cli -s "$redis_socket" llen '{queue:default}:dead')
[ "$dead" -eq 3 ] || { echo "$dead dead letters, expected 3"; exit 1; }

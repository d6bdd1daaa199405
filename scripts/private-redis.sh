# private-redis.sh - functions for run.sh and demo.sh: a Redis of our own, for trying things out.
# shellcheck shell=sh
#
#   private_redis_start DIR DATA [PORT]   sets redis_pid, redis_socket and redis_port (0 = none)
#   private_redis_stop
#
# DIR (0700, ours) holds the socket and a lock, so that two never share a socket: a second server on
# the same path would steal it silently.  The server leads a session of its own, so that ^C in a
# terminal reaches only the script, and ends with the script however that ends.  Debian's
# redis-tools brings the server only as redis-check-rdb: called redis-server, that is what it is.

# shellcheck disable=SC2034 # redis_port is for those who source this
redis_port=0
redis_pid=
redis_socket=

private_redis_program() { # DIR
    if command -v redis-server >/dev/null; then
        command -v redis-server
        return
    fi
    tool=$(command -v redis-check-rdb) || {
        echo "no redis-server and no redis-check-rdb: run make deps" >&2
        return 1
    }
    ln -sf "$tool" "$1/redis-server"
    echo "$1/redis-server"
}

private_redis_answers() {
    [ "$(redis-cli -s "$redis_socket" ping 2>/dev/null)" = PONG ]
}

# Starts it on a port (0 = the socket alone); false if it ends instead of answering.
private_redis_try() { # DIR DATA PORT PROGRAM
    setsid setpriv --pdeathsig TERM "$4" --port "$3" --bind 127.0.0.1 \
        --unixsocket "$redis_socket" --unixsocketperm 600 --dir "$2" --save '' --appendonly yes \
        --daemonize no >"$1/redis.log" 2>&1 9>&- &
    redis_pid=$!
    while ! private_redis_answers; do
        kill -0 "$redis_pid" 2>/dev/null || return 1
        sleep 0.05
    done
    # shellcheck disable=SC2034
    redis_port=$3
}

private_redis_start() { # DIR DATA [PORT]
    (umask 077 && mkdir -p "$1" "$2")
    if [ ! -O "$1" ]; then
        echo "$1 belongs to somebody else; set BUCKETLINE_PRIVATE_DIR" >&2
        return 1
    fi
    chmod 700 "$1"
    exec 9>"$1/lock"
    if ! flock -n 9; then
        echo "a private Redis is running already: unix://$1/redis.sock" >&2
        return 1
    fi
    redis_socket=$1/redis.sock
    if [ ${#redis_socket} -gt 100 ]; then
        echo "$redis_socket is too long for a socket's path; set BUCKETLINE_PRIVATE_DIR" >&2
        return 1
    fi
    rm -f "$redis_socket"
    program=$(private_redis_program "$1") || return 1
    if [ "${3:-0}" -ne 0 ] && ! redis-cli -p "$3" ping >/dev/null 2>&1 &&
        private_redis_try "$1" "$2" "$3" "$program"; then
        return 0
    fi
    private_redis_try "$1" "$2" 0 "$program" && return 0
    echo "the private Redis does not start:" >&2
    tail -n 5 "$1/redis.log" >&2
    return 1
}

private_redis_stop() {
    [ -n "$redis_pid" ] || return 0
    kill -TERM "$redis_pid" 2>/dev/null
    wait "$redis_pid" 2>/dev/null
    redis_pid=
}

# private-redis.sh - functions for run.sh and demo.sh: a Redis of our own, for trying things out.
# shellcheck shell=sh
#
#   private_redis_start DIR DATA [PORT]   sets redis_pid, redis_socket and redis_port (0 = none)
#   private_redis_stop
#
# DIR (0700, ours) holds the socket.  DIR and DATA are locked: a second server on the same socket
# would steal it silently, one on the same data would spoil them.  The locks (descriptors 8 and 9)
# are the server's as well as the script's: one that outlives a killed script, while it writes its
# last bytes, still has them.
#
# The server leads a session of its own, so that ^C in a terminal reaches only the script, and ends
# with the script however that ends.  Debian's redis-tools brings the server only as
# redis-check-rdb: called redis-server, that is what it is.

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
    # shellcheck disable=SC2016 # for the inner shell, which looks whether we live before it goes on
    setsid setpriv --pdeathsig TERM sh -c '[ "$PPID" = "$0" ] && exec "$@"' $$ \
        "$4" --port "$3" --bind 127.0.0.1 \
        --unixsocket "$redis_socket" --unixsocketperm 600 --dir "$2" --save '' --appendonly yes \
        --daemonize no >"$1/redis.log" 2>&1 </dev/null &
    redis_pid=$!
    while ! private_redis_answers; do
        kill -0 "$redis_pid" 2>/dev/null || return 1
        sleep 0.05
    done
    # shellcheck disable=SC2034
    redis_port=$3
}

# A directory that is ours alone, not one that somebody put there for us to use.
private_redis_directory() { # DIR VARIABLE
    (umask 077 && mkdir -p "$1") || return 1
    if [ -L "$1" ] || [ ! -O "$1" ]; then
        echo "$1 is a link, or belongs to somebody else; set $2" >&2
        return 1
    fi
    chmod 700 "$1"
}

# One that answers is somebody's; one that does not is about to end: its lock is waited for.
private_redis_lock() { # DIR DATA
    exec 9>"$1/lock" 8>"$2/lock"
    if flock -n 9 && flock -n 8; then
        return 0
    fi
    if private_redis_answers; then
        echo "a private Redis is running already: unix://$redis_socket" >&2
        return 1
    fi
    if ! flock -w 10 9 || ! flock -w 10 8; then
        echo "another private Redis is using $1 or $2; set BUCKETLINE_PRIVATE_DIR and" \
            "BUCKETLINE_PRIVATE_DATA to have a second one" >&2
        return 1
    fi
}

private_redis_start() { # DIR DATA [PORT]
    private_redis_directory "$1" BUCKETLINE_PRIVATE_DIR || return 1
    private_redis_directory "$2" BUCKETLINE_PRIVATE_DATA || return 1
    redis_socket=$1/redis.sock
    if [ ${#redis_socket} -gt 100 ]; then
        echo "$redis_socket is too long for a socket's path; set BUCKETLINE_PRIVATE_DIR" >&2
        return 1
    fi
    private_redis_lock "$1" "$2" || return 1
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
    while kill -0 "$redis_pid" 2>/dev/null; do
        wait "$redis_pid" 2>/dev/null # ends early when a signal is trapped
    done
    redis_pid=
}

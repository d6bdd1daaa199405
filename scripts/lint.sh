#!/bin/sh
# lint.sh - holds the rules of the layout: who may include what, where keys and commands are spelled,
# shellcheck disable=SC2046,SC2086 # file names of ours hold no blanks: lists of words are wanted
# how long a file may be, that every option is documented, the format, and what cppcheck finds.
set -u
cd "$(dirname "$0")/.." || exit 1
broken=$(mktemp)
trap 'rm -f "$broken"' EXIT

# none MESSAGE: standard input must be empty.
none() {
    found=$(cat)
    if [ -n "$found" ]; then
        echo "lint: $1"
        echo "$found" | sed 's/^/    /'
        echo x >>"$broken"
    fi
}

sources=$(git ls-files '*.c' '*.h')
programs=$(git ls-files 'worker/*.[ch]' 'enqueue/*.[ch]' 'jobctl/*.[ch]')

grep -lE '^#include <yaml\.h>' $sources | grep -vx 'common/yaml_tree.c' |
    none "yaml.h is included outside common/yaml_tree.c"
grep -lE '^#include <dlfcn\.h>' $sources | grep -vx 'worker/runner/plugin.c' |
    none "dlfcn.h is included outside worker/runner/plugin.c"
grep -lE '^#include <uv\.h>' $sources | grep -vE '^(common/redis_|worker/[^/]*$|tests/)' |
    none "uv.h is included outside common/redis_*, worker/ and tests/"
grep -lE '"(common/(store|redis_)|worker/(worker|pool|claim|settle|link))[a-z_]*\.h"' \
    $(git ls-files 'worker/runner/*.[ch]') | none "a runner reaches for Redis or the loop"
grep -lE '"(worker|enqueue|jobctl)/' $(git ls-files 'common/*.[ch]') |
    none "common/ includes a program"
grep -lE '"(worker|jobctl)/' $(git ls-files 'enqueue/*.[ch]') | none "enqueue includes another program"
grep -lE '"(worker|enqueue)/' $(git ls-files 'jobctl/*.[ch]') | none "jobctl includes another program"
grep -lE '^#include "' $(git ls-files 'jobs/*.c') | while read -r f; do
    grep -HnE '^#include "' "$f" | grep -v '"bucketline.h"'
done | none "a plugin includes more than bucketline.h"
grep -nE '^#include' jobs/bucketline.h | grep -vE '<(stddef|stdint)\.h>' |
    none "jobs/bucketline.h includes more than stddef.h and stdint.h"

grep -nE '"(LPUSH|RPUSH|BRPOP|BLMOVE|LMOVE|LREM|ZADD|EVALSHA|EVAL|HSET|HDEL|HGETALL|LRANGE|HINCRBY|SCRIPT)"' \
    $programs $(git ls-files 'common/*.[ch]' | grep -v '^common/store') |
    none "a Redis command is spelled outside common/store*"
grep -nE '"\}:|"queue:"|"bucketline:workers' $(git ls-files '*.c' | grep -vE '^(common/store|tests/)') |
    none "a Redis key is spelled outside common/store*"

for f in $sources $(git ls-files '*.py' '*.sh' '*.lua' Makefile); do
    n=$(wc -l <"$f")
    [ "$n" -gt 600 ] && [ "${f#tests/}" = "$f" ] && echo "$f has $n lines"
done | none "a file is longer than 600 lines"
for f in $(git ls-files 'common/lua/*.lua'); do
    n=$(wc -l <"$f")
    [ "$n" -gt 40 ] && echo "$f has $n lines"
done | none "a script is longer than 40 lines"
for f in $(git ls-files 'common/*.c' 'worker/*.c' 'enqueue/*.c' 'jobctl/*.c'); do
    case $f in */main.c | common/lua/*) continue ;; esac
    first=$(grep -m 1 '^#include' "$f")
    own=$(basename "${f%.c}").h
    [ -f "${f%.c}_priv.h" ] && own=$(basename "${f%.c}")
    [ -f "${f%.c}.h" ] || continue
    case $first in *"$own"*) ;; *) echo "$f" ;; esac
done | none "a .c file does not include its own header first"
grep -nE '\b(TODO|FIXME|XXX|HACK)\b' $sources | none "something is left to do"
grep -nE '\b(sprintf|vsprintf|strcpy|strcat|gets)\(' $(git ls-files '*.c' | grep -v '^tests/') |
    none "an unbounded string function"

if command -v clang-format >/dev/null; then
    clang-format --dry-run -Werror $sources 2>&1 | grep -E 'error:' | cut -d: -f1 | sort | uniq -c |
        none "not as clang-format has it (run: make format)"
else
    echo "lint: clang-format is not installed, skipped"
fi
if command -v cppcheck >/dev/null; then
    cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr -I. \
        -D_GNU_SOURCE -DBL_VERSION='"0"' --suppress=missingIncludeSystem \
        --suppress=unknownMacro --suppress=nullPointerRedundantCheck \
        --suppress=nullPointer:jobs/crash.c $(git ls-files 'common/*.c' 'worker/*.c' 'worker/runner/*.c' \
        'enqueue/*.c' 'jobctl/*.c' 'jobs/*.c') 2>&1 | none "cppcheck"
else
    echo "lint: cppcheck is not installed, skipped"
fi
if command -v shellcheck >/dev/null; then
    shellcheck -x $(git ls-files '*.sh') | none "shellcheck"
fi
[ -s "$broken" ] && exit 1
echo "lint: all rules hold"

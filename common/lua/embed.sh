#!/bin/sh
# Writes C source that embeds the given Lua files: for each NAME.lua a row {name, text, sha1}.
# The SHA1 is the one Redis computes of the text, so EVALSHA works without asking.
set -eu
echo '#include "common/store_scripts.h"'
echo 'const struct lua_script lua_scripts[] = {'
for f in "$@"; do
    name=$(basename "$f" .lua)
    sha=$(sha1sum "$f" | cut -d' ' -f1)
    printf '    {"%s",\n' "$name"
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/     "/' -e 's/$/\\n"/' "$f"
    printf '     , "%s"},\n' "$sha"
done
echo '    {0, 0, 0},'
echo '};'

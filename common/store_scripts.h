/* store_scripts.h - the Lua scripts as embedded by common/lua/embed.sh; for store_*.c alone. */
#ifndef BL_COMMON_STORE_SCRIPTS_H
#define BL_COMMON_STORE_SCRIPTS_H

struct lua_script {
    const char *name; /* file name without .lua; NULL ends the table */
    const char *text;
    const char *sha1; /* 40 hex digits */
};
extern const struct lua_script lua_scripts[];

#endif

/* URLs from any bytes: a refused one leaves the output alone, what is shown depends on no password
 * and leads to the same place, and wiping keeps the length. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/redis_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SHOWN_BYTES = 4096 }; /* everything percent-encoded still fits */

static void refuses_cleanly(const char *text, struct redis_url *u)
{
    struct redis_url before, after;
    struct err err = {0};
    memset(&before, 0x5a, sizeof before);
    memcpy(&after, &before, sizeof after);
    if (redis_url_parse(text, &after, &err) == 0) {
        *u = after;
        return;
    }
    if (err.code == 0 || memcmp(&before, &after, sizeof after) != 0)
        abort();
}

static void shows_no_password(const struct redis_url *u)
{
    char shown[SHOWN_BYTES], without[SHOWN_BYTES], again[SHOWN_BYTES];
    struct redis_url bare = *u, back = {0};
    struct err err = {0};
    memset(bare.password, 0, sizeof bare.password);
    redis_url_show(u, shown, sizeof shown);
    redis_url_show(&bare, without, sizeof without);
    if (strcmp(shown, without) != 0)
        abort();
    if (strncmp(u->unix_path, "//", 2) == 0)
        return; /* "unix:" and such a path look like an authority: shown, not parsed */
    if (redis_url_parse(shown, &back, &err) < 0)
        abort();
    redis_url_show(&back, again, sizeof again);
    if (strcmp(shown, again) != 0 || back.port != u->port || back.db != u->db)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = xmalloc(size + 1);
    struct redis_url u = {0};
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    refuses_cleanly(text, &u);
    if (u.port != 0) {
        if (u.port < 0 || u.port > 65535 || u.db < 0 || u.db > 1023)
            abort();
        shows_no_password(&u);
    }
    size_t len = strlen(text);
    redis_url_wipe(text);
    if (strlen(text) != len)
        abort();
    free(text);
    return 0;
}

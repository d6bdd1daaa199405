/* redis_tls.h - TLS between two byte buffers: no socket, no loop.  For redis_stream.c alone.
 *
 * Ciphertext that arrived goes in with redis_tls_feed(), what is to be sent comes out with
 * redis_tls_drain(); OpenSSL's memory BIOs stand between.  hiredis' TLS module is not used: Debian
 * 12 has none.  In a build without OpenSSL redis_tls_new() says so and nothing else is reached.
 */
#ifndef BL_COMMON_REDIS_TLS_H
#define BL_COMMON_REDIS_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"

struct redis_tls;

struct redis_tls_config {
    const char *host; /* name or IP address the certificate must be for */
    const char *ca_file; /* NULL = the system's */
    const char *cert_file; /* our certificate, NULL = none */
    const char *key_file; /* its key; NULL = in cert_file */
    bool verify; /* chain and host; false accepts anybody */
};

/* Files are read here, at each attempt, so that renewed certificates are picked up.  Caller owns
 * `*ret` (redis_tls_free).  -ERR_UNSUPPORTED without OpenSSL, -ERR_SYSTEM for a file. */
MUST_CHECK int redis_tls_new(const struct redis_tls_config *config, struct redis_tls **ret,
                             struct err *err);
void redis_tls_free(struct redis_tls *t); /* NULL is fine */

/* Ciphertext from the peer; copied. */
void redis_tls_feed(struct redis_tls *t, struct span wire);
/* Goes on with the handshake.  1 = done, 0 = more is needed from the peer (drain first), or
 * -ERR_CONNECT with what was wrong with the certificate. */
MUST_CHECK int redis_tls_handshake(struct redis_tls *t, struct err *err);
/* Encrypts all of `plain` and moves the ciphertext to `wire`. */
MUST_CHECK int redis_tls_encrypt(struct redis_tls *t, struct span plain, struct buf *wire,
                                 struct err *err);
/* Plaintext into out, up to `size` bytes: how many, 0 = none now, -ERR_CLOSED at the peer's end. */
MUST_CHECK int redis_tls_read(struct redis_tls *t, char *out, size_t size, struct err *err);
/* Moves what waits to be sent to `wire`; of TLS itself too (alerts, key updates). */
void redis_tls_drain(struct redis_tls *t, struct buf *wire);
bool redis_tls_wants_drain(const struct redis_tls *t);

#endif

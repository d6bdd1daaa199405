#include "common/redis_tls.h"

#ifdef HAVE_OPENSSL

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct redis_tls {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
};

/* The oldest error of OpenSSL's queue, which is emptied. */
static const char *openssl_text(char *out, size_t size)
{
    unsigned long code = ERR_get_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
#ifdef ERR_SYSTEM_ERROR /* OpenSSL 3 names these no more */
    if (code != 0 && ERR_SYSTEM_ERROR(code))
        reason = strerror(ERR_GET_REASON(code));
#endif
    snprintf(out, size, "%s", reason != NULL ? reason : "unknown error");
    ERR_clear_error();
    return out;
}

/* A key with a passphrase is an error: OpenSSL's own answer would be to ask at the terminal. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return 0;
}

static int load_files(SSL_CTX *ctx, const struct redis_tls_config *c, struct err *err)
{
    char text[160];
    if (c->ca_file != NULL) {
        if (SSL_CTX_load_verify_locations(ctx, c->ca_file, NULL) != 1)
            return err_set(err, ERR_SYSTEM, "TLS: cannot use the CA file %s: %s", c->ca_file,
                           openssl_text(text, sizeof text));
    } else if (c->verify && SSL_CTX_set_default_verify_paths(ctx) != 1) {
        return err_set(err, ERR_SYSTEM, "TLS: cannot read the system's CA certificates: %s",
                       openssl_text(text, sizeof text));
    }
    if (c->cert_file == NULL)
        return 0;
    if (SSL_CTX_use_certificate_chain_file(ctx, c->cert_file) != 1)
        return err_set(err, ERR_SYSTEM, "TLS: cannot use the certificate %s: %s", c->cert_file,
                       openssl_text(text, sizeof text));
    const char *key = c->key_file != NULL ? c->key_file : c->cert_file;
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return err_set(err, ERR_SYSTEM, "TLS: cannot use the key %s: %s", key,
                       openssl_text(text, sizeof text));
    return 0;
}

/* For whom the certificate must be: an IP address is compared with the addresses in it, not with
 * its names, and is not sent as SNI. */
static int set_peer(SSL *ssl, const struct redis_tls_config *c, struct err *err)
{
    char host[256];
    snprintf(host, sizeof host, "%s", c->host);
    host[strcspn(host, "%")] = '\0'; /* the zone of a link-local address */
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);
    bool is_ip = ip != NULL;
    ASN1_OCTET_STRING_free(ip);
    ERR_clear_error();
    int ok = is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, host)
                   : X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
                         SSL_set_tlsext_host_name(ssl, host) == 1;
    if (ok != 1)
        return err_set(err, ERR_INVALID, "TLS: %s can be no certificate's host", host);
    SSL_set_verify(ssl, c->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    return 0;
}

int redis_tls_new(const struct redis_tls_config *config, struct redis_tls **ret, struct err *err)
{
    struct redis_tls *t = xcalloc(1, sizeof *t);
    int rc = 0;
    ERR_clear_error();
    t->ctx = SSL_CTX_new(TLS_client_method());
    if (t->ctx == NULL || SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) != 1)
        rc = err_set(err, ERR_SYSTEM, "TLS: OpenSSL does not start");
    if (rc == 0)
        rc = load_files(t->ctx, config, err);
    if (rc == 0) {
        t->ssl = SSL_new(t->ctx);
        t->in = BIO_new(BIO_s_mem());
        t->out = BIO_new(BIO_s_mem());
        if (t->ssl == NULL || t->in == NULL || t->out == NULL) {
            BIO_free(t->in);
            BIO_free(t->out);
            rc = err_set(err, ERR_SYSTEM, "TLS: OpenSSL is out of memory");
        } else {
            SSL_set_bio(t->ssl, t->in, t->out);
            SSL_set_connect_state(t->ssl);
            rc = set_peer(t->ssl, config, err);
        }
    }
    if (rc < 0) {
        redis_tls_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void redis_tls_free(struct redis_tls *t)
{
    if (t == NULL)
        return;
    SSL_free(t->ssl);
    SSL_CTX_free(t->ctx);
    free(t);
}

void redis_tls_feed(struct redis_tls *t, struct span wire)
{
    if (wire.len > 0 && BIO_write(t->in, wire.ptr, (int)wire.len) != (int)wire.len)
        BUG("a memory BIO refuses %zu bytes", wire.len);
}

/* What an operation that did not succeed means: 0 = wait for the peer. */
static int judge(struct redis_tls *t, int result, const char *what, struct err *err)
{
    char text[160];
    int why = SSL_get_error(t->ssl, result);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return 0;
    if (why == SSL_ERROR_ZERO_RETURN)
        return err_set(err, ERR_CLOSED, "TLS: Redis closed the connection");
    long verdict = SSL_get_verify_result(t->ssl);
    if (verdict != X509_V_OK && SSL_get_verify_mode(t->ssl) != SSL_VERIFY_NONE) {
        ERR_clear_error();
        return err_set(err, ERR_CONNECT, "TLS: Redis' certificate is refused: %s",
                       X509_verify_cert_error_string(verdict));
    }
    return err_set(err, ERR_CONNECT, "TLS: %s: %s", what, openssl_text(text, sizeof text));
}

int redis_tls_handshake(struct redis_tls *t, struct err *err)
{
    ERR_clear_error();
    int result = SSL_do_handshake(t->ssl);
    return result == 1 ? 1 : judge(t, result, "the handshake failed", err);
}

int redis_tls_encrypt(struct redis_tls *t, struct span plain, struct buf *wire, struct err *err)
{
    enum { CHUNK = 256 * 1024 }; /* keeps the memory BIO small beside a large command */
    while (plain.len > 0) {
        int n = plain.len < CHUNK ? (int)plain.len : CHUNK;
        ERR_clear_error();
        int result = SSL_write(t->ssl, plain.ptr, n);
        if (result <= 0) {
            int rc = judge(t, result, "cannot encrypt", err);
            return rc < 0 ? rc : err_set(err, ERR_CONNECT, "TLS: renegotiation is not supported");
        }
        plain = (struct span){plain.ptr + result, plain.len - (size_t)result};
        redis_tls_drain(t, wire);
    }
    return 0;
}

int redis_tls_read(struct redis_tls *t, char *out, size_t size, struct err *err)
{
    ERR_clear_error();
    int result = SSL_read(t->ssl, out, (int)size);
    return result > 0 ? result : judge(t, result, "cannot decrypt", err);
}

void redis_tls_drain(struct redis_tls *t, struct buf *wire)
{
    char *data = NULL;
    long n = BIO_get_mem_data(t->out, &data);
    if (n > 0)
        buf_add(wire, data, (size_t)n);
    (void)BIO_reset(t->out); /* of a memory BIO: cannot fail */
}

bool redis_tls_wants_drain(const struct redis_tls *t)
{
    return BIO_pending(t->out) > 0;
}

#else

int redis_tls_new(const struct redis_tls_config *config, struct redis_tls **ret, struct err *err)
{
    (void)config;
    (void)ret;
    return err_set(err, ERR_UNSUPPORTED,
                   "rediss:// needs a build with OpenSSL (libssl-dev), which this one is not");
}

void redis_tls_free(struct redis_tls *t)
{
    (void)t;
}

void redis_tls_feed(struct redis_tls *t, struct span wire)
{
    (void)t;
    (void)wire;
}

int redis_tls_handshake(struct redis_tls *t, struct err *err)
{
    (void)t;
    return err_set(err, ERR_UNSUPPORTED, "no TLS in this build");
}

int redis_tls_encrypt(struct redis_tls *t, struct span plain, struct buf *wire, struct err *err)
{
    (void)t;
    (void)plain;
    (void)wire;
    return err_set(err, ERR_UNSUPPORTED, "no TLS in this build");
}

int redis_tls_read(struct redis_tls *t, char *out, size_t size, struct err *err)
{
    (void)t;
    (void)out;
    (void)size;
    return err_set(err, ERR_UNSUPPORTED, "no TLS in this build");
}

void redis_tls_drain(struct redis_tls *t, struct buf *wire)
{
    (void)t;
    (void)wire;
}

bool redis_tls_wants_drain(const struct redis_tls *t)
{
    (void)t;
    return false;
}

#endif

/* ceiling - what a bare client in C can do against a Redis with the commands of our protocol: the
 * same bytes as enqueue and the worker send (common/store.h encodes them), pipelined, and nothing
 * else done.  What the worker does besides, it can only cost.
 *
 *   ceiling MODE [--socket PATH] [--key LIST] [--count N] [--bytes N] [--batch N] [--depth N]
 *                [--type NAME]
 *
 *   push       LPUSH of --batch documents of --bytes each (BATCH_DOCUMENTS and BATCH_BYTES of
 *              enqueue are the most), --depth commands in flight, until --count are stored
 *   claim      claims of --batch by script and HDEL of their tokens, --depth claims in flight,
 *              until the list is empty: at least once
 *   pop        RPOP of --batch, --depth in flight, until the list is empty: at most once
 *   pop-one    BRPOP of --count jobs one by one, --depth in flight: at most once without batches
 *   awake      looks at the clock for --count ms: how long after any moment a core that never sleeps
 *              goes on, which is what the host, the kernel and others on the machine take away
 *   ping       --count round trips, one after the other
 *   wake       BRPOP until --count values came, each the CLOCK_MONOTONIC ns of its push
 *   relay      the same, each value passed on to a child process, which sees it: three processes wake
 *              up one after the other, as for a job that runs in a process of its own
 *   spawn      starts --count processes of /bin/true, --depth at a time: what `exec` jobs cost at
 *              least
 *   documents  prints --count documents, one a line, for `enqueue --bulk`
 *
 * Prints one line of JSON: jobs, seconds, cpu_seconds; awake, ping, wake and relay: p50, p99, p999 in us.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/store.h"
#include "enqueue/batch.h"
#include "tests/bench/client.h"
#include "tests/bench/documents.h"

struct options {
    const char *mode, *socket, *key, *type;
    int64_t count, bytes, batch, depth;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct clock {
    int64_t ns;
    double cpu;
};

static struct clock clock_start(void)
{
    return (struct clock){now_ns(), cpu_seconds()};
}

static void print_rate(struct clock start, int64_t jobs)
{
    double seconds = (double)(now_ns() - start.ns) / 1e9;
    printf("{\"jobs\":%" PRId64 ",\"seconds\":%.6f,\"cpu_seconds\":%.6f}\n", jobs, seconds,
           cpu_seconds() - start.cpu);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double percentile_us(const int64_t *sorted, int64_t n, double p)
{
    int64_t i = (int64_t)((double)n * p);
    return (double)sorted[i < n ? i : n - 1] / 1e3;
}

static void print_spread(int64_t *ns, int64_t n)
{
    qsort(ns, (size_t)n, sizeof *ns, by_value);
    printf("{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}\n", percentile_us(ns, n, 0.5),
           percentile_us(ns, n, 0.99), percentile_us(ns, n, 0.999), (double)ns[n - 1] / 1e3);
}

/* ---- push --------------------------------------------------------------------------------- */

/* Appends one LPUSH of documents `from`, from + 1, ...; returns how many it took. */
static int64_t append_push(struct buf *out, const struct store_queue *q, const struct options *o,
                           struct buf *document, int64_t from)
{
    int64_t n = o->count - from, fit = BATCH_BYTES / o->bytes;
    if (n > o->batch)
        n = o->batch;
    if (n > fit)
        n = fit > 0 ? fit : 1;
    store_begin_push(out, q, (int)n);
    for (int64_t i = 0; i < n; i++) {
        buf_clear(document);
        document_append(document, o->type, from + i, (size_t)o->bytes);
        store_arg(out, buf_span(document));
    }
    return n;
}

static void run_push(struct client *c, const struct store_queue *q, const struct options *o)
{
    struct buf document = BUF_INIT;
    int64_t sent = 0, in_flight = 0;
    struct clock start = clock_start();
    while (sent < o->count || in_flight > 0) {
        while (sent < o->count && in_flight < o->depth) {
            sent += append_push(&c->out, q, o, &document, sent);
            in_flight++;
            client_flush(c); /* Redis works while the next one is made */
        }
        (void)client_await(c);
        in_flight--;
    }
    print_rate(start, sent);
    buf_done(&document);
}

/* ---- claim and acknowledge ------------------------------------------------------------------ */

struct flight {
    uint64_t first_seq; /* of a claim; acks need none */
    bool claim;
};

/* What is on its way, oldest first. */
struct flights {
    struct flight *ring;
    size_t size, first, count;
};

static void flights_add(struct flights *f, struct flight flight)
{
    if (f->count == f->size)
        die("more in flight than there can be");
    f->ring[(f->first + f->count++) % f->size] = flight;
}

static struct flight flights_take(struct flights *f)
{
    struct flight flight = f->ring[f->first];
    f->first = (f->first + 1) % f->size;
    f->count--;
    return flight;
}

struct drain {
    struct client *client;
    const struct store_queue *queue;
    const struct options *options;
    struct incarnation inc;
    uint64_t next_seq;
    struct flights flights;
    bool empty;
    int64_t jobs;
};

static void send_claim(struct drain *d)
{
    int batch = (int)d->options->batch;
    store_cmd_claim(&d->client->out, d->queue, &d->inc, d->next_seq, batch, STORE_CLAIM_MAX_BYTES);
    flights_add(&d->flights, (struct flight){.first_seq = d->next_seq, .claim = true});
    d->next_seq += (uint64_t)batch;
}

static void on_answer(struct drain *d, const struct answer *a)
{
    struct flight f = flights_take(&d->flights);
    if (!f.claim)
        return;
    int n = (int)a->elements - 2;
    if (a->head[0] != 0 || n < 0)
        die("the queue is paused");
    d->empty |= a->head[1] == 0;
    if (n > 0) {
        uint64_t seqs[STORE_CLAIM_MAX];
        for (int i = 0; i < n; i++)
            seqs[i] = f.first_seq + (uint64_t)i;
        store_cmd_ack(&d->client->out, d->queue, &d->inc, seqs, n);
        flights_add(&d->flights, (struct flight){.claim = false});
        d->jobs += n;
    }
    if (!d->empty)
        send_claim(d);
}

static void run_claim(struct client *c, const struct store_queue *q, const struct options *o)
{
    struct drain d = {.client = c, .queue = q, .options = o, .next_seq = 1};
    struct err err = {0};
    if (incarnation_new(&d.inc, &err) < 0)
        die("%s", err.text);
    d.flights.size = (size_t)o->depth * 3 + 4;
    d.flights.ring = xcalloc(d.flights.size, sizeof *d.flights.ring);
    client_load_script(c, SCRIPT_CLAIM);
    struct clock start = clock_start();
    for (int64_t i = 0; i < o->depth; i++)
        send_claim(&d);
    while (d.flights.count > 0) {
        struct answer a = client_await(c);
        on_answer(&d, &a);
        while (client_arrived(c, &a))
            on_answer(&d, &a);
    }
    print_rate(start, d.jobs);
    free(d.flights.ring);
}

/* ---- at most once ------------------------------------------------------------------------- */

static void run_pop(struct client *c, const struct store_queue *q, const struct options *o)
{
    int64_t jobs = 0, in_flight = 0;
    bool empty = false;
    struct clock start = clock_start();
    while (!empty || in_flight > 0) {
        for (; !empty && in_flight < o->depth; in_flight++)
            store_cmd_rpop(&c->out, q, (int)o->batch);
        struct answer a = client_await(c);
        do {
            in_flight--;
            jobs += a.elements;
            empty |= a.nil || a.elements < o->batch;
        } while (client_arrived(c, &a));
    }
    print_rate(start, jobs);
}

static void run_pop_one(struct client *c, const struct store_queue *q, const struct options *o)
{
    int64_t sent = 0, jobs = 0;
    struct clock start = clock_start();
    while (jobs < o->count) {
        for (; sent < o->count && sent - jobs < o->depth; sent++)
            store_cmd_brpop(&c->out, &q, 1, 0);
        struct answer a = client_await(c);
        do
            jobs++;
        while (client_arrived(c, &a));
    }
    print_rate(start, jobs);
}

/* ---- latency ------------------------------------------------------------------------------ */

enum { GAPS_MAX = 1000000, GAP_MIN_NS = 1000 };

struct gaps {
    int64_t ns[GAPS_MAX];
    int count;
};

/* From a moment that can be any of `length_ns`, how long is it until the gap ends that it lies in?  The
 * longest such time but for the share 1 - p of the moments: more than x are sum(max(0, gap - x)). */
static double gap_percentile_us(const struct gaps *g, int64_t length_ns, double p)
{
    double low = 0, high = (double)length_ns;
    while (high - low > 10) {
        double x = (low + high) / 2, beyond = 0;
        for (int i = 0; i < g->count; i++)
            beyond += (double)g->ns[i] > x ? (double)g->ns[i] - x : 0;
        if (beyond > (1 - p) * (double)length_ns)
            low = x;
        else
            high = x;
    }
    return low / 1e3;
}

static void run_awake(const struct options *o)
{
    struct gaps *g = xcalloc(1, sizeof *g);
    int64_t start = now_ns(), last = start, length_ns = o->count * 1000000;
    while (last - start < length_ns && g->count < GAPS_MAX) {
        int64_t now = now_ns();
        if (now - last > GAP_MIN_NS)
            g->ns[g->count++] = now - last;
        last = now;
    }
    length_ns = last - start;
    printf("{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f}\n", gap_percentile_us(g, length_ns, 0.5),
           gap_percentile_us(g, length_ns, 0.99), gap_percentile_us(g, length_ns, 0.999));
    free(g);
}

static void run_ping(struct client *c, const struct options *o)
{
    int64_t *ns = xcalloc((size_t)o->count, sizeof *ns);
    for (int64_t i = 0; i < o->count; i++) {
        int64_t start = now_ns();
        store_cmd_ping(&c->out);
        (void)client_await(c);
        ns[i] = now_ns() - start;
    }
    print_spread(ns, o->count);
    free(ns);
}

/* Waits for a value of `pusher bare`: when it was pushed. */
static int64_t await_push(struct client *c, const struct store_queue *q)
{
    store_cmd_brpop(&c->out, &q, 1, 0);
    struct answer a = client_await(c);
    return strtoll(a.bytes, NULL, 10); /* a CR follows the digits */
}

static void run_wake(struct client *c, const struct store_queue *q, const struct options *o)
{
    int64_t *ns = xcalloc((size_t)o->count, sizeof *ns);
    for (int64_t i = 0; i < o->count; i++) {
        int64_t pushed_ns = await_push(c, q);
        ns[i] = now_ns() - pushed_ns;
    }
    print_spread(ns, o->count);
    free(ns);
}

/* The child of run_relay(): takes the times of pushes from `fd`, and ends the process. */
static _Noreturn void relayed(int fd, int64_t count)
{
    int64_t *ns = xcalloc((size_t)count, sizeof *ns);
    for (int64_t i = 0; i < count; i++) {
        int64_t pushed_ns;
        if (recv(fd, &pushed_ns, sizeof pushed_ns, MSG_WAITALL) != sizeof pushed_ns)
            die("the parent is gone");
        ns[i] = now_ns() - pushed_ns;
    }
    print_spread(ns, count);
    free(ns);
    exit(0);
}

static void run_relay(struct client *c, const struct store_queue *q, const struct options *o)
{
    int fds[2], status = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
        die("socketpair: %s", strerror(errno));
    pid_t child = fork();
    if (child == -1)
        die("fork: %s", strerror(errno));
    if (child == 0) {
        close(fds[0]);
        relayed(fds[1], o->count);
    }
    close(fds[1]);
    for (int64_t i = 0; i < o->count; i++) {
        int64_t pushed_ns = await_push(c, q);
        if (send(fds[0], &pushed_ns, sizeof pushed_ns, MSG_NOSIGNAL) != sizeof pushed_ns)
            die("the child is gone");
    }
    if (waitpid(child, &status, 0) == -1 || status != 0)
        die("the child failed");
    close(fds[0]);
}

/* ---- processes ---------------------------------------------------------------------------- */

static void run_spawn(const struct options *o)
{
    char *argv[] = {"/bin/true", NULL}, *envp[] = {NULL};
    int64_t started = 0, ended = 0;
    struct clock start = clock_start();
    while (ended < o->count) {
        pid_t pid;
        for (; started < o->count && started - ended < o->depth; started++)
            if (posix_spawn(&pid, argv[0], NULL, NULL, argv, envp) != 0)
                die("cannot start %s", argv[0]);
        int status;
        if (wait(&status) == -1 || status != 0)
            die("%s failed", argv[0]);
        ended++;
    }
    print_rate(start, ended);
}

static void print_documents(const struct options *o)
{
    struct buf text = BUF_INIT;
    for (int64_t i = 0; i < o->count; i++) {
        buf_clear(&text);
        document_append(&text, o->type, i, (size_t)o->bytes);
        buf_add_char(&text, '\n');
        fwrite(text.data, 1, text.len, stdout);
    }
    buf_done(&text);
    if (fflush(stdout) != 0)
        die("cannot write the documents");
}

/* ---- command line ------------------------------------------------------------------------- */

static void read_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){.mode = argc > 1 ? argv[1] : "",
                          .socket = "",
                          .key = "queue:default",
                          .type = "noop",
                          .count = 1,
                          .bytes = DOCUMENT_BYTES_MIN,
                          .batch = STORE_CLAIM_MAX,
                          .depth = 4};
    const struct {
        const char *name;
        const char **text;
        int64_t *number;
        int64_t max;
    } table[] = {
        {"--socket", &o->socket, NULL, 0},
        {"--key", &o->key, NULL, 0},
        {"--type", &o->type, NULL, 0},
        {"--count", NULL, &o->count, INT64_MAX},
        {"--bytes", NULL, &o->bytes, 1024 * 1024},
        {"--batch", NULL, &o->batch, BATCH_DOCUMENTS},
        {"--depth", NULL, &o->depth, 1000},
    };
    for (int i = 2; i < argc; i += 2) {
        size_t k = 0;
        while (k < ARRAY_COUNT(table) && strcmp(argv[i], table[k].name) != 0)
            k++;
        if (k == ARRAY_COUNT(table) || i + 1 == argc)
            die("ceiling: %s is no option, or lacks its value", argv[i]);
        if (table[k].text != NULL)
            *table[k].text = argv[i + 1];
        else
            *table[k].number = strtoll(argv[i + 1], NULL, 10);
        if (table[k].number != NULL && (*table[k].number < 1 || *table[k].number > table[k].max))
            die("ceiling: %s is out of range", argv[i]);
    }
}

int main(int argc, char **argv)
{
    struct options o;
    read_options(&o, argc, argv);
    if (strcmp(o.mode, "documents") == 0) {
        print_documents(&o);
        return 0;
    }
    if (strcmp(o.mode, "spawn") == 0) {
        run_spawn(&o);
        return 0;
    }
    if (strcmp(o.mode, "awake") == 0) {
        run_awake(&o);
        return 0;
    }
    struct store_queue q;
    struct err err = {0};
    struct client c;
    if (store_queue_init(&q, NULL, "bench", o.key, &err) < 0)
        die("%s", err.text);
    client_open(&c, o.socket);
    if (strcmp(o.mode, "push") == 0)
        run_push(&c, &q, &o);
    else if (strcmp(o.mode, "claim") == 0 && o.batch <= STORE_CLAIM_MAX)
        run_claim(&c, &q, &o);
    else if (strcmp(o.mode, "pop") == 0)
        run_pop(&c, &q, &o);
    else if (strcmp(o.mode, "pop-one") == 0)
        run_pop_one(&c, &q, &o);
    else if (strcmp(o.mode, "ping") == 0)
        run_ping(&c, &o);
    else if (strcmp(o.mode, "wake") == 0)
        run_wake(&c, &q, &o);
    else if (strcmp(o.mode, "relay") == 0)
        run_relay(&c, &q, &o);
    else
        die("usage: ceiling push|claim|pop|awake|ping|wake|relay|spawn|documents [--OPTION "
            "VALUE]...");
    client_close(&c);
    store_queue_done(&q);
    return 0;
}

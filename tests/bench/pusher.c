/* pusher - pushes one job at a time at a steady pace, each with the time of its push, and waits for
 * nobody: how long the jobs then take does not slow it down.
 *
 *   pusher FORM --socket PATH [--key LIST] [--rate N] [--count N]
 *
 * FORM  job: a document of type `stamp` whose args are the CLOCK_MONOTONIC ns of its push;
 *       bare: those digits alone, for `ceiling wake` and `ceiling relay`
 * --rate is pushes a second.  Prints one line of JSON: the pace that was held, pushed/s.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "common/store.h"
#include "tests/bench/client.h"

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void sleep_until(int64_t ns)
{
    struct timespec t = {ns / INT64_C(1000000000), ns % INT64_C(1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        continue;
}

static void push(struct client *c, const struct store_queue *q, bool bare, int64_t number)
{
    char text[160];
    int n = bare ? snprintf(text, sizeof text, "%" PRId64, now_ns())
                 : snprintf(text, sizeof text,
                            "{\"type\":\"stamp\",\"id\":\"%" PRId64 "\",\"args\":%" PRId64 "}",
                            number, now_ns());
    struct span document = {text, (size_t)n};
    store_cmd_push(&c->out, q, &document, 1);
    client_flush(c);
}

int main(int argc, char **argv)
{
    const char *socket = "", *key = "queue:default";
    int64_t rate = 200, count = 1000, answered = 0;
    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--socket") == 0)
            socket = argv[i + 1];
        else if (strcmp(argv[i], "--key") == 0)
            key = argv[i + 1];
        else if (strcmp(argv[i], "--rate") == 0)
            rate = strtoll(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--count") == 0)
            count = strtoll(argv[i + 1], NULL, 10);
        else
            die("pusher: %s is no option", argv[i]);
    }
    if (argc < 2 || rate < 1 || rate > 1000000 || count < 1)
        die("usage: pusher job|bare --socket PATH [--key LIST] [--rate N] [--count N]");
    struct store_queue q;
    struct err err = {0};
    struct client c;
    struct answer a;
    if (store_queue_init(&q, NULL, "bench", key, &err) < 0)
        die("%s", err.text);
    if (prctl(PR_SET_TIMERSLACK, 1000UL) == -1)
        die("prctl: %s", strerror(errno));
    client_open(&c, socket);
    bool bare = strcmp(argv[1], "bare") == 0;
    int64_t start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        sleep_until(start + i * INT64_C(1000000000) / rate);
        push(&c, &q, bare, i);
        client_peek(&c);
        while (client_arrived(&c, &a))
            answered++;
    }
    for (; answered < count; answered++)
        (void)client_await(&c);
    printf("{\"pushed/s\":%.1f}\n", (double)count * 1e9 / (double)(now_ns() - start));
    client_close(&c);
    store_queue_done(&q);
    return 0;
}

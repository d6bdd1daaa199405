/* Plugins that are refused, plugins that misbehave, and what --describe says of them.  Each is built
 * here, as its author would: with the compiler and the public header alone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/runner_rig.h"

static int set_up(void **state)
{
    struct rig *r = xcalloc(1, sizeof *r);
    rig_init(r);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    rig_done(*state, getenv("SHOW_LOG") != NULL);
    free(*state);
    return 0;
}

static int run_command(char *const argv[])
{
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[0], argv);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Builds `source` into <dir>/<name>.so. */
static void build_by(const struct rig *r, const char *name, const char *source,
                     const char *compiler, const char *suffix)
{
    char file[300], out[300], base[64];
    snprintf(base, sizeof base, "%s%s", name, suffix);
    snprintf(file, sizeof file, "%s/%s", r->dir, base);
    snprintf(out, sizeof out, "%s/%s.so", r->dir, name);
    rig_write_file(r, base, source, 0600);
    char *const argv[] = {
        (char *)compiler, "-shared", "-fPIC", "-I", "jobs", "-o", out, file, NULL};
    assert_int_equal(run_command(argv), 0);
    assert_int_equal(chmod(out, 0755), 0);
}

static void build(const struct rig *r, const char *name, const char *source)
{
    const char *cc = getenv("CC");
    build_by(r, name, source, cc != NULL ? cc : "cc", ".c");
}

#define HEAD "#include \"bucketline.h\"\n"
#define TAIL(name)                                                                                 \
    "static const struct bl_handler handlers[] = {{.name = \"" name "\", .run = run}};\n"          \
    "const struct bl_plugin bl_plugin = BL_PLUGIN(\"" name "\", handlers);\n"
#define RUN(body) "static enum bl_result run(struct bl_job *job) { (void)job; " body " }\n"

static const char good[] = HEAD RUN("return BL_DONE;") TAIL("good");

static void a_plugin_built_with_the_header_alone_works(void **state)
{
    struct rig *r = *state;
    build(r, "mine",
          HEAD RUN("bl_log(job, BL_LOG_INFO, \"a word\"); return BL_DONE;") TAIL("mine"));
    rig_start(r, "plugins: [mine.so]\n", false);
    struct rig_job j;
    rig_run(r, "mine", "null", &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    rig_await_log(r, "text=\"a word\" job=job-7 type=mine queue=default attempt=2");
    rig_job_done(&j);
}

static void a_plugin_in_cpp_works(void **state)
{
    struct rig *r = *state;
    char *const have[] = {"sh", "-c", "command -v c++ >/dev/null", NULL};
    if (run_command(have) != 0)
        skip();
    build_by(
        r, "cpp",
        HEAD RUN(
            "return BL_DONE;") "static const bl_handler handlers[] = {{\"cpp\", run, 0, 0, "
                               "0}};\n"
                               "const struct bl_plugin bl_plugin = BL_PLUGIN(\"cpp\", handlers);\n",
        "c++", ".cc");
    rig_start(r, "plugins: [cpp.so]\n", false);
    struct rig_job j;
    rig_run(r, "cpp", "null", &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    rig_job_done(&j);
}

/* The next ones: one bad plugin beside a good one. */
static void assert_refused(struct rig *r, const char *name, const char *reason)
{
    build(r, "z-good", good);
    rig_start(r, "plugins: ['*.so']\n", false);
    char want[400];
    snprintf(want, sizeof want, "%s/%s.so: ", r->dir, name);
    assert_non_null(strstr(r->fatal.data, want));
    assert_non_null(strstr(r->fatal.data, reason));
    rig_await_log(r, "plugin refused");
    struct rig_job j;
    rig_run(r, "good", "null", &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    rig_job_done(&j);
    rig_run(r, "bad", "null", &j);
    assert_int_equal(j.page.outcome, OUTCOME_UNKNOWN_TYPE);
    rig_job_done(&j);
}

static void a_wrong_abi_is_refused(void **state)
{
    build(*state, "bad",
          HEAD RUN(
              "return BL_DONE;") "static const struct bl_handler h[] = {{\"bad\", run, 0, 0, 0}};\n"
                                 "const struct bl_plugin bl_plugin = {7, sizeof(struct "
                                 "bl_plugin), \"bad\", h, sizeof h[0], 1, 0, 0};\n");
    assert_refused(*state, "bad", "it was built for ABI 7, this program has ABI 1");
}

static void a_table_that_is_too_short_is_refused(void **state)
{
    build(*state, "bad", "unsigned bl_plugin[2] = {1, 8};\n");
    assert_refused(*state, "bad", "its table says 8 bytes instead of");
}

static void a_missing_symbol_is_refused(void **state)
{
    build(*state, "bad", "int nothing;\n");
    assert_refused(*state, "bad", "it exports no symbol \"bl_plugin\"");
}

static void an_unresolved_symbol_is_refused(void **state)
{
    build(*state, "bad", HEAD "int nowhere(void);\n" RUN("return nowhere();") TAIL("bad"));
    assert_refused(*state, "bad", "it cannot be loaded: undefined symbol: nowhere");
}

static void a_file_that_is_no_object_is_refused(void **state)
{
    rig_write_file(*state, "bad.so", "not an object at all", 0755);
    assert_refused(*state, "bad", "it cannot be loaded: ");
}

static void a_file_that_others_may_write_is_refused(void **state)
{
    struct rig *r = *state;
    build(r, "bad", HEAD RUN("return BL_DONE;") TAIL("bad"));
    char path[300];
    snprintf(path, sizeof path, "%s/bad.so", r->dir);
    assert_int_equal(chmod(path, 0757), 0);
    assert_refused(r, "bad", "others may write to it (mode 0757)");
}

static void a_file_of_someone_else_is_refused(void **state)
{
    struct rig *r = *state;
    if (geteuid() != 0)
        skip();
    build(r, "bad", HEAD RUN("return BL_DONE;") TAIL("bad"));
    char path[300];
    snprintf(path, sizeof path, "%s/bad.so", r->dir);
    assert_int_equal(chown(path, 12345, 12345), 0);
    assert_refused(r, "bad", "it belongs to uid 12345");
}

static void a_directory_is_refused(void **state)
{
    struct rig *r = *state;
    char path[300];
    snprintf(path, sizeof path, "%s/bad.so", r->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_refused(r, "bad", "it is not a regular file");
}

static void an_illegal_name_is_refused(void **state)
{
    build(*state, "bad", HEAD RUN("return BL_DONE;") TAIL("no blanks"));
    assert_refused(*state, "bad", "handler 1 has no legal name");
}

static void a_failing_setup_is_refused(void **state)
{
    build(*state, "bad",
          HEAD RUN(
              "return BL_DONE;") "static int setup(char *e, size_t n) { if (n > 2) e[0] = 'n', "
                                 "e[1] = 'o', e[2] = 0; return 1; }\n"
                                 "static const struct bl_handler h[] = {{\"bad\", run, 0, 0, 0}};\n"
                                 "const struct bl_plugin bl_plugin = {1, sizeof(struct "
                                 "bl_plugin), \"bad\", h, sizeof h[0], 1, setup, 0};\n");
    assert_refused(*state, "bad", "its setup failed: no");
}

static void a_missing_file_is_refused_an_empty_pattern_is_not(void **state)
{
    struct rig *r = *state;
    rig_start(r, "plugins: ['nothing-*.so', gone.so]\n", false);
    char want[400];
    snprintf(want, sizeof want, "%s/gone.so: No such file or directory\n", r->dir);
    assert_string_equal(r->fatal.data, want);
    assert_int_equal(r->handlers, 0);
}

static void a_type_in_two_plugins_names_both(void **state)
{
    struct rig *r = *state;
    build(r, "first", HEAD RUN("return BL_DONE;") TAIL("same"));
    build(r, "second", HEAD RUN("return BL_DEAD;") TAIL("same"));
    rig_start(r, "plugins: ['*.so']\n", false);
    char want[600];
    snprintf(want, sizeof want, "%s/second.so: handler \"same\" is already in %s/first.so\n",
             r->dir, r->dir);
    assert_string_equal(r->fatal.data, want);
    struct rig_job j;
    rig_run(r, "same", "null", &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    rig_job_done(&j);
}

static void a_type_that_is_a_program_too_is_refused(void **state)
{
    struct rig *r = *state;
    build(r, "first", HEAD RUN("return BL_DONE;") TAIL("same"));
    rig_start(r, "plugins: [first.so]\nhandlers:\n  same:\n    exec: [/bin/true]\n", false);
    assert_non_null(
        strstr(r->fatal.data, "/first.so: handler \"same\" is already a program (exec)"));
}

static void a_handler_may_end_its_process_but_not_the_job(void **state)
{
    struct rig *r = *state;
    build(r, "odd", HEAD "#include <pthread.h>\n" RUN("pthread_exit(0);") TAIL("odd"));
    rig_start(r, "plugins: [odd.so]\n", false);
    struct rig_job j;
    rig_send(r, "odd", "1", NULL, &j);
    assert_int_equal(rig_await_exit(r), 70);
    assert_int_equal(slot_word_state(atomic_load(&slots_get(r->slots, 1, j.slot)->word)),
                     SLOT_BEGUN);
    rig_job_done(&j);
}

static void a_copy_of_the_process_reports_nothing(void **state)
{
    struct rig *r = *state;
    build(r, "odd",
          HEAD "#include <sys/wait.h>\n#include <unistd.h>\n#include <stdlib.h>\n" RUN(
              "pid_t p = fork(); if (p == 0) return BL_DEAD; int s; waitpid(p, &s, 0); "
              "p = fork(); if (p == 0) exit(3); waitpid(p, &s, 0); "
              "return WEXITSTATUS(s) == 3 ? BL_DONE : BL_RETRY;") TAIL("odd"));
    rig_start(r, "plugins: [odd.so]\n", false);
    struct rig_job j;
    rig_run(r, "odd", "1", &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    rig_job_done(&j);
    rig_run(r, "odd", "1", &j); /* and it is of use for another */
    rig_job_done(&j);
}

static void an_impossible_result_is_a_failure(void **state)
{
    struct rig *r = *state;
    build(r, "odd", HEAD RUN("return (enum bl_result)42;") TAIL("odd"));
    rig_start(r, "plugins: [odd.so]\n", false);
    struct rig_job j;
    rig_run(r, "odd", "1", &j);
    assert_int_equal(j.page.outcome, OUTCOME_RETRY);
    assert_string_equal(j.message.data, "the handler returned 42, which is no result");
    rig_job_done(&j);
}

static void a_handler_sees_its_job(void **state)
{
    struct rig *r = *state;
    build(r, "odd",
          HEAD "#include <stdio.h>\n#include <string.h>\n" RUN(
              "char b[500]; snprintf(b, sizeof b, \"%s|%s|%s|%u|%s|%zu|%s|%d|%d\", job->id, "
              "job->type, "
              "job->queue, job->attempt, job->args, job->args_len, job->meta, "
              "job->size == sizeof *job && job->host->size == sizeof *job->host, "
              "job->args[job->args_len]); "
              "bl_progress(job, 40, \"half\"); bl_set_result(job, b, strlen(b)); return BL_DONE;")
              TAIL("odd"));
    rig_start(r, "plugins: [odd.so]\n", false);
    struct rig_job j;
    rig_send(r, "odd", "{\"a\":1}", "{\"k\":\"v\"}", &j);
    rig_await(r, &j);
    assert_string_equal(j.result.data, "job-7|odd|default|2|{\"a\":1}|7|{\"k\":\"v\"}|1|0");
    assert_int_equal(j.progress_frames, 1);
    assert_int_equal(j.percent, 40);
    rig_job_done(&j);
}

static void enqueue_waits_for_the_answer(void **state)
{
    struct rig *r = *state;
    build(r, "odd",
          HEAD "#include <string.h>\n" RUN(
              "char e[100] = \"\"; "
              "if (bl_enqueue(job, \"mail\", \"{}\", 2, e, sizeof e) != 0) return BL_DEAD; "
              "if (bl_enqueue(job, \"mail\", \"[]\", 2, e, sizeof e) != -1) return BL_DROP; "
              "if (bl_enqueue(job, \"\", \"[]\", 2, 0, 0) != -1) return BL_DROP; "
              "bl_fail(job, e); return strcmp(job->args, \"7\") == 0 ? BL_RETRY : BL_DEAD;")
              TAIL("odd"));
    rig_start(r, "plugins: [odd.so, '%B/jobs/noop.so']\n", false);
    struct rig_job j, ahead;
    rig_send(r, "odd", "7", NULL, &j);
    struct wire_frame f;
    struct buf b = BUF_INIT;
    assert_true(rig_read(r, &f));
    assert_int_equal(f.type, WIRE_ENQUEUE);
    assert_int_equal(f.slot, j.slot);
    assert_int_equal(f.payload.len, 8);
    assert_memory_equal(f.payload.ptr, "\4\0mail{}", 8);
    /* Whatever else comes first is kept for later, and the job's own bytes stay where they are. */
    rig_send(r, "noop", "1", NULL, &ahead);
    wire_write(&b, WIRE_ENQUEUED, 0, 200, 4711, SPAN_OF_STR("not for you"));
    wire_write(&b, WIRE_ENQUEUED, 0, (uint16_t)j.slot, j.seq, (struct span){NULL, 0});
    rig_send_bytes(r, buf_span(&b));
    buf_clear(&b);
    assert_true(rig_read(r, &f));
    assert_int_equal(f.type, WIRE_ENQUEUE);
    wire_write(&b, WIRE_ENQUEUED, 0, (uint16_t)j.slot, j.seq, SPAN_OF_STR("OOM"));
    rig_send_bytes(r, buf_span(&b));
    rig_await(r, &j);
    assert_int_equal(j.page.outcome, OUTCOME_RETRY);
    assert_string_equal(j.message.data, "OOM");
    rig_await(r, &ahead);
    assert_int_equal(ahead.page.outcome, OUTCOME_DONE);
    buf_done(&b);
    rig_job_done(&j);
    rig_job_done(&ahead);
}

/* Runs --describe; returns its exit code (or -signal) and what it printed. */
static int describe(struct rig *r, const char *yaml, char **ret_text)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    int config_fd = memfd_create("config", 0);
    assert_int_equal(write(config_fd, yaml, strlen(yaml)), strlen(yaml));
    pid_t pid = fork();
    if (pid == 0) {
        char exe[1200], fd_text[16];
        snprintf(exe, sizeof exe, "%s/worker", r->build);
        snprintf(fd_text, sizeof fd_text, "%d", config_fd);
        dup2(ends[1], 1);
        execl(exe, "runner", "--runner", "--describe", "--config-fd", fd_text, "--config-name",
              "worker.yaml", "--directory", r->dir, (char *)NULL);
        _exit(98);
    }
    close(ends[1]);
    close(config_fd);
    struct buf b = BUF_INIT;
    ssize_t n;
    while ((n = read(ends[0], buf_reserve(&b, 4096), 4096)) > 0)
        buf_grown(&b, (size_t)n);
    close(ends[0]);
    *ret_text = buf_detach(&b);
    r->pid = pid;
    return rig_await_exit(r);
}

static void describe_lists_plugins_and_handlers(void **state)
{
    struct rig *r = *state;
    build(r, "a",
          HEAD RUN(
              "return BL_DONE;") "static int setup(char *e, size_t n) { (void)e; (void)n; "
                                 "return 1; }\n"
                                 "static const struct bl_handler h[] = {{\"z\", run, 1500, 3, 0}, "
                                 "{\"m\", run, 0, 0, 0}, {\"n\", run, 0, -1, 0}};\n"
                                 "const struct bl_plugin bl_plugin = {1, sizeof(struct "
                                 "bl_plugin), \"name\", h, sizeof h[0], 3, setup, 0};\n");
    char *text;
    int code = describe(r, "queues: [q]\nplugins: [a.so]\nhandlers:\n  p:\n    exec: [/bin/true]\n",
                        &text);
    char want[2000], path[300];
    snprintf(path, sizeof path, "%s/a.so", r->dir);
    snprintf(want, sizeof want,
             "{\"loading\":\"%s\"}\n{\"plugin\":\"%s\",\"name\":\"name\"}\n"
             "{\"type\":\"m\",\"plugin\":\"%s\",\"timeout_ms\":-1,\"retries\":-1}\n"
             "{\"type\":\"n\",\"plugin\":\"%s\",\"timeout_ms\":-1,\"retries\":0}\n"
             "{\"type\":\"p\",\"plugin\":null,\"timeout_ms\":null,\"retries\":null}\n"
             "{\"type\":\"z\",\"plugin\":\"%s\",\"timeout_ms\":1500,\"retries\":3}\n",
             path, path, path, path, path);
    assert_string_equal(text, want);
    assert_int_equal(code, 0);
    free(text);
}

static void describe_exits_78_if_a_plugin_is_broken(void **state)
{
    struct rig *r = *state;
    build(r, "bad", "int nothing;\n");
    char *text, want[1000];
    assert_int_equal(describe(r, "queues: [q]\nplugins: [bad.so]\n", &text), 78);
    snprintf(want, sizeof want,
             "{\"loading\":\"%s/bad.so\"}\n{\"plugin\":\"%s/bad.so\",\"error\":\"it exports no "
             "symbol \\\"bl_plugin\\\"\"}\n",
             r->dir, r->dir);
    assert_string_equal(text, want);
    free(text);
}

static void describe_names_what_it_was_loading_when_it_crashed(void **state)
{
    struct rig *r = *state;
    build(r, "bad",
          "#include <stdlib.h>\n__attribute__((constructor)) static void f(void) { abort(); }\n");
    char *text, want[400];
    assert_int_equal(describe(r, "queues: [q]\nplugins: [bad.so]\n", &text), -SIGABRT);
    snprintf(want, sizeof want, "{\"loading\":\"%s/bad.so\"}\n", r->dir);
    assert_string_equal(text, want);
    free(text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_plugin_built_with_the_header_alone_works),
        TEST(a_plugin_in_cpp_works),
        TEST(a_wrong_abi_is_refused),
        TEST(a_table_that_is_too_short_is_refused),
        TEST(a_missing_symbol_is_refused),
        TEST(an_unresolved_symbol_is_refused),
        TEST(a_file_that_is_no_object_is_refused),
        TEST(a_file_that_others_may_write_is_refused),
        TEST(a_file_of_someone_else_is_refused),
        TEST(a_directory_is_refused),
        TEST(an_illegal_name_is_refused),
        TEST(a_failing_setup_is_refused),
        TEST(a_missing_file_is_refused_an_empty_pattern_is_not),
        TEST(a_type_in_two_plugins_names_both),
        TEST(a_type_that_is_a_program_too_is_refused),
        TEST(a_handler_may_end_its_process_but_not_the_job),
        TEST(a_copy_of_the_process_reports_nothing),
        TEST(an_impossible_result_is_a_failure),
        TEST(a_handler_sees_its_job),
        TEST(enqueue_waits_for_the_answer),
        TEST(describe_lists_plugins_and_handlers),
        TEST(describe_exits_78_if_a_plugin_is_broken),
        TEST(describe_names_what_it_was_loading_when_it_crashed),
    };
    return cmocka_run_group_tests_name("plugins", tests, NULL, NULL);
}

# Bucketline.  `make help` lists the targets.  Packagers' CC, CFLAGS, CPPFLAGS, LDFLAGS, PREFIX and
# DESTDIR are kept; ours are added.  SANITIZE=address,undefined and POINTS=1 (crash points, for tests)
# choose a flavour, each in a directory of its own.

PREFIX   ?= /usr/local
SANITIZE ?=
POINTS   ?=
WERROR   ?=
V        ?=
PYTHON   ?= /usr/bin/python3

comma := ,
# Release goes to build/, other flavours to build/<flavour>/.
FLAVOUR := $(if $(SANITIZE),$(subst $(comma),-,$(SANITIZE)))$(if $(POINTS),$(if $(SANITIZE),-)points)
B       := build$(if $(FLAVOUR),/$(FLAVOUR))
Q       := $(if $(V),,@)

VERSION := $(shell cat VERSION 2>/dev/null || echo 0.0.0)

REQUIRED := hiredis libuv jansson yaml-0.1
HAVE_SSL := $(shell pkg-config --exists openssl 2>/dev/null && echo 1)

PKGS        := $(REQUIRED) $(if $(HAVE_SSL),openssl)
# hiredis' own directory is left out of the search path: its read.h and alloc.h shadow others.
PKG_CFLAGS  := $(filter-out -I/usr/include/hiredis,$(shell pkg-config --cflags $(PKGS) 2>/dev/null))
PKG_LIBS    := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
CFLAGS      ?= -O3 -g
WARNINGS    := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wformat=2 \
               $(if $(WERROR),-Werror)
OUR_CFLAGS  := -std=gnu11 -fno-strict-aliasing -fstack-protector-strong $(WARNINGS) \
               $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
OUR_CPPFLAGS := -D_GNU_SOURCE -DBL_VERSION='"$(VERSION)"' -I. $(PKG_CFLAGS) \
               $(if $(HAVE_SSL),-DHAVE_OPENSSL=1) $(if $(POINTS),-DBL_CRASH_POINTS)
OUR_LDFLAGS := $(if $(SANITIZE),-fsanitize=$(SANITIZE))
LIBS        := $(PKG_LIBS) -lm -ldl

COMMON  := $(wildcard common/*.c)
WORKER  := $(wildcard worker/*.c worker/runner/*.c)
ENQUEUE := $(wildcard enqueue/*.c)
JOBCTL  := $(wildcard jobctl/*.c)
JOBS    := $(wildcard jobs/*.c)
LUA     := $(sort $(wildcard common/lua/*.lua))
UNIT    := $(wildcard tests/unit/test_*.c)
INTEG   := $(wildcard tests/integration/test_*.c)
TESTLIB := $(wildcard tests/lib/*.c)

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
LIB := $(B)/obj/libbucketline.a
# Everything of the programs but their main(), for the tests to link what they need of it.
PARTS := $(B)/obj/libparts.a
PART_OBJ := $(call obj,$(filter-out worker/main.c enqueue/main.c jobctl/main.c,$(WORKER) $(ENQUEUE) $(JOBCTL)))
PROGRAMS := $(B)/worker $(B)/enqueue $(B)/jobctl
PLUGINS  := $(patsubst jobs/%.c,$(B)/jobs/%.so,$(JOBS))
UNIT_BIN  := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(UNIT))
INTEG_BIN := $(patsubst tests/integration/%.c,$(B)/tests/integration/%,$(INTEG))

.DELETE_ON_ERROR:
.PHONY: all programs plugins tests
all: programs plugins ## build programs and plugins
programs: need-packages $(PROGRAMS)
plugins: $(PLUGINS)
tests: need-packages $(UNIT_BIN) $(INTEG_BIN) points ## build the C tests and the build with crash points

.PHONY: points
points: # the same flavour with crash points, beside it
	$(if $(POINTS),,$(Q)$(MAKE) --no-print-directory POINTS=1 programs)

.PHONY: need-packages
need-packages:
	@pkg-config --exists $(REQUIRED) || { \
	  echo "make: missing libraries ($(REQUIRED)); run: make deps" >&2; exit 1; }

# The flags stand in this file.
$(B)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC $<")
	$(Q)$(CC) $(OUR_CPPFLAGS) $(CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# The scripts, embedded with their SHA1.
$(B)/gen/lua_scripts.c: $(LUA) common/lua/embed.sh
	@mkdir -p $(@D)
	$(Q)sh common/lua/embed.sh $(LUA) >$@
$(B)/obj/gen/lua_scripts.o: $(B)/gen/lua_scripts.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) $(OUR_CPPFLAGS) $(CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS) -c $< -o $@

$(LIB): $(call obj,$(COMMON)) $(B)/obj/gen/lua_scripts.o
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(PARTS): $(PART_OBJ)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

link = $(Q)$(CC) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS)
$(B)/worker: $(call obj,$(WORKER)) $(LIB)
	$(if $(V),,@echo "  LD $@")
	$(link)
$(B)/enqueue: $(call obj,$(ENQUEUE)) $(LIB)
	$(if $(V),,@echo "  LD $@")
	$(link)
$(B)/jobctl: $(call obj,$(JOBCTL)) $(LIB)
	$(if $(V),,@echo "  LD $@")
	$(link)

# As anyone would build a plugin: only the public header, no sanitizer, nothing of ours.
$(B)/jobs/%.so: jobs/%.c jobs/bucketline.h Makefile
	@mkdir -p $(@D)
	$(if $(V),,@echo "  SO $@")
	$(Q)$(CC) -std=gnu11 $(WARNINGS) $(CPPFLAGS) $(CFLAGS) -shared -fPIC -o $@ $<

$(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(call obj,$(TESTLIB)) $(PARTS) $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS) -lcmocka
$(B)/tests/integration/%: $(B)/obj/tests/integration/%.o $(call obj,$(TESTLIB)) $(PARTS) $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS) -lcmocka
.PRECIOUS: $(B)/obj/%.o


# ---- tests ------------------------------------------------------------------------------------

export BUCKETLINE_BUILD = $(B)
RUN_TESTS = $(PYTHON) tests/run.py

.PHONY: test unit integration sanitize fuzz valgrind
test: deps ## install what is missing, build, run all tests
	$(Q)$(MAKE) --no-print-directory all tests
	$(Q)$(RUN_TESTS)
unit: all tests ## C unit tests: no Redis, milliseconds
	$(Q)$(RUN_TESTS) --unit
integration: all tests ## tests against real Redis servers and processes
	$(Q)$(RUN_TESTS) --integration
sanitize: ## all tests under ASan and UBSan
	$(Q)$(MAKE) --no-print-directory SANITIZE=address,undefined all tests
	$(Q)$(MAKE) --no-print-directory SANITIZE=address,undefined run-tests
.PHONY: run-tests
run-tests:
	$(Q)$(RUN_TESTS) $(TEST_ARGS)

FUZZ_SECONDS ?= 20
FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
CLANG ?= clang
fuzz: $(FUZZERS) ## run each fuzzer for FUZZ_SECONDS (20)
	$(Q)sh tests/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZERS)
build/fuzz/%: tests/fuzz/%.c $(COMMON) $(B)/gen/lua_scripts.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  FUZZ $@")
	$(Q)$(CLANG) $(OUR_CPPFLAGS) $(CPPFLAGS) -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined \
	  -fno-sanitize-recover=all -o $@ $< $(COMMON) $(B)/gen/lua_scripts.c $(LIBS)

# ---- measuring --------------------------------------------------------------------------------

BENCH_BIN     := $(patsubst tests/bench/%.c,$(B)/tests/bench/%,\
  $(wildcard tests/bench/ceiling.c tests/bench/pusher.c tests/bench/under_callgrind.c))
BENCH_PLUGINS := $(patsubst tests/bench/plugins/%.c,$(B)/tests/bench/%.so,$(wildcard tests/bench/plugins/*.c))
BENCH_PARTS   := $(call obj,tests/bench/client.c tests/bench/documents.c)
BENCH         ?=
BENCH_ARGS    ?=
.PHONY: bench bench-short bench-instructions bench-peers bench-tools
bench-tools: all $(BENCH_BIN) $(BENCH_PLUGINS)
bench: bench-tools ## measure against what Redis allows (10 min and more); BENCH=drain: some of it
	$(Q)$(PYTHON) tests/bench/main.py $(BENCH_ARGS) $(BENCH)
bench-short: bench-tools ## the same in 2 minutes, only to see that it runs
	$(Q)$(PYTHON) tests/bench/main.py --short $(BENCH_ARGS) $(BENCH)
bench-instructions: bench-tools ## instructions per job, of worker and runner (valgrind)
	$(Q)$(PYTHON) tests/bench/instructions.py $(BENCH_ARGS)
bench-peers: bench-tools ## other job queues beside this one; fetches them into a cache directory
	$(Q)$(PYTHON) tests/bench/peers/main.py $(BENCH_ARGS)
$(B)/tests/bench/%.so: tests/bench/plugins/%.c tests/bench/plugins/board.h jobs/bucketline.h Makefile
	@mkdir -p $(@D)
	$(if $(V),,@echo "  SO $@")
	$(Q)$(CC) -std=gnu11 -I jobs $(WARNINGS) $(CPPFLAGS) $(CFLAGS) -shared -fPIC -o $@ $<
$(B)/tests/bench/%: $(B)/obj/tests/bench/%.o $(BENCH_PARTS) $(LIB)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LD $@")
	$(link)

# ---- more tests -------------------------------------------------------------------------------

.PHONY: valgrind
valgrind: all ## the main path under valgrind: a burst over a private Redis
	$(Q)sh tests/valgrind.sh $(B)

# Seeded faults in everything at once, for MINUTES; SEED repeats the choices of a run.  STRIDE=1 cuts
# the connection after every single byte, which takes about 20 minutes.
SEED    ?=
MINUTES ?= 10
STRIDE  ?= 7
CHAOS = $(PYTHON) -W ignore tests/chaos
.PHONY: chaos chaos-times chaos-cuts chaos-bugs
chaos: all ## break everything at random for MINUTES (10), prove no job is lost (SEED=...)
	$(Q)$(CHAOS)/chaos.py $(if $(SEED),--seed $(SEED)) --minutes $(MINUTES)
	$(Q)$(CHAOS)/fencing.py
	$(Q)$(CHAOS)/traps.py
	$(Q)$(MAKE) --no-print-directory chaos-cuts chaos-times
chaos-cuts: all ## cut the connection after every STRIDEth (7) byte, both ways
	$(Q)$(CHAOS)/bytecuts.py --stride $(STRIDE)
chaos-times: all ## measure how fast what broke is repaired
	$(Q)$(CHAOS)/times.py
chaos-bugs: all ## plant mistakes in a copy: each must be caught
	$(Q)$(CHAOS)/bugs.py

.PHONY: crash-points
PASSINGS ?= 1,2,5
crash-points: points ## kill at every named point of a job's life, at its PASSINGS (1,2,5)
	$(Q)$(PYTHON) tests/points/matrix.py -v --passings $(PASSINGS)

.PHONY: soak
SOAK_MINUTES ?= 60
soak: all ## run mixed jobs for SOAK_MINUTES (60): the worker's memory must stay flat
	$(Q)$(PYTHON) tests/limits/soak.py --minutes $(SOAK_MINUTES)

.PHONY: redis-time
WAITING ?= 1000000
redis-time: all ## how long each script holds Redis, with WAITING (1,000,000) jobs in it
	$(Q)$(PYTHON) tests/limits/redis_time.py --waiting $(WAITING)

.PHONY: fail-calls
fail-calls: all ## let memory, reads, writes, forks and files fail at the n-th call
	$(Q)$(PYTHON) tests/points/failures.py -v

# ---- first run --------------------------------------------------------------------------------

.PHONY: deps run demo
deps: ## install what is missing (Debian and Ubuntu, through apt)
	$(Q)sh scripts/deps.sh $(if $(filter run demo,$(MAKECMDGOALS)),run,test)
run: deps ## set everything up and work: private Redis, worker, sample jobs; ^C ends all
	$(Q)$(MAKE) --no-print-directory all
	$(Q)exec sh scripts/run.sh
demo: deps ## the same on a temporary Redis, ends by itself with a table
	$(Q)$(MAKE) --no-print-directory all
	$(Q)exec sh scripts/demo.sh

# ---- care -------------------------------------------------------------------------------------

.PHONY: lint format install uninstall dist clean help
lint: ## include rules, keys in one place, format, cppcheck
	$(Q)sh scripts/lint.sh
format: ## clang-format all C
	$(Q)clang-format -i $(wildcard */*.c */*.h */*/*.c */*/*.h */*/*/*.c */*/*/*.h)

bindir = $(DESTDIR)$(PREFIX)/bin
install: all ## install programs, plugins, header, examples under PREFIX
	install -d $(bindir) $(DESTDIR)$(PREFIX)/lib/bucketline $(DESTDIR)$(PREFIX)/include \
	  $(DESTDIR)$(PREFIX)/share/doc/bucketline
	install -m 755 $(B)/worker $(bindir)/bucketline-worker
	install -m 755 $(B)/enqueue $(bindir)/enqueue
	install -m 755 $(B)/jobctl $(bindir)/jobctl
	install -m 644 $(PLUGINS) $(DESTDIR)$(PREFIX)/lib/bucketline/
	install -m 644 jobs/bucketline.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 worker.yaml README.md CHANGELOG.md docs/*.md packaging/supervisord/*.conf \
	  packaging/systemd/*.service $(DESTDIR)$(PREFIX)/share/doc/bucketline/
uninstall: ## remove what install put there
	rm -f $(bindir)/bucketline-worker $(bindir)/enqueue $(bindir)/jobctl \
	  $(DESTDIR)$(PREFIX)/include/bucketline.h
	rm -rf $(DESTDIR)$(PREFIX)/lib/bucketline $(DESTDIR)$(PREFIX)/share/doc/bucketline
dist: ## a source archive of the committed tree
	git archive --prefix=bucketline-$(VERSION)/ -o build/bucketline-$(VERSION).tar.gz HEAD
clean: ## remove build/
	rm -rf build
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' Makefile

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

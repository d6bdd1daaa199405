# Bucketline.  `make help` lists the targets.  Packagers' CC, CFLAGS, CPPFLAGS, LDFLAGS, PREFIX and
# DESTDIR are kept; ours are added.  SANITIZE=address,undefined and WERROR=1 choose a flavour, each
# in a directory of its own.

PREFIX   ?= /usr/local
SANITIZE ?=
WERROR   ?=
V        ?=
PYTHON   ?= /usr/bin/python3

comma := ,
# Release goes to build/, other flavours to build/<flavour>/.
FLAVOUR := $(if $(SANITIZE),$(subst $(comma),-,$(SANITIZE)))
B       := build$(if $(FLAVOUR),/$(FLAVOUR))
Q       := $(if $(V),,@)

VERSION := $(shell cat VERSION 2>/dev/null || echo 0.0.0)

REQUIRED := hiredis libuv jansson yaml-0.1
HAVE_SSL := $(shell pkg-config --exists openssl 2>/dev/null && echo 1)

PKGS        := $(REQUIRED) $(if $(HAVE_SSL),openssl)
# hiredis' own directory is left out of the search path: its read.h and alloc.h shadow others.
PKG_CFLAGS  := $(filter-out -I/usr/include/hiredis,$(shell pkg-config --cflags $(PKGS) 2>/dev/null))
PKG_LIBS    := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
CFLAGS      ?= -O2 -g
WARNINGS    := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wformat=2 \
               $(if $(WERROR),-Werror)
OUR_CFLAGS  := -std=gnu11 -fno-strict-aliasing -fstack-protector-strong $(WARNINGS) \
               $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
OUR_CPPFLAGS := -D_GNU_SOURCE -DBL_VERSION='"$(VERSION)"' -I. $(PKG_CFLAGS) \
               $(if $(HAVE_SSL),-DHAVE_OPENSSL=1)
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
PROGRAMS := $(B)/worker $(B)/enqueue $(B)/jobctl
PLUGINS  := $(patsubst jobs/%.c,$(B)/jobs/%.so,$(JOBS))
UNIT_BIN  := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(UNIT))
INTEG_BIN := $(patsubst tests/integration/%.c,$(B)/tests/integration/%,$(INTEG))

.DELETE_ON_ERROR:
.PHONY: all programs plugins tests
all: programs plugins ## build programs and plugins
programs: need-packages $(PROGRAMS)
plugins: $(PLUGINS)
tests: need-packages $(UNIT_BIN) $(INTEG_BIN) ## build the C tests

.PHONY: need-packages
need-packages:
	@pkg-config --exists $(REQUIRED) || { \
	  echo "make: missing libraries ($(REQUIRED)); run: make deps" >&2; exit 1; }

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC $<")
	$(Q)$(CC) $(OUR_CPPFLAGS) $(CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# The scripts, embedded with their SHA1.
$(B)/gen/lua_scripts.c: $(LUA) common/lua/embed.sh
	@mkdir -p $(@D)
	$(Q)sh common/lua/embed.sh $(LUA) >$@
$(B)/obj/gen/lua_scripts.o: $(B)/gen/lua_scripts.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(OUR_CPPFLAGS) $(CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS) -c $< -o $@

$(LIB): $(call obj,$(COMMON)) $(B)/obj/gen/lua_scripts.o
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
$(B)/jobs/%.so: jobs/%.c jobs/bucketline.h
	@mkdir -p $(@D)
	$(if $(V),,@echo "  SO $@")
	$(Q)$(CC) -std=gnu11 $(WARNINGS) $(CPPFLAGS) $(CFLAGS) -shared -fPIC -o $@ $<

$(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(call obj,$(TESTLIB)) $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS) -lcmocka
$(B)/tests/integration/%: $(B)/obj/tests/integration/%.o $(call obj,$(TESTLIB)) $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS) -lcmocka
.PRECIOUS: $(B)/obj/%.o

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

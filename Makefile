# The Shared Memory Lab. `make help` lists the commands. Most run harness/setup.sh, then pytest or `python3 -m shmlab`.
#
# LAB=05     one lab            CC=clang  another compiler       V=1  show everything
# IN=DIR     other programs     SAN=1     with sanitizers        TIER=host  without namespaces
# JOBS=1     one at a time     BACK=1    the hint before
# SCHEDULE=… TIME=60                       for make replay and make explore
# CHECK=… TEXT=1                           for make trace
# ARGS="-p PID"                            for make shmls
# (not for students
# FROM=DIR|ZIP OUT=DIR COURSE=FILE TRUST=1     for make grade
# STUDENT=NAME LAB=05 REGRADE=errors           for make grade: only a part
# SLICE=3/16                                   for make grade: every 16th student; then make merge FROM="out.*" OUT=DIR
# REPOS=list.csv BY='2026-11-20 23:59' OUT=DIR  for make collect
# PARTIAL=1                                    for make merge: without slices that are missing
# FULL=1                                       for make test: all cases, which takes much longer
# not for students)

# Another make reads this file and stops; here the line is empty.
include $(.PARSEFILE:%=harness/other_make.mk)

LAB ?=
IN ?= labs
SAN ?=
V ?=
TIER ?=
JOBS ?=
SCHEDULE ?=
TIME ?= 30
CHECK ?=
TEXT ?=
BACK ?=
ARGS ?=
# (not for students
FROM ?=
OUT ?= results
COURSE ?=
STUDENT ?=
REGRADE ?=
SLICE ?=
REPOS ?=
BY ?=
PARTIAL ?=
TRUST ?=
ANONYMOUS ?=
ROOTS ?=
# not for students)

WARN := -Wall -Wextra -Wpedantic -Wconversion -Wshadow
CFLAGS := -std=c17 -O2 -g -pthread $(WARN) $(if $(SAN),-fsanitize=address$(comma)undefined -fno-omit-frame-pointer)
comma := ,
quiet := $(if $(V),,@)

SOURCES := $(wildcard labs/[0-9][0-9]_*/*.c)
PROGRAMS := $(SOURCES:%.c=build/%)
NUMBERS := $(sort $(foreach directory,$(dir $(SOURCES)),$(firstword $(subst _, ,$(notdir $(patsubst %/,%,$(directory)))))))

# `make check 05`, `make check 5` and `make check lab=05` mean `make check LAB=05`.
SHORT_NUMBERS := $(patsubst 0%,%,$(filter 0%,$(NUMBERS)))
COMMANDS := $(filter check explore replay trace race watch hint,$(MAKECMDGOALS))
ifneq ($(COMMANDS),)
NAMED := $(filter $(NUMBERS) $(SHORT_NUMBERS),$(MAKECMDGOALS))
UNKNOWN := $(filter-out $(COMMANDS) $(NAMED) all doctor shmls box unbox clean-ipc clean help demo test lint docs,$(MAKECMDGOALS))
ifneq ($(UNKNOWN),)
$(error there is no lab '$(firstword $(UNKNOWN))': write `make $(firstword $(COMMANDS)) LAB=05`; the labs are $(NUMBERS))
endif
LAB := $(strip $(or $(LAB),$(if $(filter command,$(origin lab)),$(lab)),$(NAMED)))
endif
# Make's own variables are case-sensitive, and an unknown one is not an error.
LOWER = $(strip $(foreach name,in cc san v tier jobs back,$(if $(filter command,$(origin $(name))),$(name))))
ifneq ($(LOWER),)
$(error write $(shell echo '$(firstword $(LOWER))' | tr a-z A-Z)=$($(firstword $(LOWER))), in capital letters)
endif

# A value as one word of the shell, whatever characters it has.
quoted = '$(subst ','\'',$(1))'

SETUP := sh harness/setup.sh
OPTIONS = $(if $(LAB),--lab $(call quoted,$(LAB))) --cc $(call quoted,$(CC)) $(if $(SAN),--san) $(if $(TIER),--tier $(TIER)) $(if $(JOBS),--jobs $(JOBS)) $(if $(V),-v)
SHMLAB := PYTHONPATH=harness

.PHONY: all $(NUMBERS) $(SHORT_NUMBERS) check explore replay trace race watch hint doctor shmls box unbox clean-ipc clean help FORCE
# (not for students
.PHONY: demo test test-machines test-real test-slurm lint grade merge collect feedback similar dist gradescope bench speed docs docs-instructor docs-test
# not for students)

all: $(PROGRAMS) ## builds all labs (make 05: one of them) into build/labs/

define lab_rule
$(1): $(if $(NAMED),,$(filter build/labs/$(1)_%,$(PROGRAMS)))
endef
$(foreach number,$(NUMBERS),$(eval $(call lab_rule,$(number))))
$(foreach number,$(SHORT_NUMBERS),$(eval $(number): 0$(number)))
ifneq ($(NAMED),)
$(NAMED): ; @:
endif

# All programs depend on this file, so that they are rebuilt if the compiler or its options change.
build/flags: FORCE
	@$(SETUP) build '$(CC)' || exit 1; echo '$(CC) $(CFLAGS)' | cmp -s - $@ || echo '$(CC) $(CFLAGS)' > $@

build/%: %.c build/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  $(CC)  $<")
	$(quiet)$(CC) $(CFLAGS) $< -o $@ -lrt

# (not for students
demo: ## installs what is missing, checks all solutions, shows the scores
	$(quiet)python=$$($(SETUP) check) && "$$python" -m pytest harness --submission solutions $(OPTIONS)

test: ## installs what is missing, runs the project's own tests; FULL=1: all cases
	$(quiet)python=$$($(SETUP) test) && "$$python" -m pytest harness/tests -n 5 --dist loadgroup $(if $(V),-v,-q) $(PYTEST)

test-machines: ## tries the project on other machines, as root; ROOTS=directory (12 GB, two hours)
	$(quiet)python=$$($(SETUP) machines) && "$$python" harness/tests/machines/machines.py $(if $(ROOTS),--roots $(call quoted,$(ROOTS)))

test-real: ## runs PostgreSQL, Redis, stress-ng and Python with the recorder and without
	$(quiet)python=$$($(SETUP) test-real) && "$$python" -m pytest harness/tests/sandbox/real_programs.py $(if $(V),-v,-q) $(PYTEST)

test-slurm: ## grades a course on two nodes of a Slurm that it starts, as root
	$(quiet)python=$$($(SETUP) test-slurm) && "$$python" -m pytest harness/tests/course/in_slurm.py $(if $(V),-v,-q) $(PYTEST)

lint: ## checks the project's own code without running it; part of make test
	$(quiet)$(SETUP) lint >/dev/null && sh harness/lint.sh

# not for students)
# The next step and hints are about the programs in labs/, so not about others.
FOR_STUDENT = $(if $(filter labs,$(IN)),--student)

check: ## checks your work: LAB=05 one lab, IN=directory other programs
	$(quiet)python=$$($(SETUP) check) && "$$python" -m pytest harness --submission $(call quoted,$(IN)) $(OPTIONS) $(FOR_STUDENT)

# (not for students
grade: ## grades a course: FROM=submissions OUT=results, see docs/grading.md
	$(quiet)python=$$($(SETUP) grade) && exec env $(SHMLAB) "$$python" -m shmlab grade \
	    --from $(call quoted,$(FROM)) --out $(call quoted,$(OUT)) $(if $(LAB),--lab $(call quoted,$(LAB))) --cc $(call quoted,$(CC)) \
	    $(if $(SAN),--san) $(if $(TIER),--tier $(TIER)) $(if $(COURSE),--course $(call quoted,$(COURSE))) $(if $(JOBS),--jobs $(JOBS)) $(if $(TRUST),--trust) \
	    $(if $(STUDENT),--student $(call quoted,$(STUDENT))) $(if $(REGRADE),--regrade $(call quoted,$(REGRADE))) \
	    $(if $(SLICE),--slice $(call quoted,$(SLICE)))

feedback: ## packs the reports to hand back by Moodle or Canvas: FROM=results OUT=feedback; ANONYMOUS=1 also without names
feedback: FROM = results
feedback: OUT = feedback
feedback:
	$(quiet)python=$$($(SETUP) grade) && $(SHMLAB) "$$python" -m shmlab feedback --from $(call quoted,$(FROM)) \
	    --out $(call quoted,$(OUT)) $(if $(ANONYMOUS),--anonymous)

similar: ## writes the programs of a course for JPlag and MOSS: FROM=results OUT=similar
similar: FROM = results
similar: OUT = similar
similar:
	$(quiet)python=$$($(SETUP) grade) && $(SHMLAB) "$$python" -m shmlab similar --from $(call quoted,$(FROM)) --out $(call quoted,$(OUT))

merge: ## joins slices of a course into one directory of results: FROM="out.*" OUT=results
	$(quiet)python=$$($(SETUP) grade) && $(SHMLAB) "$$python" -m shmlab merge --from $(call quoted,$(FROM)) --out $(call quoted,$(OUT)) \
	    $(if $(COURSE),--course $(call quoted,$(COURSE))) $(if $(JOBS),--jobs $(JOBS)) $(if $(PARTIAL),--partial)

collect: ## copies students' repositories as of a time: REPOS=list.csv BY=2026-11-20 OUT=handed-in
	$(quiet)python=$$($(SETUP) collect) && $(SHMLAB) "$$python" -m shmlab collect --repos $(call quoted,$(REPOS)) --by $(call quoted,$(BY)) \
	    --out $(call quoted,$(if $(filter file,$(origin OUT)),,$(OUT))) $(if $(JOBS),--jobs $(JOBS))

dist: ## packs the students' edition, build/shared-memory-lab.tar.gz
	$(quiet)python=$$($(SETUP) dist) && $(SHMLAB) "$$python" -m shmlab dist

gradescope: ## packs Gradescope's autograder, build/gradescope.zip; LAB="05 06" COURSE=file
	$(quiet)python=$$($(SETUP) dist) && $(SHMLAB) "$$python" -m shmlab gradescope $(if $(LAB),--lab $(call quoted,$(LAB))) \
	    $(if $(COURSE),--course $(call quoted,$(COURSE)))

docs: ## builds the pages, in build/docs/
	$(quiet)python=$$($(SETUP) docs) && $(SHMLAB) "$$python" -m shmlab docs

docs-instructor: ## builds them with solutions and grading, in build/docs-instructor/
	$(quiet)python=$$($(SETUP) docs) && $(SHMLAB) "$$python" -m shmlab docs --instructor

docs-test: ## opens every page in a headless browser
	$(quiet)python=$$($(SETUP) docs-test) && "$$python" -m pytest harness/tests/site/in_browser.py $(if $(V),-v,-q) $(PYTEST)

bench: ## measures the harness (start-up, the spy, each lab) and the ring of lab 18
	$(quiet)python=$$($(SETUP) check) && $(SHMLAB) "$$python" -m shmlab bench

speed: ## measures the ring of lab 18, and writes the figures of docs/speed.md and the handout
	$(quiet)python=$$($(SETUP) check) && $(SHMLAB) "$$python" -m shmlab speed

# not for students)
watch: ## checks LAB=05 again whenever you save
	$(quiet)python=$$($(SETUP) check) && $(SHMLAB) "$$python" -m shmlab watch --lab $(call quoted,$(LAB)) \
	    --in $(call quoted,$(IN)) -- $(OPTIONS) $(FOR_STUDENT)

explore: ## runs LAB=12 under every order of its steps; TIME=30 seconds each
	$(quiet)python=$$($(SETUP) check) && "$$python" -m pytest harness -s --submission $(call quoted,$(IN)) $(OPTIONS) --explore $(call quoted,$(TIME))

replay: ## shows one schedule, step by step: LAB=12 SCHEDULE=from a verdict; GDB=A opens process A in gdb
	$(quiet)python=$$($(SETUP) check) && "$$python" -m pytest harness -s --submission $(call quoted,$(IN)) $(OPTIONS) \
	    --schedule $(call quoted,$(SCHEDULE)) $(if $(GDB),--gdb $(call quoted,$(GDB)))

trace: ## draws what a run of LAB=11 did to shared memory: CHECK=name, SCHEDULE=…, TEXT=1 in the terminal, too
	$(quiet)python=$$($(SETUP) check) && $(SHMLAB) "$$python" -m shmlab trace --lab $(call quoted,$(LAB)) \
	    --in $(call quoted,$(IN)) --cc $(call quoted,$(CC)) $(if $(TIER),--tier $(TIER)) $(if $(CHECK),--check $(call quoted,$(CHECK))) \
	    $(if $(SCHEDULE),--schedule $(call quoted,$(SCHEDULE))) $(if $(TEXT),--text)

race: ## measures your ring of lab 18 beside the fast one, pipe, socket and queue: LAB=18
	$(quiet)python=$$($(SETUP) check) && $(SHMLAB) "$$python" -m shmlab race --lab $(call quoted,$(LAB)) \
	    --in $(call quoted,$(IN)) --cc $(call quoted,$(CC)) $(if $(TIER),--tier $(TIER))

hint: ## shows the next hint for LAB=05; BACK=1 the one before
	$(quiet)python=$$($(SETUP) check) && $(SHMLAB) "$$python" -m shmlab hint --lab $(call quoted,$(LAB)) $(if $(BACK),--back)

doctor: ## reports what this machine supports
	$(quiet)python=$$($(SETUP) check) && $(SHMLAB) "$$python" -m shmlab doctor

box: ## with sudo, on Ubuntu 24.04: installs the box so that AppArmor permits it (make doctor says if it is needed)
	$(quiet)python=$$($(SETUP) check) && $(SHMLAB) "$$python" -m shmlab box

unbox: ## with sudo: removes what `make box` installed
	$(quiet)python=$$($(SETUP) check) && $(SHMLAB) "$$python" -m shmlab unbox

shmls: build/shmls ## lists all shared memory of this machine: ARGS="--pss", ARGS=--help; build/shmls is the same as one file
	$(quiet)python=$$($(SETUP) check) && $(SHMLAB) "$$python" -m shmlab ls $(ARGS)

# The compiled modules beside the sources make it start faster; another version of Python takes the sources.
# Two makes may do this at once, so each works in a directory of its own.
build/shmls: $(wildcard harness/shmlab/observe/*.py)
	$(quiet)python=$$($(SETUP) check) && mkdir -p build && made=$$(mktemp -d build/one-file.XXXXXX) && \
	    trap 'rm -rf "$$made"' EXIT && mkdir -p "$$made/in/observe" && cp $^ "$$made/in/observe" && \
	    "$$python" -m compileall -q -b --invalidation-mode unchecked-hash "$$made/in/observe" && \
	    "$$python" -m zipapp "$$made/in" -c -o "$$made/shmls" -p '/usr/bin/env python3' -m observe.command:run && \
	    chmod 755 "$$made/shmls" && mv "$$made/shmls" $@

clean-ipc: ## removes the segments and objects that the labs' programs left
	$(quiet)python=$$($(SETUP) check) && $(SHMLAB) "$$python" -m shmlab clean-ipc

clean: ## removes build/ (all generated files)
	$(quiet)rm -rf build

help: ## prints this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1~\2/p' Makefile | awk -F'~' '{ printf "%-18s %s\n", $$1, $$2 }'
	@echo '  options: LAB=05 IN=directory CC=clang SAN=1 V=1 TIER=host JOBS=1 BACK=1'
# (not for students
	@echo '  make grade: FROM=submissions OUT=results COURSE=file STUDENT=name REGRADE=errors SLICE=3/16 TRUST=1'
	@echo '  make feedback: FROM=results OUT=directory ANONYMOUS=1; make test: FULL=1'
# not for students)

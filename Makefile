# etcd-compute: `make lab` brings up a three-node cloud on this machine and boots a VM in it; `make test` proves it all.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB_NAME ?= lab
# container or vm; without it a lab that is there stays what it is, and a new one is of containers.
LAB_NODES ?=
KIND := $(if $(LAB_NODES),--kind $(LAB_NODES))
LAB := $(PYTHON) -m lab
# What placement keeps its graph in while it is held against OpenStack's tests: etcd or memory.
GRAPH ?= etcd
GUEST_IMAGE := .cache/guest/etcdcompute-guest.qcow2
INVENTORY := -i .lab/$(LAB_NAME)/inventory.yml -i inventories/lab

export PATH := $(CURDIR)/$(BIN):$(PATH)

help:  ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

##@ the lab
lab: lab-possible $(VENV)/.installed lab-image  ## Three nodes, the whole stack on them, one VM; again: no change
	@tools/packages lab $(if $(filter vm,$(LAB_NODES)),lab-vm)
	@tools/timed start
	@tools/timed "nodes" $(LAB) up --name $(LAB_NAME) $(KIND) --bind "$(CURDIR)/.cache/guest:/srv/images"
	@tools/timed "site playbook" $(BIN)/ansible-playbook $(INVENTORY) playbooks/site.yml
	@tools/timed "instance" $(BIN)/ansible-playbook $(INVENTORY) playbooks/instances.yml
	@tools/timed "guest answers" $(BIN)/python -m tests.lab.answers --lab $(LAB_NAME)
	@echo; $(LAB) exec --name $(LAB_NAME) etcd1 -- etcdcompute host list
	@echo; $(LAB) exec --name $(LAB_NAME) etcd1 -- etcdcompute instance list
	@echo; tools/timed report
	@echo; echo "next: $(LAB) exec --name $(LAB_NAME) etcd1, and there 'etcdcompute instance create --help'; or make lab-destroy"

lab-destroy:  ## Leave nothing of the lab behind (the caches in .cache stay)
	@$(LAB) down --name $(LAB_NAME)

# The one node that NODE names, of either kind: LAB_NAME's etcd2.
NODE ?= etcd1
lab-ssh:  ## A root shell on a node (NODE=etcd2)
	@$(LAB) ssh --name $(LAB_NAME) $(NODE)

lab-console:  ## A node's console, which needs no network (NODE=etcd2)
	@$(LAB) console --name $(LAB_NAME) $(NODE)

# What nothing can mend is said before minutes are spent on the rest: no root, no disk, no memory.
lab-possible:
	@! command -v $(PYTHON) >/dev/null || $(LAB) check --name $(LAB_NAME) --but-programs $(KIND)

# A lab that is there keeps its image: a newer one, which an update of apt's index makes, is another one to its instances.
lab-image: $(VENV)/.installed
	@{ [ -e .lab/$(LAB_NAME)/state.json ] && [ -e $(GUEST_IMAGE) ]; } || $(MAKE) --no-print-directory guest-image

guest-image: $(VENV)/.installed  ## Build the small guest image from Debian's packages
	@tools/packages guest
	@$(PYTHON) -m guest build --output $(GUEST_IMAGE)

##@ the tests
# Two halves side by side, for each leaves a processor idle half of the time. What both need is there before.
test: lint unit guest-image  ## Everything CI runs
	@tools/packages functional lab neo4j
	@tools/beside functional=functional-stack rest='functional-lab conformance conformance-neo4j fuzz sanity molecule'

lint: $(VENV)/.conformance-installed  ## Formatting, style, types, playbooks
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/yamllint --strict .
	@$(BIN)/ansible-lint --offline --profile production

unit: $(VENV)/.installed  ## Fast tests without servers
	@$(BIN)/pytest -q -n auto tests/unit

functional: functional-stack functional-lab  ## Tests with a real etcd, placement, libvirt and guest on this machine

functional-stack: $(VENV)/.installed
	@tools/packages functional neo4j
	@# Each etcd takes 64 MB for its log; /tmp may be in memory.
	@PYTEST_DEBUG_TEMPROOT=/var/tmp $(BIN)/pytest -q tests/functional --ignore=tests/functional/lab

# Compares the whole machine before and after: no other lab may come or go meanwhile.
functional-lab: $(VENV)/.installed
	@tools/packages lab
	@$(BIN)/pytest -q tests/functional/lab

# GRAPH=neo4j: all of it on the other store.
conformance: conformance-gabbi conformance-osc differential  ## All that holds our Placement API against OpenStack's (GRAPH=neo4j)

conformance-neo4j:  ## OpenStack's own tests of its Placement API against ours, on the graph in Neo4j
	@$(MAKE) --no-print-directory conformance-gabbi GRAPH=neo4j

conformance-gabbi: $(VENV)/.conformance-installed  ## OpenStack's own tests of its Placement API against ours, live
	@tools/packages functional neo4j
	@$(BIN)/python -m tests.conformance.gabbi --graph $(GRAPH)

conformance-osc: $(VENV)/.conformance-installed  ## The tests of OpenStack's command line for it against ours, live
	@tools/packages functional neo4j
	@$(BIN)/python -m tests.conformance.osc --graph $(GRAPH)

# EXAMPLES=20000: so many random ones, which takes hours; without it the same few hundred every time.
differential: $(VENV)/.conformance-installed  ## Random requests to ours and to OpenStack's: same answers (EXAMPLES=20000)
	@tools/packages neo4j
	@GRAPH=$(GRAPH) EXAMPLES=$(EXAMPLES) $(BIN)/pytest -q -o timeout=0 tests/conformance/differential

# EXAMPLES=2000: so many per route, at random; without it the same few dozen every time.
fuzz: $(VENV)/.conformance-installed  ## Anything, by the OpenAPI document, against a live service: never a 5xx (EXAMPLES=2000)
	@tools/packages functional neo4j
	@EXAMPLES=$(EXAMPLES) PYTEST_DEBUG_TEMPROOT=/var/tmp $(BIN)/pytest -q -o timeout=0 tests/conformance/fuzz

sanity: $(VENV)/.installed  ## ansible-test sanity on a staged copy of the collection
	@tools/sanity

molecule: molecule-default molecule-neo4j  ## The stack on real labs: converge, idempotence, verify

molecule-default: $(VENV)/.installed guest-image  ## Three nodes, the graph in etcd
	@tools/packages lab
	@$(BIN)/molecule test --scenario-name default

molecule-neo4j: $(VENV)/.installed guest-image  ## Two nodes, the graph in Neo4j
	@tools/packages lab neo4j
	@$(BIN)/molecule test --scenario-name neo4j

# Not in `make test`: where processors are emulated it takes longer than all the rest.
molecule-nested: $(VENV)/.installed guest-image  ## Three QEMU machines with nested guests, the graph in etcd
	@tools/packages lab lab-vm
	@$(BIN)/molecule test --scenario-name nested-vm

# A lab of its own: three controllers, so that one may be missing. It stays when a test fails (make lab-destroy LAB_NAME=faults).
lab-faults: $(VENV)/.installed guest-image  ## Power cuts, full disks, wrong clocks, lossy networks, on three machines
	@tools/packages lab lab-vm
	@$(LAB) up --name faults --kind vm --controllers 3 --bind "$(CURDIR)/.cache/guest:/srv/images"
	@$(BIN)/ansible-playbook -i .lab/faults/inventory.yml -i inventories/lab playbooks/site.yml
	@LAB_NAME=faults $(BIN)/pytest -v --no-header --durations=0 -o timeout=0 tests/faults
	@$(LAB) down --name faults

##@ the figures
# PEER=no: our side alone. ROWS=claims: only rows whose key begins so. SCALE=0.1: to see that it runs.
PEER ?= yes
ROWS ?=
SCALE ?= 1
TIME_LIMIT ?= 30
PROFILE ?= no
bench: $(VENV)/.$(if $(filter no,$(PEER)),,conformance-)installed  ## Placement beside OpenStack's: the same data and requests (PEER=no ROWS=claims SCALE=0.1 PROFILE=yes)
	@tools/packages bench neo4j
	@$(BIN)/python -m bench --peer $(PEER) --rows "$(ROWS)" --scale $(SCALE) --time-limit $(TIME_LIMIT) --profile $(PROFILE)

bench-instances: $(VENV)/.installed  ## On the running lab: latency of a create, memory of the daemons
	@$(BIN)/python -m bench.instances --lab $(LAB_NAME)

##@ the tools
$(VENV)/.installed: pyproject.toml tools/packages
	@tools/packages python
	@echo "making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --disable-pip-version-check --use-pep517 --progress-bar off --editable '.[agent,policy,neo4j,dev]' | sed -un 's/^\(Collecting\|Building\|Installing\|Successfully\)/  \1/p' | cut -c1-100
	@touch $@

$(VENV)/.conformance-installed: $(VENV)/.installed
	@echo "installing OpenStack's placement and its tests"
	@$(BIN)/pip install --disable-pip-version-check --use-pep517 --progress-bar off --editable '.[agent,policy,neo4j,dev,conformance]' | sed -un 's/^\(Collecting\|Building\|Installing\|Successfully\)/  \1/p' | cut -c1-100
	@touch $@

clean:  ## Remove all labs, the virtual environment and all caches
	@if [ -e .lab ] || [ -e .cache/lab ]; then $(LAB) clean; fi
	rm -rf $(VENV) .cache .ansible .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

# The parts of a test share one machine.
.NOTPARALLEL:
.PHONY: help lab lab-ssh lab-console lab-possible lab-image lab-destroy guest-image test lint unit functional functional-stack functional-lab conformance conformance-gabbi conformance-osc conformance-neo4j differential fuzz sanity molecule molecule-default molecule-neo4j molecule-nested lab-faults bench bench-instances clean

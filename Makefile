# The same targets run here and in CI. `make` checks everything; `make help`
# lists the rest. Needs Go, git and, for the race detector, a C compiler; the
# other tools are built into bin/ at the versions that tools/*/go.mod pin.

.DEFAULT_GOAL := test
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := bash

# Every module is checked as its users see it; a workspace is for the editor.
export GOWORK := off

ROOT    := $(CURDIR)
BIN     := $(ROOT)/bin
MODULES := $(shell cat modules.txt)

# Modules with protobuf definitions of their own.
PROTO_MODULES := . examples/configcenter

# $(call each,command) runs the command in every module, or in those given as a
# second argument, one after the other, goes on after a failure, and then fails
# if one did.
each = @rc=0; for m in $(or $(2),$(MODULES)); do \
	echo "$@: $$m"; (cd "$$m" && $(1)) || rc=1; done; exit $$rc

# What `make test` runs, cheapest first. The Go tests close, so that their own
# summary is the end of the output.
CHECKS := checkgenerate buflint bufbreaking tidycheck vet vet-os lint testgo

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-15s %s\n", $$1, $$2 }' Makefile

.PHONY: test
test: ## Check everything: generated code, wire, modules, vet, lint, tests (default)
	@for t in $(CHECKS); do \
		start=$$SECONDS; $(MAKE) $$t || exit 1; \
		echo "$$t: $$((SECONDS - start))s"; done

.PHONY: testgo
testgo: allocs testplain testunknown testalone ## Test every module with the race detector
	$(call each,go test -race $$(go list ./... | grep -vxF "$$(cd $(ROOT) && go list $(ALONE))"))

# Packages whose tests run many processes and hold them to times, which they
# cannot keep when they share the machine with another package's.
ALONE := ./internal/soak ./cmd/clusterctl .

.PHONY: testalone
testalone:
	@rc=0; for p in $(ALONE); do go test -race -timeout 20m $$p || rc=1; done; exit $$rc

# They are skipped by whoever is not root.
.PHONY: testroot
testroot: ## Run the tests with processes of other users, and in other networks; as root
	@[ "$$(id -u)" -eq 0 ] || { echo "testroot: only root can" >&2; exit 1; }
	go test -race -run 'User|Squatter|Network|Refuses|Unusable|Default|FullDisk|Secret|Unknown' . ./internal/runtimedir ./internal/peercred ./internal/snapshot
	go test -race -run 'User|Doctor$$' ./cmd/clusterctl
	go test -run AllocsOfStrangers .
	$(MAKE) testunknown

.PHONY: allocs
allocs: ## Fail if a call or a delivery allocates more than it did (without -race, which allocates too)
	go test -run Allocs .

.PHONY: testplain
testplain: ## Test what is another code with the race detector, without it
	go test ./internal/rawio ./internal/gate

.PHONY: testunknown
testunknown: ## Test what is done where the system does not tell who connects, as on macOS and Windows
	go test -tags unknownpeers -run Unknown .

.PHONY: cover
cover: ## Test the core module and say how much of it the tests reach
	go test -coverpkg=./... -coverprofile=cover.out ./...
	@go tool cover -func=cover.out | tail -n 1

.PHONY: vet
vet: ## Vet every module
	$(call each,go vet ./...)

.PHONY: vet-os
vet-os: ## Vet every module, tests too, for macOS and Windows
	$(call each,GOOS=darwin go vet ./... && GOOS=windows go vet ./...)

.PHONY: lint
lint: $(BIN)/golangci-lint ## Lint every module
	$(call each,$(BIN)/golangci-lint run --config $(ROOT)/.golangci.yml ./...)

.PHONY: fmt
fmt: $(BIN)/golangci-lint ## Format every module
	$(call each,$(BIN)/golangci-lint fmt --config $(ROOT)/.golangci.yml ./...)

.PHONY: tidycheck
tidycheck: ## Fail if go.mod or go.sum of a module is not tidy
	$(call each,go mod tidy -diff)

.PHONY: tidy
tidy: ## Tidy every module
	$(call each,go mod tidy)

GENERATORS := $(BIN)/buf $(BIN)/protoc-gen-go $(BIN)/protoc-gen-go-grpc

.PHONY: generate
generate: $(GENERATORS) ## Generate the Go code of all protobuf definitions
	$(call each,$(BIN)/buf generate,$(PROTO_MODULES))

# Compares trees instead of asking git, so that it works with changes that are
# not committed and finds generated files whose source is gone.
.PHONY: checkgenerate
checkgenerate: $(GENERATORS) ## Fail if the generated code is not what generate gives
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT; rc=0; \
	for m in $(PROTO_MODULES); do \
		have=$$tmp/$$m/have want=$$tmp/$$m/want; mkdir -p "$$have" "$$want"; \
		(cd "$$m" && $(BIN)/buf generate -o "$$want" && \
			find proto internal -name '*.pb.go' 2>/dev/null | tar -cf - -T - | tar -xf - -C "$$have" && \
			diff -ru "$$have" "$$want") || rc=1; \
	done; \
	[ $$rc -eq 0 ] || echo "checkgenerate: run 'make generate' and commit the result" >&2; exit $$rc

.PHONY: buflint
buflint: $(BIN)/buf ## Lint the wire
	$(call each,$(BIN)/buf lint,$(PROTO_MODULES))

# Two builds of the library talk to each other during every rollout, so the
# wire is held against what the last release spoke. That is committed, in
# proto/baseline.yaml: a tag alone would compare nothing before the first
# release, in a shallow clone, or in a source archive. Where there is a tag, it
# is compared too, and it is beyond the reach of a change that rewrites the
# baseline to get past this check.
.PHONY: bufbreaking
bufbreaking: $(BIN)/buf ## Fail if the wire breaks what the last release speaks
	$(BIN)/buf breaking proto --against proto/baseline.yaml
	@tag=$$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null) || exit 0; \
	tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	echo "bufbreaking: against $$tag" && \
	git archive "$$tag" proto | tar -xf - -C "$$tmp" && \
	$(BIN)/buf breaking proto --against "$$tmp/proto"

.PHONY: baseline
baseline: $(BIN)/buf ## Take the wire as the new baseline; part of a release, see CONTRIBUTING.md
	$(BIN)/buf build proto --exclude-source-info -o proto/baseline.yaml

# Go fuzzes one target at a time. The corpus that it finds stays in its cache; a
# finding is written to testdata/fuzz, to be committed with what mends it.
FUZZTIME ?= 30s
.PHONY: fuzz
fuzz: ## Fuzz every decoder and the socket, for FUZZTIME (30s) each
	@rc=0; for t in $$(grep -roE --include='*_test.go' '^func Fuzz[A-Za-z]+' . | sed 's/\/[^/]*:func /:/' | sort -u); do \
		echo "$@: $${t#*:} in $${t%:*}"; \
		(cd "$${t%:*}" && go test . -run '^$$' -fuzz "^$${t#*:}$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 2s) || rc=1; \
	done; exit $$rc

.PHONY: tour
tour: ## Run the example: several processes, one upstream connection, a failover
	cd examples/configcenter && go run . -tour

.PHONY: bench
bench: ## Measure this library beside others, in about ten minutes; wants a quiet machine
	@mkdir -p $(BIN)
	cd bench && go run . -json $(BIN)/bench.json -svg $(BIN)/bench

.PHONY: bench-docs
bench-docs: ## Put the figures of the last `make bench` into the docs
	cp $(BIN)/bench.json docs/performance/figures.json
	cd bench && go run . -from ../docs/performance/figures.json -pages ../docs/performance.md,../README.md

.PHONY: bench-quick
bench-quick: ## The same in about a minute, for a hint
	cd bench && go run . -quick

# Fewer are part of testgo.
STEPS ?= 1000000
OF ?= TestDelivery|Test[A-Za-z]+Histories
.PHONY: histories
histories: ## Check promises over random histories of STEPS (1000000) each, or those OF one test; SEED repeats them
	go test . -run '^($(OF))$$' -steps=$(STEPS) -timeout 0 -v $(if $(SEED),-seed=$(SEED))

# A shorter one is part of testgo.
SOAK ?= 10m
.PHONY: soak
soak: ## Let a cluster of processes endure faults and check its history, for SOAK (10m)
	go test ./internal/soak -run TestSoak -soak=$(SOAK) -timeout 0 -v $(if $(SEED),-seed=$(SEED))

.PHONY: tools
tools: $(GENERATORS) $(BIN)/golangci-lint ## Build the pinned tools into bin/

# go install leaves a binary that is up to date alone, its time too; hence touch.
install = cd $(<D) && GOBIN=$(BIN) go install tool && touch $(addprefix $(BIN)/,$(1))

$(BIN)/buf: tools/buf/go.mod tools/buf/go.sum
	$(call install,buf)

$(BIN)/protoc-gen-go: tools/gen/go.mod tools/gen/go.sum
	$(call install,protoc-gen-go protoc-gen-go-grpc)

# One go install makes both.
$(BIN)/protoc-gen-go-grpc: $(BIN)/protoc-gen-go ;

$(BIN)/golangci-lint: tools/lint/go.mod tools/lint/go.sum
	$(call install,golangci-lint)

.PHONY: clean
clean: ## Remove what the targets build
	rm -rf $(BIN) cover.out

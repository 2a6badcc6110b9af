#!/bin/sh
# What `make lint` says about the gate. Without Go there is nothing to say it with: the tests in CI have it.
set -eu
cd "$(dirname "$0")"
command -v go >/dev/null || { echo 'gate: not looked at, because Go is not installed' >&2; exit 0; }
export GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { printf 'gate: run gofmt -w on\n%s\n' "$unformatted" >&2; exit 1; }
go vet ./... ./testdata/gateway

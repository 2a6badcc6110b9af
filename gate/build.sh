#!/bin/sh
# Compiles the gate into the directory $1 (an absolute path). Used by images/build, the runner's Dockerfile and the
# tests; GOOS and GOARCH choose another platform.
set -eu
cd "$(dirname "$0")"
export CGO_ENABLED=0 GOFLAGS= GOWORK=off
mkdir -p "$1"
go build -mod=readonly -trimpath -buildvcs=false -ldflags '-s -w' -o "$1/gate" .

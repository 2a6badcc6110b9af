#!/bin/sh
# Compiles the tools of go.mod into the directory $1 (an absolute path), so that each can tell its version: built from modules, they do not
# know it otherwise. Used by images/build and by the Dockerfiles; GOOS and GOARCH choose another platform.
set -eu
cd "$(dirname "$0")"
export CGO_ENABLED=0 GOFLAGS= GOWORK=off

kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
helm=$(go list -m -f '{{.Version}}' helm.sh/helm/v4)
minor=${kubernetes#v1.}
minor=${minor%%.*}

flags="-s -w -X helm.sh/helm/v4/internal/version.version=$helm"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags="$flags -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=$minor"
    flags="$flags -X $package.gitCommit= -X $package.gitTreeState=clean"
done

mkdir -p "$1"
go build -mod=readonly -trimpath -buildvcs=false -ldflags "$flags" -o "$1/" tool

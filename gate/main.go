// The gate: a credential proxy that understands the Kubernetes API. `gate CONFIGURATION KUBECONFIG` waits for both
// files, answers on a port for each context, and writes what it was asked to standard output. README.md says the rest.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"gate/internal/files"
	"gate/internal/noise"
)

// Measured: README.md. The limit is soft: a large answer may go over it for as long as it takes.
const (
	garbagePercent = 50
	memoryLimit    = 24 << 20
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gate CONFIGURATION KUBECONFIG")
		os.Exit(2)
	}
	debug.SetGCPercent(garbagePercent)
	debug.SetMemoryLimit(memoryLimit)
	complaints, err := noise.Mark()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gate:", err)
		os.Exit(1)
	}
	if err := run(complaints, os.Args[1], os.Args[2]); err != nil {
		complaints.Fatal(err)
	}
}

func run(complaints *log.Logger, configuration, kubeconfig string) error {
	ending, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	texts, err := files.Wait(ending, configuration, kubeconfig)
	if ending.Err() != nil {
		return nil // nobody claimed this pod
	}
	if err != nil {
		return err
	}
	gate, err := open(texts[0], texts[1], os.Stdout, complaints)
	if err != nil {
		return err
	}
	<-ending.Done()
	gate.close()
	return nil
}

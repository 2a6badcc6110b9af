package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"

	"gate/internal/config"
	"gate/internal/record"
	"gate/internal/rules"
	"gate/internal/serve"
	"gate/internal/upstream"
)

// gate is what runs: ports, and the record of what came in by them.
type gate struct {
	ports  *serve.Ports
	record *record.Writer
}

// open listens on every context's port. What is wrong with the files or with one context is said there, in the answer
// to every request; an error is what cannot even be said.
func open(configuration, kubeconfig []byte, out io.Writer, complaints *log.Logger) (*gate, error) {
	settings, wrong := config.Read(configuration)
	if wrong != nil {
		wrong = fmt.Errorf("the gate's configuration is of no use: %w", wrong)
		if settings = portsOf(configuration); settings == nil {
			return nil, wrong
		}
		complaints.Print(wrong)
	}
	listeners, err := listen(settings.Contexts)
	if err != nil {
		return nil, err
	}
	known, err := upstream.Parse(kubeconfig)
	if wrong == nil {
		wrong = err
	}
	handlers := make([]*serve.Handler, len(settings.Contexts))
	contexts := make([]record.Context, len(settings.Contexts))
	for i, context := range settings.Contexts {
		handlers[i] = handler(context.Name, known, wrong)
		handlers[i].Host = listeners[i].Addr().String()
		handlers[i].Rules = rules.New(settings.Rules...)
		contexts[i] = record.Context{
			Name: context.Name, Port: listeners[i].Addr().(*net.TCPAddr).Port, Error: handlers[i].Broken,
		}
	}
	opened := &gate{ports: serve.NewPorts()}
	opened.record = record.New(out, contexts, func(err error) { complaints.Fatalf("no record, no requests: %v", err) })
	for i, handler := range handlers {
		handler.Record = opened.record
		opened.ports.Serve(listeners[i], handler, complaints)
	}
	return opened, nil
}

// listen comes before everything that takes long: whoever connects now waits, and is not refused.
func listen(contexts []config.Context) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, context := range contexts {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", context.Port))
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, listener)
	}
	return listeners, nil
}

func handler(context string, known *upstream.Kubeconfig, wrong error) *serve.Handler {
	var server *upstream.Upstream
	if wrong == nil {
		server, wrong = known.Of(context)
	}
	made := &serve.Handler{Context: context, Upstream: server}
	if wrong != nil {
		made.Broken = fmt.Sprintf("the gate cannot use what the kubeconfig has for context %q: %.500s", context, wrong)
	}
	return made
}

// portsOf reads the ports of a configuration that is otherwise of no use, so that somebody can be told there.
func portsOf(text []byte) *config.Configuration {
	var read struct {
		Contexts []config.Context `json:"contexts"`
	}
	if json.Unmarshal(text, &read) != nil || len(read.Contexts) == 0 {
		return nil
	}
	return &config.Configuration{Contexts: read.Contexts}
}

func (g *gate) close() {
	g.ports.Stop()
	g.record.Close()
}

package serve

import (
	"context"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// Headers come at once from a program in the same pod; a connection without a request costs little.
	headerTimeout = 10 * time.Second
	idleTimeout   = 10 * time.Minute
	// What is still open when the command has ended belongs to nobody; an answer on its way may arrive.
	drainTime = 2 * time.Second
	endTime   = time.Second
)

// Ports serves handlers until it is stopped, and knows when the last request has ended.
type Ports struct {
	servers []*http.Server
	open    sync.WaitGroup
	context context.Context
	cancel  context.CancelFunc
}

// NewPorts has none yet.
func NewPorts() *Ports {
	context, cancel := context.WithCancel(context.Background())
	return &Ports{context: context, cancel: cancel}
}

// Serve answers on listener.
func (p *Ports) Serve(listener net.Listener, handler http.Handler, complaints *log.Logger) {
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.open.Add(1)
			defer p.open.Done()
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		BaseContext:       func(net.Listener) context.Context { return p.context },
		ErrorLog:          complaints,
		// Or net/http would answer `OPTIONS *` by itself, and nobody would have seen it.
		DisableGeneralOptionsHandler: true,
	}
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	p.servers = append(p.servers, server)
	go func() {
		if err := server.Serve(listener); err != http.ErrServerClosed {
			complaints.Printf("a port is closed: %v", err)
		}
	}()
}

// Stop takes no more requests, lets the open ones end for a moment, and ends the rest.
func (p *Ports) Stop() {
	limit, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		var closing sync.WaitGroup
		for _, server := range p.servers {
			closing.Go(func() { _ = server.Shutdown(limit) }) // what it leaves open is ended below
		}
		closing.Wait()
		p.open.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-limit.Done():
		p.cancel()
		select {
		case <-ended:
		case <-time.After(endTime):
		}
	}
	p.cancel()
}

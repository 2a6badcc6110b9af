// Package upstream makes, of each context of a kubeconfig, a server and two ways to it: one for ordinary requests, and
// one for those that become another protocol, which HTTP/2 cannot do. Whatever proves who is calling is in them.
package upstream

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/transport"
)

// Upstream is the API server of one context.
type Upstream struct {
	Base        *url.URL // its path has no slash at the end
	Transport   http.RoundTripper
	Upgrades    http.RoundTripper
	OwnIdentity bool // the kubeconfig says `as`
}

// Kubeconfig is the kubeconfig, parsed once for all contexts.
type Kubeconfig struct{ config *api.Config }

// Parse reads a kubeconfig.
func Parse(text []byte) (*Kubeconfig, error) {
	config, err := clientcmd.Load(text)
	if err != nil {
		return nil, fmt.Errorf("not a kubeconfig: %w", err)
	}
	return &Kubeconfig{config}, nil
}

// Of returns one context's, or why its credentials are of no use to anybody.
func (k *Kubeconfig) Of(context string) (*Upstream, error) {
	client := clientcmd.NewNonInteractiveClientConfig(*k.config, context, &clientcmd.ConfigOverrides{}, nil)
	config, err := client.ClientConfig()
	if err != nil {
		return nil, err
	}
	base, err := address(config)
	if err != nil {
		return nil, err
	}
	// Or Go would ask for gzip where the command did not, and unpack what the command is to get plain.
	config.DisableCompression = true
	settings, err := config.TransportConfig()
	if err != nil {
		return nil, err
	}
	ordinary, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	as := config.Impersonate
	return &Upstream{
		Base: base, Transport: ordinary,
		Upgrades:    later{sync.OnceValues(func() (http.RoundTripper, error) { return http1(settings) })},
		OwnIdentity: as.UserName != "" || as.UID != "" || len(as.Groups)+len(as.Extra) > 0,
	}, nil
}

func address(config *rest.Config) (*url.URL, error) {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	if base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("the server's address is not a host with a path")
	}
	base.Path, base.RawPath = strings.TrimRight(base.Path, "/"), strings.TrimRight(base.RawPath, "/")
	return base, nil
}

// later is a way that is made when it is first needed: reading keys takes a while, and few runs upgrade anything.
type later struct {
	way func() (http.RoundTripper, error)
}

func (l later) RoundTrip(r *http.Request) (*http.Response, error) {
	way, err := l.way()
	if err != nil {
		return nil, err
	}
	return way.RoundTrip(r)
}

// http1 is the way for upgrades. Unlike apimachinery's handler, which dials by itself, it goes through the
// kubeconfig's proxy as well.
func http1(settings *transport.Config) (http.RoundTripper, error) {
	encryption, err := transport.TLSConfigFor(settings)
	if err != nil {
		return nil, err
	}
	if encryption == nil {
		encryption = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	encryption.NextProtos = []string{"http/1.1"}
	dial := (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	if settings.DialHolder != nil {
		dial = settings.DialHolder.Dial
	}
	proxy := settings.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	return transport.HTTPWrappersForConfig(settings, &http.Transport{
		Proxy: proxy, DialContext: dial, TLSClientConfig: encryption,
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second, DisableCompression: true,
	})
}

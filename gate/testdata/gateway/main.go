// A gateway before an API server, as platforms have them: a path and an authority of its own, a token for who calls, and
// its own credential for the API server behind it. For tests/gate.
//
//	gateway SERVER AUTHORITY CERTIFICATE KEY PROTOCOL
//
// The files are those of the API server, PROTOCOL is "h2" or "http/1.1". It prints what a kubeconfig needs as a line of
// JSON, and ends with its input. GET /seen answers how many requests came by which protocol.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	prefix = "/k8s/clusters/c-1"
	token  = "a-token-of-the-gateway"
)

func main() {
	log.SetFlags(0)
	server, authority, certificate, key, protocol := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	own, ca := selfSigned()
	listener := must(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}, NextProtos: protocols(protocol)}))
	gateway := newGateway(must(url.Parse(server)), &tls.Config{
		RootCAs: pool(must(os.ReadFile(authority))), Certificates: []tls.Certificate{must(tls.LoadX509KeyPair(certificate, key))},
	})
	said := map[string]string{"server": "https://" + listener.Addr().String() + prefix, "authority": string(ca), "token": token}
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		log.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until whoever started it has gone
		os.Exit(0)
	}()
	log.Fatal((&http.Server{Handler: gateway, ErrorLog: log.New(io.Discard, "", 0)}).Serve(listener))
}

// protocols: upgrades need HTTP/1.1, so that a gateway that speaks HTTP/2 speaks both.
func protocols(first string) []string {
	if first == "h2" {
		return []string{"h2", "http/1.1"}
	}
	return []string{"http/1.1"}
}

type gateway struct {
	sends *httputil.ReverseProxy
	lock  sync.Mutex
	seen  map[string]int
}

func newGateway(server *url.URL, encryption *tls.Config) *gateway {
	ordinary := &http.Transport{TLSClientConfig: encryption, ForceAttemptHTTP2: true, DisableCompression: true}
	upgrades := &http.Transport{TLSClientConfig: encryption, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(both *httputil.ProxyRequest) {
			both.SetURL(server)
			both.Out.URL.Path = strings.TrimPrefix(both.In.URL.Path, prefix)
			both.Out.URL.RawPath = strings.TrimPrefix(both.In.URL.EscapedPath(), prefix)
			both.Out.Header.Del("Authorization")
		},
		Transport: ways{ordinary, upgrades},
	}
	return &gateway{sends: proxy, seen: map[string]int{}}
}

type ways struct{ ordinary, upgrades http.RoundTripper }

func (w ways) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Upgrade") != "" {
		return w.upgrades.RoundTrip(r)
	}
	return w.ordinary.RoundTrip(r)
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/seen" {
		g.lock.Lock()
		defer g.lock.Unlock()
		_ = json.NewEncoder(w).Encode(g.seen) // whoever has gone does not want to know
		return
	}
	g.lock.Lock()
	g.seen[r.Proto]++
	g.lock.Unlock()
	switch {
	case !strings.HasPrefix(r.URL.Path, prefix+"/"):
		http.Error(w, "this path is not the cluster's", http.StatusNotFound)
	case r.Header.Get("Authorization") != "Bearer "+token:
		http.Error(w, "who are you?", http.StatusUnauthorized)
	default:
		g.sends.ServeHTTP(w, r)
	}
}

func selfSigned() (tls.Certificate, []byte) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a gateway of a test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	signed := must(x509.CreateCertificate(rand.Reader, form, form, key.Public(), key))
	return tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})
}

func pool(authority []byte) *x509.CertPool {
	certificates := x509.NewCertPool()
	certificates.AppendCertsFromPEM(authority)
	return certificates
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// Command pki writes the keys and certificates of one test cluster into a
// directory. It is Go and not openssl, so that the cluster needs no more tools
// than the toolchain it is built with.
//
//	pki DIR CLUSTER SERVER_NAMES NODE_NAME
//
// CLUSTER names the authority, so that two clusters' certificates can be told
// apart. SERVER_NAMES are the API server's addresses and names, with commas.
// NODE_NAME may be empty: then there is no kubelet.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A test machine's clock may be behind that of the one that made a snapshot.
const backdate = 24 * time.Hour
const lifetime = 10 * 365 * 24 * time.Hour

type authority struct {
	directory   string
	certificate *x509.Certificate
	key         crypto.Signer
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: pki DIR CLUSTER SERVER_NAMES NODE_NAME")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], strings.Split(os.Args[3], ","), os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "pki:", err)
		os.Exit(1)
	}
}

func write(directory, cluster string, serverNames []string, node string) error {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(directory, cluster)
	if err != nil {
		return err
	}
	if err := ca.issue("apiserver", pkix.Name{CommonName: "kube-apiserver"}, serverNames); err != nil {
		return err
	}
	clients := map[string]pkix.Name{
		"admin":              {CommonName: "admin", Organization: []string{"system:masters"}},
		"controller-manager": {CommonName: "system:kube-controller-manager"},
		"scheduler":          {CommonName: "system:kube-scheduler"},
		"proxy":              {CommonName: "system:kube-proxy"},
		"dns":                {CommonName: "system:coredns"},
		// The API server's own identity towards the kubelet.
		"apiserver-kubelet": {CommonName: "kube-apiserver", Organization: []string{"system:masters"}},
	}
	if node != "" {
		clients["kubelet"] = pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}}
	}
	for name, subject := range clients {
		if err := ca.issue(name, subject, nil); err != nil {
			return err
		}
	}
	return writeSigningKey(directory)
}

// writeSigningKey makes the pair that signs and verifies service account tokens.
func writeSigningKey(directory string) error {
	key, err := newKey(filepath.Join(directory, "service-accounts.key"))
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(directory, "service-accounts.pub"), "PUBLIC KEY", der)
}

func newAuthority(directory, cluster string) (*authority, error) {
	key, err := newKey(filepath.Join(directory, "ca.key"))
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(pkix.Name{CommonName: cluster + "-ca"})
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	ca := &authority{directory: directory, certificate: template, key: key}
	return ca, ca.sign("ca", template, key)
}

// issue makes a server certificate when there are serverNames, else a client's.
func (ca *authority) issue(name string, subject pkix.Name, serverNames []string) error {
	key, err := newKey(filepath.Join(ca.directory, name+".key"))
	if err != nil {
		return err
	}
	template, err := newTemplate(subject)
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(serverNames) > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, serverName := range serverNames {
		if ip := net.ParseIP(serverName); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, serverName)
		}
	}
	return ca.sign(name, template, key)
}

func (ca *authority) sign(name string, template *x509.Certificate, key crypto.Signer) error {
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, key.Public(), ca.key)
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(ca.directory, name+".crt"), "CERTIFICATE", der)
}

func newTemplate(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(lifetime),
	}, nil
}

func newKey(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

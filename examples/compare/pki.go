//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// serverName is the name that everything but the test of many names asks for.
const serverName = "compare.test"

// nthName is the i-th of many server names.
func nthName(i int) string { return fmt.Sprintf("h%05d.%s", i, serverName) }

// A site is what every proxy is configured with. Each file of a key pair has the
// certificate and the key, which all of them can read.
type site struct {
	Dir    string
	Listen string // address of the proxy
	Origin string // address of the origin
	Names  int    // further server names, with a certificate each
	Conns  int    // connections that there may be from clients, and as many to the origin
}

func (s site) serverPEM() string       { return filepath.Join(s.Dir, "server.pem") }
func (s site) clientPEM() string       { return filepath.Join(s.Dir, "client.pem") }
func (s site) strangerPEM() string     { return filepath.Join(s.Dir, "stranger.pem") }
func (s site) clientCA() string        { return filepath.Join(s.Dir, "client-ca.pem") }
func (s site) serverCA() string        { return filepath.Join(s.Dir, "server-ca.pem") }
func (s site) namesDir() string        { return filepath.Join(s.Dir, "names") }
func (s site) namePEM(n string) string { return filepath.Join(s.namesDir(), n+".pem") }
func (s site) control() string         { return filepath.Join(s.Dir, "control.sock") }
func (s site) file(name string) string { return filepath.Join(s.Dir, name) }
func (s site) write(name, text string) error {
	return os.WriteFile(s.file(name), []byte(text), 0o600)
}

// An authority signs certificates of ECDSA P-256.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := unsigned(name)
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

func unsigned(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 7),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
}

// issue writes a key pair to a file: a server's for the name, or a client's.
func (a *authority) issue(file, name string, usage x509.ExtKeyUsage) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := unsigned(name)
	template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	if usage == x509.ExtKeyUsageServerAuth {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), 0o600)
}

// writePKI writes the files of a site with so many further names, and returns the
// authority of its servers.
func writePKI(s site, names int) (*authority, error) {
	servers, err := newAuthority("servers")
	if err != nil {
		return nil, err
	}
	clients, err := newAuthority("clients")
	if err != nil {
		return nil, err
	}
	// The same name as the real one: nothing but the signature tells them apart.
	strangers, err := newAuthority("clients")
	if err != nil {
		return nil, err
	}
	for file, ca := range map[string]*authority{s.serverCA(): servers, s.clientCA(): clients} {
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}), 0o600); err != nil {
			return nil, err
		}
	}
	if err := servers.issue(s.serverPEM(), serverName, x509.ExtKeyUsageServerAuth); err != nil {
		return nil, err
	}
	if err := clients.issue(s.clientPEM(), "client", x509.ExtKeyUsageClientAuth); err != nil {
		return nil, err
	}
	if err := strangers.issue(s.strangerPEM(), "client", x509.ExtKeyUsageClientAuth); err != nil {
		return nil, err
	}
	if err := os.Mkdir(s.namesDir(), 0o700); err != nil {
		return nil, err
	}
	for i := range names {
		if err := servers.issue(s.namePEM(nthName(i)), nthName(i), x509.ExtKeyUsageServerAuth); err != nil {
			return nil, err
		}
	}
	return servers, nil
}

// keyPairs returns the files of all names.
func (s site) keyPairs() map[string]string {
	files := map[string]string{serverName: s.serverPEM()}
	for i := range s.Names {
		files[nthName(i)] = s.namePEM(nthName(i))
	}
	return files
}

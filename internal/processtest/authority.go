package processtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An Authority signs certificates.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority returns an authority that nobody has heard of yet.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t}
	a.cert, a.key = a.sign("authority", nil)
	return a
}

func (a *Authority) sign(name string, by *Authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: by == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	a.must(err)
	cert, err := x509.ParseCertificate(der)
	a.must(err)
	return cert, key
}

func (a *Authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// serverName is what the leaders' certificates are for.
const serverName = "cluster"

// Config is that of a process which believes a and shows a certificate of
// signer's, for name. Leaders have one for "cluster".
func (a *Authority) Config(signer *Authority, name string) *tls.Config {
	a.t.Helper()
	cert, key := a.sign(name, signer)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		RootCAs:      roots, ServerName: serverName,
	}
}

// TLSFiles are the files with what lets a process in where WithTLS is asked
// for, and the name that leaders have to show.
type TLSFiles struct{ Cert, Key, CA, ServerName string }

// Files writes to a directory what [Authority.Config] has.
func (a *Authority) Files(signer *Authority, name string) TLSFiles {
	a.t.Helper()
	cert, key := a.sign(name, signer)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	a.must(err)
	dir := a.t.TempDir()
	write := func(file, kind string, der []byte) string {
		file = filepath.Join(dir, file)
		a.must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return file
	}
	return TLSFiles{
		Cert: write("cert.pem", "CERTIFICATE", cert.Raw), Key: write("key.pem", "PRIVATE KEY", der),
		CA: write("ca.pem", "CERTIFICATE", a.cert.Raw), ServerName: serverName,
	}
}

// config reads what was written.
func (f TLSFiles) config() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, ServerName: f.ServerName}, nil
}

package processtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strconv"
	"sync"
	"time"
)

// listen is somebody else's server on the port, of the kind that c.Data says.
// Which one it is, when that is left to the system, is in the answer's Data.
func (p *childProcess) listen(c Command, e *Event) error {
	lis, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", c.Port)) //nolint:noctx // it does not block
	if err != nil {
		return err
	}
	p.keep(c.Tag, lis.Close)
	e.Data = strconv.Itoa(lis.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			p.tell(Event{Kind: "accepted", Tag: c.Tag})
			go strangers[c.Data](conn)
		}
	}()
	return nil
}

var strangers = map[string]func(net.Conn){
	"silent": func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
	"closes": func(conn net.Conn) { _ = conn.Close() },
	"http": func(conn net.Conn) {
		buf := make([]byte, 4096)
		_, _ = conn.Read(buf)
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request")
		_ = conn.Close()
	},
}

// strange connects to the port, c.Times at once. Each connection says what
// c.Data is in hexadecimal digits or, if there is c.Method, what that says. They
// stay until c.Tag ends.
func (p *childProcess) strange(c Command) error {
	say, err := saying(c)
	if err != nil {
		return err
	}
	var conns []net.Conn
	p.keep(c.Tag, func() error {
		for _, conn := range conns {
			_ = conn.Close()
		}
		return nil
	})
	var all sync.WaitGroup
	for range c.Times {
		conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", c.Port)) //nolint:noctx // it does not block
		if err != nil {
			return err
		}
		conns = append(conns, conn)
		all.Go(func() { say(conn) })
	}
	all.Wait()
	return nil
}

func saying(c Command) (func(net.Conn), error) {
	switch c.Method {
	case "":
		text, err := hex.DecodeString(c.Data)
		return func(conn net.Conn) { _, _ = conn.Write(text) }, err
	case "hello": // of TLS
		return func(conn net.Conn) {
			_ = tls.Client(halfDeaf{conn}, hello(c.Data)).Handshake() //nolint:noctx // it does not block
			_, _ = conn.Read(make([]byte, 1))                         // until there is an answer
		}, nil
	case "certificate", "names":
		filler := pkix.Extension{Id: []int{1, 3, 6, 1, 4, 1, 99999}, Value: bytes.Repeat([]byte{5}, len(c.Data))}
		if c.Method == "names" {
			filler = names(len(c.Data))
		}
		cert, err := selfSigned(filler)
		config := hello("")
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil } // whatever the other end would like
		return func(conn net.Conn) { _ = tls.Client(conn, config).Handshake() }, err                                    //nolint:noctx // it does not block
	}
	return nil, fmt.Errorf("no stranger says %q", c.Method)
}

// halfDeaf is a connection whose end hears nothing and says nothing more.
type halfDeaf struct{ net.Conn }

func (halfDeaf) Read([]byte) (int, error) { return 0, errors.New("does not listen") }

// Write does not tell that the end is deaf.
func (d halfDeaf) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == 21 { // an alert
		return len(p), nil
	}
	return d.Conn.Write(p)
}

// hello is of the version of TLS, or has a share of the curve, that kind says.
func hello(kind string) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}} //nolint:gosec // a stranger
	switch kind {
	case "1.2":
		c.MaxVersion = tls.VersionTLS12
	case "P-521":
		c.CurvePreferences = []tls.CurveID{tls.CurveP521}
	}
	return c
}

// selfSigned returns a certificate that nobody has a reason to believe, with
// something in it that nobody needs.
func selfSigned(filler pkix.Extension) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stranger"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		ExtraExtensions: []pkix.Extension{filler},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// names are as many as fit in so many bytes, of the kind that package x509 makes
// most of: addresses of a letter.
func names(size int) pkix.Extension {
	all := bytes.Repeat([]byte{0x86, 1, 'a'}, size/3)
	return pkix.Extension{Id: []int{2, 5, 29, 17}, Value: append([]byte{0x30, 0x82, byte(len(all) >> 8), byte(len(all))}, all...)}
}

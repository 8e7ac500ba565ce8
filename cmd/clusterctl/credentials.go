package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/clusterclient/clusterclient"
)

// readCredentials returns what lets this process in where more is asked for
// than the user.
func (a *app) readCredentials() ([]clusterclient.Option, error) {
	var opts []clusterclient.Option
	if a.secretFile != "" {
		secret, err := os.ReadFile(a.secretFile)
		if err != nil {
			return nil, err
		}
		opts = append(opts, clusterclient.WithSecret(bytes.TrimRight(secret, "\r\n")))
	}
	if a.tlsCert == "" && a.tlsKey == "" && a.tlsCA == "" {
		return opts, nil
	}
	cert, err := tls.LoadX509KeyPair(a.tlsCert, a.tlsKey)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(a.tlsCA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate", a.tlsCA)
	}
	return append(opts, clusterclient.WithTLS(&tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots})), nil
}

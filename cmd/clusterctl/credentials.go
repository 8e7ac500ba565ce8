package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
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
	config, err := a.tlsConfig()
	if config != nil {
		opts = append(opts, clusterclient.WithTLS(config))
	}
	return opts, err
}

// tlsConfig returns nil when no flag is about TLS.
func (a *app) tlsConfig() (*tls.Config, error) {
	switch {
	case a.tlsCert != "" && a.tlsKey != "" && a.tlsCA != "":
	case a.tlsCert+a.tlsKey+a.tlsCA+a.tlsName == "":
		return nil, nil
	default:
		return nil, errors.New("-tls-cert, -tls-key and -tls-ca are needed together")
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
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, ServerName: a.tlsName}, nil
}

package gate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/clusterclient/clusterclient/internal/patience"
)

// shake runs one TLS handshake, in which the user's configuration runs code:
// callbacks, and keys, clocks and the like of his own. It may panic, or end its
// goroutine, and that costs the connection and nothing else.
func shake(handshake func() error) error { return patience.Run("code of WithTLS", handshake) }

// guard makes the callbacks of c, which is a copy, fail where they do something
// else than return, so that package tls tells the other end.
func guard(c *tls.Config) {
	c.GetCertificate = guarded("GetCertificate", c.GetCertificate)
	c.GetClientCertificate = guarded("GetClientCertificate", c.GetClientCertificate)
	c.GetConfigForClient = guarded("GetConfigForClient", c.GetConfigForClient)
	c.GetEncryptedClientHelloKeys = guarded("GetEncryptedClientHelloKeys", c.GetEncryptedClientHelloKeys)
	c.VerifyConnection = judging("VerifyConnection", c.VerifyConnection)
	c.EncryptedClientHelloRejectionVerify = judging("EncryptedClientHelloRejectionVerify", c.EncryptedClientHelloRejectionVerify)
	if verify := c.VerifyPeerCertificate; verify != nil {
		c.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) error {
			return judge("VerifyPeerCertificate", func() error { return verify(raw, chains) })
		}
	}
}

func guarded[A, R any](name string, callback func(A) (R, error)) func(A) (R, error) {
	if callback == nil {
		return nil
	}
	return func(a A) (r R, err error) {
		err = patience.Run(name+" of WithTLS", func() (err error) { r, err = callback(a); return err })
		return r, err
	}
}

func judging[A any](name string, callback func(A) error) func(A) error {
	if callback == nil {
		return nil
	}
	return func(a A) error { return judge(name, func() error { return callback(a) }) }
}

func judge(name string, callback func() error) error {
	if err := patience.Run(name+" of WithTLS", callback); err != nil {
		return unbelieved{err}
	}
	return nil
}

// unbelieved is why the user's code does not believe a certificate.
type unbelieved struct{ error }

func (u unbelieved) Unwrap() error { return u.error }

// ownFault returns what the user's code did in this process that was not to judge
// the other end; nil when that is not what err is.
func ownFault(err error) error {
	if f, ok := errors.AsType[*patience.Fault](err); ok && !errors.As(err, new(unbelieved)) {
		return f
	}
	return nil
}

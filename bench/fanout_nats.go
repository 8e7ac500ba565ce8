package main

import (
	"errors"
	"strconv"

	"github.com/nats-io/nats.go"
)

// natsFan is NATS core: a subject, and a subscription with its callback, for
// each key, or one subscription to all of them, and a nats-server in a process
// of its own.
type natsFan struct{ oneReader bool }

func (natsFan) source(broker string, keys int) (string, func(int, []byte) error, func() error, error) {
	conn, err := nats.Connect(broker)
	if err != nil {
		return "", nil, nil, err
	}
	subjects := make([]string, keys)
	for k := range subjects {
		subjects[k] = natsKey(k)
	}
	return broker, func(key int, value []byte) error { return conn.Publish(subjects[key], value) }, closeNATS(conn), nil
}

func (f natsFan) subscribe(address string, keys int, got func([]byte)) (func() error, error) {
	conn, err := nats.Connect(address)
	if err != nil {
		return nil, err
	}
	subjects := []string{"key.*"}
	if !f.oneReader {
		subjects = nil
		for k := range keys {
			subjects = append(subjects, natsKey(k))
		}
	}
	for _, subject := range subjects {
		if _, err := conn.Subscribe(subject, func(m *nats.Msg) { got(m.Data) }); err != nil {
			return nil, errors.Join(err, closeNATS(conn)())
		}
	}
	return closeNATS(conn), conn.Flush()
}

func natsKey(key int) string { return "key." + strconv.Itoa(key) }

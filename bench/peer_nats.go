package main

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	natsSubject  = "echo"
	startTimeout = 15 * time.Second
	callTimeout  = 30 * time.Second
)

// natsCallPeer is request and reply over a nats-server in a process of its
// own, with the client's defaults.
type natsCallPeer struct{}

func (natsCallPeer) broker() (string, func() error, error) { return runNATS() }

func (natsCallPeer) serve(broker string) (string, func() error, error) {
	conn, err := nats.Connect(broker)
	if err != nil {
		return "", nil, err
	}
	_, err = conn.Subscribe(natsSubject, func(m *nats.Msg) { _ = m.Respond(m.Data) })
	if err == nil {
		err = conn.Flush()
	}
	return broker, closeNATS(conn), err
}

func (natsCallPeer) dial(address string) (func(context.Context) error, func() error, error) {
	conn, err := nats.Connect(address)
	if err != nil {
		return nil, nil, err
	}
	request := []byte(payload)
	return func(context.Context) error {
		reply, err := conn.Request(natsSubject, request, callTimeout)
		if err != nil {
			return err
		}
		return echoed(len(reply.Data))
	}, closeNATS(conn), nil
}

func closeNATS(conn *nats.Conn) func() error {
	return func() error { conn.Close(); return nil }
}

// runNATS runs a nats-server on a free port.
func runNATS() (string, func() error, error) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		return "", nil, err
	}
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		return "", nil, errors.New("nats-server is not ready")
	}
	return s.ClientURL(), func() error { s.Shutdown(); s.WaitForShutdown(); return nil }, nil
}

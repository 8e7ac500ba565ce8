package main

import (
	"context"
	"net/rpc"
)

// rpcPeer is the standard library's net/rpc with gob, on one connection.
type rpcPeer struct{}

func (rpcPeer) serve(string) (string, func() error, error) {
	l, err := listenLoopback()
	if err != nil {
		return "", nil, err
	}
	s := rpc.NewServer()
	if err := s.RegisterName("Echo", new(rpcEcho)); err != nil {
		return "", nil, err
	}
	go func() { // as Accept does, which logs that it was closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.ServeConn(conn)
		}
	}()
	return l.Addr().String(), l.Close, nil
}

func (rpcPeer) dial(address string) (func(context.Context) error, func() error, error) {
	conn, err := dialLoopback(address)
	if err != nil {
		return nil, nil, err
	}
	client := rpc.NewClient(conn)
	request := []byte(payload)
	return func(context.Context) error {
		var reply []byte
		if err := client.Call("Echo.Echo", request, &reply); err != nil {
			return err
		}
		return echoed(len(reply))
	}, client.Close, nil
}

type rpcEcho struct{}

// Echo answers with the request.
func (*rpcEcho) Echo(request []byte, reply *[]byte) error {
	*reply = request
	return nil
}

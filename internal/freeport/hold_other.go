//go:build !linux

package freeport

import (
	"io"
	"net"
)

func hold() (address string, held io.Closer, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	return l.Addr().String(), nothing{}, l.Close()
}

type nothing struct{}

func (nothing) Close() error { return nil }

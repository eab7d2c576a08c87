package ssltest

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
)

// ClientHello returns the TLS record of a ClientHello with any bytes as the server name,
// including many that no TLS client would send: it is the record of a real client, with the
// name replaced. The name has 1 to 10 000 bytes. Write the record to a connection and read
// the answer: an alert has type 21, and its number in the seventh byte.
func ClientHello(t testing.TB, serverName string) []byte {
	t.Helper()
	placeholder := strings.Repeat("q", len(serverName))
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		defer theirs.Close()
		_ = tls.Client(theirs, ClientConfig(placeholder)).Handshake()
	}()
	header := make([]byte, 5)
	if _, err := io.ReadFull(ours, header); err != nil {
		t.Fatalf("ssltest: ClientHello: %v", err)
	}
	body := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(ours, body); err != nil {
		t.Fatalf("ssltest: ClientHello: %v", err)
	}
	// The name stands behind its length.
	field := func(name string) []byte {
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(name))), name...)
	}
	if bytes.Count(body, field(placeholder)) != 1 {
		t.Fatalf("ssltest: ClientHello: a name of %d bytes cannot be put in", len(serverName))
	}
	return append(header, bytes.Replace(body, field(placeholder), field(serverName), 1)...)
}

// Fragment splits one TLS record that holds a handshake message, such as a [ClientHello],
// into records of n bytes each. TLS allows that, and gateways that looked for the server
// name only in the first record have let connections through to the wrong place
// (CVE-2026-32305).
func Fragment(record []byte, n int) (records []byte) {
	for body := record[5:]; len(body) > 0; {
		piece := body[:min(n, len(body))]
		body = body[len(piece):]
		records = append(records, record[:3]...)
		records = binary.BigEndian.AppendUint16(records, uint16(len(piece)))
		records = append(records, piece...)
	}
	return records
}

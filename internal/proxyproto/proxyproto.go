// Package proxyproto reads the header that a proxy puts before a connection to say
// whose it is: the PROXY protocol of HAProxy, versions 1 and 2.
//
// [Read] takes the header and no byte after it, so that what follows can be read from
// the connection itself, without a buffer between. It takes less than the
// specification allows where that lets two readers understand the same bytes
// differently.
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// A Header is what a proxy says of a connection.
type Header struct {
	// Source and Destination are the two ends of the connection that the proxy has accepted.
	// They are zero if the proxy does not say: in LOCAL and UNKNOWN, with which it speaks for
	// itself, and for anything but TCP over IP. Then the ends of the connection over which the
	// header came are meant. An IPv4 address that was written as an IPv6 one is an IPv4 address
	// here.
	Source, Destination netip.AddrPort
}

// MaxSize bounds a header, in bytes. That of version 1 is at most 107 (section 2.1);
// one of version 2 may say 65551, of which nobody needs so many: 4096 is nginx's bound.
const MaxSize = 4096

const (
	maxLine   = 107 // of version 1, with CR LF
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	fixedSize = 16 // of version 2: the signature, version and command, family, length
)

// A FormatError says why what came is no header.
type FormatError struct{ Reason string }

func (e *FormatError) Error() string { return "proxyproto: " + e.Reason }

func malformed(format string, args ...any) error {
	return &FormatError{fmt.Sprintf(format, args...)}
}

// Read reads a header of either version. It fails with a *[FormatError] if what comes is
// none, as soon as that can be seen, and with an error of r otherwise: with
// [io.ErrUnexpectedEOF] if r ends before the header does. How long it waits is r's
// to say.
func Read(r io.Reader) (Header, error) {
	buf := buffers.Get().(*[MaxSize]byte)
	defer buffers.Put(buf)
	in := input{r: r, buf: buf}
	if err := in.begin(); err != nil {
		return Header{}, err
	}
	if in.buf[0] == signature[0] {
		return in.version2()
	}
	return in.version1()
}

var buffers = sync.Pool{New: func() any { return new([MaxSize]byte) }}

// An input is a header that is read.
type input struct {
	r   io.Reader
	buf *[MaxSize]byte
	n   int // bytes of it that came
}

// read reads at most to a size, and at least a byte.
func (in *input) read(size int) error {
	n, err := in.r.Read(in.buf[in.n:size])
	in.n += n
	switch {
	case n > 0:
		return nil // an error will come again
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}

// fill reads to a size.
func (in *input) fill(size int) error {
	for in.n < size {
		if err := in.read(size); err != nil {
			return err
		}
	}
	return nil
}

// begin reads as many bytes as every header has, as far as they are those of one.
func (in *input) begin() error {
	const line = "PROXY "
	for in.n < len(signature) {
		if err := in.read(len(signature)); err != nil {
			return err
		}
		got := in.buf[:in.n]
		if !bytes.HasPrefix([]byte(signature), got) && !bytes.HasPrefix([]byte(line), got[:min(len(got), len(line))]) {
			return malformed("no PROXY header")
		}
	}
	return nil
}

// version1 reads a line of text (section 2.1), by as many bytes at a time as must be
// there: a line may be the last thing that comes before an answer.
func (in *input) version1() (Header, error) {
	for {
		got := in.buf[:in.n]
		switch i := bytes.IndexAny(got, "\r\n"); {
		case i < 0, i == len(got)-1 && got[i] == '\r':
		case string(got[i:]) == "\r\n":
			return parseLine(string(got[:i]))
		default:
			return Header{}, malformed("a line that does not end with CR LF")
		}
		if in.n >= maxLine {
			return Header{}, malformed("a line of more than %d bytes", maxLine)
		}
		least := 2 // CR LF
		if got[in.n-1] == '\r' {
			least = 1
		}
		if err := in.fill(min(max(in.n+least, shortest(got)), maxLine)); err != nil {
			return Header{}, err
		}
	}
}

// shortest returns how many bytes a line has at least that begins so.
func shortest(got []byte) int {
	switch {
	case bytes.ContainsAny(got, "\r\n"):
		return 0
	case bytes.HasPrefix(got, []byte("PROXY TCP4 ")):
		return len("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n")
	case bytes.HasPrefix(got, []byte("PROXY TCP6 ")):
		return len("PROXY TCP6 :: :: 1 1\r\n")
	}
	return len("PROXY UNKNOWN\r\n")
}

func parseLine(line string) (Header, error) {
	fields := strings.Split(line, " ")
	switch fields[1] {
	case "UNKNOWN":
		return Header{}, nil // and what else there may be means nothing
	case "TCP4", "TCP6":
	default:
		return Header{}, malformed("the protocol %q", fields[1])
	}
	if len(fields) != 6 {
		return Header{}, malformed("a line of %d fields", len(fields))
	}
	four := fields[1] == "TCP4"
	source, err := parseAddr(fields[2], fields[4], four)
	if err != nil {
		return Header{}, err
	}
	destination, err := parseAddr(fields[3], fields[5], four)
	if err != nil {
		return Header{}, err
	}
	return Header{source, destination}, nil
}

func parseAddr(addr, port string, four bool) (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Is4() != four || ip.Zone() != "" {
		return netip.AddrPort{}, malformed("the address %q", addr)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, malformed("the port %q", port)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), nil
}

// The commands and the families, with the transport, of version 2.
const (
	local = 0x20
	proxy = 0x21

	tcp4 = 0x11
	tcp6 = 0x21
)

// sizeOf is the size of the addresses of a family.
var sizeOf = [...]int{0, 4 + 4 + 2 + 2, 16 + 16 + 2 + 2, 108 + 108}

// version2 reads a binary header (section 2.2).
func (in *input) version2() (Header, error) {
	if err := in.fill(fixedSize); err != nil {
		return Header{}, err
	}
	command, family := in.buf[12], in.buf[13]
	if command != local && command != proxy {
		return Header{}, malformed("version and command 0x%02x", command)
	}
	size := fixedSize + int(binary.BigEndian.Uint16(in.buf[14:]))
	if size > MaxSize {
		return Header{}, malformed("a header of %d bytes", size)
	}
	if err := in.fill(size); err != nil {
		return Header{}, err
	}
	if command == local {
		return Header{}, nil // whatever else it says, the family included
	}
	if int(family>>4) >= len(sizeOf) || family&0xf > 2 {
		return Header{}, malformed("the family 0x%02x", family)
	}
	body := in.buf[fixedSize:size]
	addresses := sizeOf[family>>4]
	if len(body) < addresses {
		return Header{}, malformed("%d bytes for addresses of the family 0x%02x", len(body), family)
	}
	if family>>4 != 0 { // without a family, nothing is said of what follows
		if err := checkTLVs(in.buf[:size], fixedSize+addresses); err != nil {
			return Header{}, err
		}
	}
	switch family {
	case tcp4:
		return Header{addrAt(body[0:4], body[8:]), addrAt(body[4:8], body[10:])}, nil
	case tcp6:
		return Header{addrAt(body[0:16], body[32:]), addrAt(body[16:32], body[34:])}, nil
	}
	return Header{}, nil
}

func addrAt(addr, port []byte) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(addr)
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(port))
}

const typeCRC32C = 0x03 // PP2_TYPE_CRC32C

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkTLVs passes over the values after the addresses, and checks the checksum, if
// there is one (section 2.2.3).
func checkTLVs(header []byte, at int) error {
	sum := -1
	for at < len(header) {
		if len(header)-at < 3 {
			return malformed("a TLV that is cut off")
		}
		kind, size := header[at], int(binary.BigEndian.Uint16(header[at+1:]))
		at += 3
		if size > len(header)-at {
			return malformed("a TLV that is cut off")
		}
		if kind == typeCRC32C {
			if size != crc32.Size || sum >= 0 {
				return malformed("a checksum of %d bytes, or a second one", size)
			}
			sum = at
		}
		at += size
	}
	if sum < 0 {
		return nil
	}
	// It is that of the header with zeros in its place.
	want := binary.BigEndian.Uint32(header[sum:])
	got := crc32.Update(0, castagnoli, header[:sum])
	got = crc32.Update(got, castagnoli, make([]byte, crc32.Size))
	got = crc32.Update(got, castagnoli, header[sum+crc32.Size:])
	if got != want {
		return malformed("the checksum is not that of the header")
	}
	return nil
}

package proxyproto_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/proxyproto"
)

const signature = "\r\n\r\n\x00\r\nQUIT\n"

// v2 is a header of version 2.
func v2(command, family byte, body ...[]byte) string {
	all := bytes.Join(body, nil)
	head := append([]byte(signature), command, family)
	return string(append(binary.BigEndian.AppendUint16(head, uint16(len(all))), all...))
}

func tlv(kind byte, value string) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value))), value...)
}

// summed sets the checksum, which is the first TLV of that type, of a header.
func summed(header string, at int) string {
	b := []byte(header)
	binary.BigEndian.PutUint32(b[at+3:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return string(b)
}

var (
	four = []byte{192, 0, 2, 1, 198, 51, 100, 7, 0x30, 0x39, 0x01, 0xbb}
	six  = append(append(append([]byte{}, netip.MustParseAddr("2001:db8::1").AsSlice()...), netip.MustParseAddr("2001:db8::2").AsSlice()...), 0x30, 0x39, 0x01, 0xbb)
)

var accepted = map[string][2]string{
	"PROXY TCP4 192.0.2.1 198.51.100.7 12345 443\r\n":            {"192.0.2.1:12345", "198.51.100.7:443"},
	"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n":                         {"0.0.0.0:0", "0.0.0.0:0"},
	"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": {"255.255.255.255:65535", "255.255.255.255:65535"},
	"PROXY TCP6 2001:db8::1 2001:DB8::2 12345 443\r\n":           {"[2001:db8::1]:12345", "[2001:db8::2]:443"},
	"PROXY TCP6 :: ::1 1 2\r\n":                                  {"[::]:1", "[::1]:2"},
	"PROXY TCP6 ::ffff:192.0.2.1 ::2 1 2\r\n":                    {"192.0.2.1:1", "[::2]:2"},
	"PROXY UNKNOWN\r\n":                                          {},
	"PROXY UNKNOWN ffff:f...f:ffff whatever 65535 65535\r\n":     {},
	"PROXY UNKNOWN" + strings.Repeat(" ", 92) + "\r\n":           {},
	v2(0x20, 0x00):                     {},
	v2(0x20, 0xff, []byte("anything")): {},
	v2(0x21, 0x11, four):               {"192.0.2.1:12345", "198.51.100.7:443"},
	v2(0x21, 0x21, six):                {"[2001:db8::1]:12345", "[2001:db8::2]:443"},
	v2(0x21, 0x11, four, tlv(0x01, "h2"), tlv(0x04, "")):                                       {"192.0.2.1:12345", "198.51.100.7:443"},
	v2(0x21, 0x11, four, tlv(0x04, strings.Repeat("x", 4096-16-12-3))):                         {"192.0.2.1:12345", "198.51.100.7:443"},
	summed(v2(0x21, 0x11, four, tlv(0x03, "\x00\x00\x00\x00"), tlv(0x02, "a.test")), 28):       {"192.0.2.1:12345", "198.51.100.7:443"},
	summed(v2(0x21, 0x21, six, tlv(0x02, "a.test"), tlv(0x03, "\x00\x00\x00\x00")), 16+36+3+6): {"[2001:db8::1]:12345", "[2001:db8::2]:443"},
	v2(0x21, 0x12, four):               {}, // UDP
	v2(0x21, 0x31, make([]byte, 216)):  {}, // a Unix socket
	v2(0x21, 0x00, []byte("anything")): {},
}

var refused = []string{
	"GET / HTTP/1.1\r\n\r\n",
	"PROXY  TCP4 192.0.2.1 198.51.100.7 1 2\r\n",
	"PROXY TCP4  192.0.2.1 198.51.100.7 1 2\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.7 1 2 \r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.7 1 2 3\r\n",
	"PROXY TCP4 192.0.2.01 198.51.100.7 1 2\r\n",
	"PROXY TCP4 192.0.2 198.51.100.7 1 2\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.256 1 2\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.7 01 2\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.7 +1 2\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.7 65536 2\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.7 1 -2\r\n",
	"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
	"PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n",
	"PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n",
	"PROXY TCP6 2001:db8::g ::2 1 2\r\n",
	"PROXY TCP6 ::1 ::1::2 1 2\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.7 1 2\n",
	"PROXY TCP4 192.0.2.1 198.51.100.7 1 2\r\r\n",
	"PROXY TCP4\r\n                                 ",
	"PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n",
	"PROXY TCP  192.0.2.1 198.51.100.7 1 2\r\n",
	"proxy TCP4 192.0.2.1 198.51.100.7 1 2\r\n",
	"PROXY UNKNOWN\n                        ",
	"PROXY UNKNOWN \r \r\n                       ",
	"PROXY UNKNOWN" + strings.Repeat(" ", 93) + "\r\n",
	"\r\n\r\n\x00\r\nQUIT\r" + "\x21\x11\x00\x00",
	v2(0x11, 0x11, four),
	v2(0x31, 0x11, four),
	v2(0x22, 0x11, four),
	v2(0x21, 0x41, four),
	v2(0x21, 0x13, four),
	v2(0x21, 0x11, four[:11]),
	v2(0x21, 0x21, six[:35]),
	v2(0x21, 0x31, make([]byte, 215)),
	v2(0x21, 0x11, four, []byte{1}),
	v2(0x21, 0x11, four, []byte{1, 0}),
	v2(0x21, 0x11, four, []byte{1, 0, 1}),
	v2(0x21, 0x11, four, tlv(0x03, "\x00\x00\x00\x00")),
	v2(0x21, 0x11, four, tlv(0x03, "\x00\x00\x00")),
	summed(v2(0x21, 0x11, four, tlv(0x03, "\x00\x00\x00\x00"), tlv(0x03, "\x00\x00\x00\x00")), 28),
	summed(v2(0x21, 0x11, four, tlv(0x03, "\x00\x00\x00\x00"), tlv(0x03, "\x00\x00\x00\x00")), 28+7), // the second is right
	v2(0x21, 0x11, four, tlv(0x04, strings.Repeat("x", 4097-16-12-3))),
}

// parse reads the header of a connection, and returns what is left on it.
func parse(r io.Reader) (proxyproto.Header, string, error) {
	h, err := proxyproto.Read(r)
	rest, _ := io.ReadAll(r)
	return h, string(rest), err
}

func TestRead(t *testing.T) {
	const next = "PROXY TCP4 192.0.2.9\r\n\r\n"
	for text, want := range accepted {
		for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader} {
			h, rest, err := parse(wrap(strings.NewReader(text + next)))
			require.NoError(t, err, "%q", text)
			require.Equal(t, next, rest, "%q", text)
			require.Equal(t, header(want[0], want[1]), h, "%q", text)
		}
		// It waits for nothing after the header, and does not do with less.
		_, err := proxyproto.Read(io.MultiReader(strings.NewReader(text), iotest.ErrReader(errors.New("it has read on"))))
		require.NoError(t, err, "%q", text)
		for n := range len(text) {
			_, err := proxyproto.Read(strings.NewReader(text[:n]))
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%q", text[:n])
		}
	}
}

func TestRefused(t *testing.T) {
	for _, text := range refused {
		var format *proxyproto.FormatError
		_, err := proxyproto.Read(strings.NewReader(text))
		require.ErrorAs(t, err, &format, "%q", text)
		_, err = proxyproto.Read(iotest.OneByteReader(strings.NewReader(text)))
		require.ErrorAs(t, err, &format, "%q", text)
	}
	// Who speaks something else is not waited for.
	for _, text := range []string{"G", "PG", "\r\nG", "\x16\x03\x01"} {
		_, err := proxyproto.Read(io.MultiReader(strings.NewReader(text), iotest.ErrReader(errors.New("it has read on"))))
		require.EqualError(t, err, "proxyproto: no PROXY header", "%q", text)
	}
	_, err := proxyproto.Read(iotest.ErrReader(io.ErrClosedPipe))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func header(source, destination string) (h proxyproto.Header) {
	if source != "" {
		h = proxyproto.Header{Source: netip.MustParseAddrPort(source), Destination: netip.MustParseAddrPort(destination)}
	}
	return h
}

var (
	octet     = `(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])`
	dotted    = octet + `\.` + octet + `\.` + octet + `\.` + octet
	decimal   = `(0|[1-9][0-9]{0,4})`
	line4     = regexp.MustCompile(`^PROXY TCP4 (` + dotted + `) (` + dotted + `) ` + decimal + ` ` + decimal + `\r\n`)
	line6     = regexp.MustCompile(`^PROXY TCP6 ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) ` + decimal + ` ` + decimal + `\r\n`)
	unknown   = regexp.MustCompile(`^PROXY UNKNOWN(?: [^\r\n]*)?\r\n`)
	families2 = map[byte]int{0: 0, 1: 12, 2: 36, 3: 216}
)

// oracle says what all of the bytes are, by the grammar: the size of the header is 0 if
// there is none, or not all of it.
func oracle(b []byte) (h proxyproto.Header, size int) {
	if m := unknown.Find(b); m != nil && len(m) <= 107 {
		return h, len(m)
	}
	for _, line := range []*regexp.Regexp{line4, line6} {
		if m := line.FindSubmatch(b); m != nil && len(m[0]) <= 107 {
			source, err1 := endpoint(string(m[1]), string(m[3]))
			destination, err2 := endpoint(string(m[2]), string(m[4]))
			if line == line6 && (!bytes.Contains(m[1], []byte(":")) || !bytes.Contains(m[2], []byte(":"))) || err1 != nil || err2 != nil {
				return h, 0
			}
			return proxyproto.Header{Source: source, Destination: destination}, len(m[0])
		}
	}
	var fixed struct {
		Signature       [12]byte
		Command, Family byte
		Size            uint16
	}
	if binary.Read(bytes.NewReader(b), binary.BigEndian, &fixed) != nil || string(fixed.Signature[:]) != signature {
		return h, 0
	}
	size = 16 + int(fixed.Size)
	if size > len(b) || size > 4096 || fixed.Command>>4 != 2 || fixed.Command&15 > 1 {
		return h, 0
	}
	if fixed.Command&15 == 0 {
		return h, size
	}
	addresses, ok := families2[fixed.Family>>4]
	if !ok || fixed.Family&15 > 2 || int(fixed.Size) < addresses {
		return h, 0
	}
	if fixed.Family>>4 == 0 {
		return h, size
	}
	whole := bytes.Clone(b[:size])
	sums := 0
	for rest := whole[16+addresses:]; len(rest) > 0; {
		if len(rest) < 3 || len(rest) < 3+int(binary.BigEndian.Uint16(rest[1:])) {
			return h, 0
		}
		value := rest[3 : 3+int(binary.BigEndian.Uint16(rest[1:]))]
		if rest[0] == 3 {
			if sums++; sums > 1 || len(value) != 4 {
				return h, 0
			}
			told := binary.BigEndian.Uint32(value)
			clear(value)
			if told != crc32.Checksum(whole, crc32.MakeTable(crc32.Castagnoli)) {
				return h, 0
			}
		}
		rest = rest[3+len(value):]
	}
	switch fixed.Family {
	case 0x11:
		var a struct {
			From, To         [4]byte
			FromPort, ToPort uint16
		}
		_, _ = binary.Decode(whole[16:], binary.BigEndian, &a)
		h = proxyproto.Header{Source: netip.AddrPortFrom(netip.AddrFrom4(a.From), a.FromPort), Destination: netip.AddrPortFrom(netip.AddrFrom4(a.To), a.ToPort)}
	case 0x21:
		var a struct {
			From, To         [16]byte
			FromPort, ToPort uint16
		}
		_, _ = binary.Decode(whole[16:], binary.BigEndian, &a)
		h = proxyproto.Header{Source: netip.AddrPortFrom(netip.AddrFrom16(a.From).Unmap(), a.FromPort), Destination: netip.AddrPortFrom(netip.AddrFrom16(a.To).Unmap(), a.ToPort)}
	}
	return h, size
}

func endpoint(addr, port string) (netip.AddrPort, error) {
	n, err := strconv.Atoi(port)
	if err != nil || n > 65535 {
		return netip.AddrPort{}, errors.New("no port")
	}
	ip, err := netip.ParseAddr(addr)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), err
}

// What the reader takes and how many bytes are what the grammar says, however the bytes
// come.
func FuzzRead(f *testing.F) {
	for text := range accepted {
		f.Add([]byte(text + "GET /"))
	}
	for _, text := range refused {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want, size := oracle(b)
		for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader} {
			h, rest, err := parse(wrap(bytes.NewReader(b)))
			if size == 0 {
				require.Error(t, err)
				require.Zero(t, h)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, want, h)
			require.Equal(t, string(b[size:]), rest)
		}
	})
}

func TestOracle(t *testing.T) {
	for text := range accepted {
		_, size := oracle([]byte(text))
		require.Len(t, text, size)
	}
	for _, text := range refused {
		_, size := oracle([]byte(text))
		require.Zero(t, size, "%q", text)
	}
}

package adminapi

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// This file is the format of a [File]: a head, and then transactions. The first holds
// what there was when the file was written, and each of the others is a Commit.
//
//	sallyport-storage 1
//	put /routes/1 modified=3 created=1 {"uri":"/a",...}
//	put /routes/2 modified=2 created=2 expires=2026-01-02T03:04:05Z {"uri":"/b",...}
//	commit 3 0f1e2d3c
//	delete /routes/2
//	commit 4 11223344
//
// A transaction counts if its last line is there, with the revision and the CRC-32C of
// its other lines. As each is on the disk before the next is begun, and the first before
// the file is where it is, only the last can be unfinished.

const fileHead = "sallyport-storage 1\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// emptyFile is a file that holds nothing.
var emptyFile = appendCommit([]byte(fileHead), 0, 0)

// A fileLine is a line that puts or deletes a record.
type fileLine struct {
	key               string
	value             []byte
	created, modified int64
	expires           time.Time
	delete            bool
	size              int64 // as it was read, with the line feed
}

func (l fileLine) append(dst []byte) []byte {
	if l.delete {
		return append(appendKey(append(dst, "delete "...), l.key), '\n')
	}
	dst = appendKey(append(dst, "put "...), l.key)
	dst = strconv.AppendInt(append(dst, " modified="...), l.modified, 10)
	dst = strconv.AppendInt(append(dst, " created="...), l.created, 10)
	if !l.expires.IsZero() {
		dst = l.expires.UTC().AppendFormat(append(dst, " expires="...), time.RFC3339Nano)
	}
	dst = append(dst, ' ')
	if isPlainValue(l.value) {
		dst = append(dst, l.value...)
	} else {
		dst = strconv.AppendQuote(dst, string(l.value))
	}
	return append(dst, '\n')
}

// isPlainValue reports whether a value stands in the file as it is: a JSON object on one
// line, as all documents are. Others are quoted as in Go.
func isPlainValue(value []byte) bool {
	if len(value) == 0 || value[0] != '{' || !utf8.Valid(value) {
		return false
	}
	for _, c := range value {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

func appendKey(dst []byte, key string) []byte {
	plain := key != "" && strings.IndexFunc(key, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '"' }) < 0
	if plain {
		return append(dst, key...)
	}
	return strconv.AppendQuoteToASCII(dst, key)
}

func appendCommit(dst []byte, revision int64, sum uint32) []byte {
	return fmt.Appendf(dst, "commit %d %08x\n", revision, sum)
}

// parseLine reads a line with its line feed. The value may be a part of it.
func parseLine(text []byte) (l fileLine, ok bool) {
	l.size = int64(len(text))
	rest, ok := bytes.CutSuffix(text, []byte("\n"))
	if !ok {
		return l, false
	}
	verb, rest, _ := bytes.Cut(rest, []byte(" "))
	l.delete = string(verb) == "delete"
	if !l.delete && string(verb) != "put" {
		return l, false
	}
	if l.key, rest, ok = cutKey(rest); !ok || l.delete {
		return l, ok && len(rest) == 0
	}
	var number [2]int64
	for i, name := range []string{"modified=", "created="} {
		if rest, ok = bytes.CutPrefix(rest, []byte(" "+name)); !ok {
			return l, false
		}
		digits, _, _ := bytes.Cut(rest, []byte(" "))
		n, err := strconv.ParseInt(string(digits), 10, 64)
		if err != nil || n <= 0 {
			return l, false
		}
		number[i], rest = n, rest[len(digits):]
	}
	l.modified, l.created = number[0], number[1]
	if after, has := bytes.CutPrefix(rest, []byte(" expires=")); has {
		at, _, _ := bytes.Cut(after, []byte(" "))
		expires, err := time.Parse(time.RFC3339Nano, string(at))
		if err != nil || expires.IsZero() {
			return l, false
		}
		l.expires, rest = expires.UTC(), after[len(at):]
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(" ")); !ok {
		return l, false
	}
	if isPlainValue(rest) {
		l.value = rest
		return l, true
	}
	value, err := unquote(rest)
	l.value = []byte(value)
	return l, err == nil
}

// cutKey reads a key, up to a blank or the end.
func cutKey(text []byte) (key string, rest []byte, ok bool) {
	if !bytes.HasPrefix(text, []byte(`"`)) {
		before, _, _ := bytes.Cut(text, []byte(" "))
		return string(before), text[len(before):], len(before) > 0
	}
	quoted, err := strconv.QuotedPrefix(string(text))
	if err != nil {
		return "", nil, false
	}
	key, err = strconv.Unquote(quoted)
	return key, text[len(quoted):], err == nil
}

// unquote reads a text between double quotes. strconv takes other quotes too.
func unquote(text []byte) (string, error) {
	if !bytes.HasPrefix(text, []byte(`"`)) {
		return "", strconv.ErrSyntax
	}
	return strconv.Unquote(string(text))
}

// parseCommit reads the last line of a transaction.
func parseCommit(text []byte) (revision int64, sum uint32, ok bool) {
	if !bytes.HasPrefix(text, []byte("commit ")) {
		return 0, 0, false
	}
	n, _ := fmt.Sscanf(string(text), "commit %d %x", &revision, &sum)
	return revision, sum, n == 2 && revision >= 0 && bytes.Equal(text, appendCommit(nil, revision, sum))
}

// A transactionsRead is what readTransactions has found.
type transactionsRead struct {
	revision int64
	end      int64 // of the last transaction that counts
	torn     bool  // something stands behind it
}

// readTransactions calls note for each line of each transaction that counts, with its
// offset, and with its value if values are wanted. The error says what is wrong in any
// other way than by a write that was not finished.
func readTransactions(r io.Reader, values bool, note func(l fileLine, offset int64)) (t transactionsRead, err error) {
	in := bufio.NewReaderSize(r, 1<<16)
	head := make([]byte, len(fileHead))
	if _, err := io.ReadFull(in, head); err != nil || string(head) != fileHead {
		return t, fmt.Errorf("is no storage: it does not begin with %q", fileHead)
	}
	t.end = int64(len(fileHead))
	p := pending{at: t.end}
	first, number := true, 1
	var buffer []byte
	for {
		text, err := readLine(in, &buffer)
		if len(text) == 0 && err == io.EOF {
			break
		}
		if err != nil && err != io.EOF {
			return t, err
		}
		number++
		revision, sum, ok := parseCommit(text)
		switch {
		case p.over:
			return t, damaged(p.broken, "another transaction comes behind it")
		case !ok:
			p.add(text, number, values)
		case p.broken == 0 && sum == p.sum && (first || revision == t.revision+1):
			for _, l := range p.lines {
				note(l.fileLine, l.offset)
			}
			t.revision, t.end = revision, p.at+int64(len(text))
			p = pending{at: t.end, lines: p.lines[:0]}
			first = false
			continue
		case revision != t.revision+1:
			return t, damaged(number, "its number is not the next")
		default:
			p.over = true
			p.broken = cmp.Or(p.broken, number)
		}
		p.at += int64(len(text))
	}
	switch {
	case p.broken > 0 && !p.zeros:
		return t, damaged(p.broken, "")
	case first:
		return t, errors.New("its first transaction is not whole: restore a copy of the file")
	}
	t.torn = p.at > t.end
	return t, nil
}

// A pending is a transaction of which the last line has not been read.
type pending struct {
	lines  []placedLine
	sum    uint32
	at     int64 // where its next line begins
	broken int   // number of the first line that is wrong
	over   bool  // its last line was read, and something is wrong with it

	// zeros says that zeros stand in it. So a file system may fill what was not written
	// when the machine stopped; a process that is killed leaves a beginning.
	zeros bool
}

type placedLine struct {
	fileLine
	offset int64
}

// add takes a line that is not the last.
func (p *pending) add(text []byte, number int, values bool) {
	p.zeros = p.zeros || bytes.IndexByte(text, 0) >= 0
	l, ok := parseLine(text)
	if !ok {
		if p.broken == 0 && bytes.HasSuffix(text, []byte("\n")) {
			p.broken = number
		}
		return
	}
	p.sum = crc32.Update(p.sum, castagnoli, text)
	if values {
		l.value = bytes.Clone(l.value)
	} else {
		l.value = nil
	}
	p.lines = append(p.lines, placedLine{l, p.at})
}

func damaged(number int, why string) error {
	if why != "" {
		why = ", and " + why
	}
	return fmt.Errorf("line %d: the transaction is damaged%s: restore a copy of the file", number, why)
}

// readLine reads up to a line feed, and returns it too. The line is valid until the next
// call.
func readLine(in *bufio.Reader, buffer *[]byte) ([]byte, error) {
	*buffer = (*buffer)[:0]
	for {
		part, err := in.ReadSlice('\n')
		if err == nil && len(*buffer) == 0 {
			return part, nil
		}
		*buffer = append(*buffer, part...)
		if err != bufio.ErrBufferFull {
			return *buffer, err
		}
	}
}

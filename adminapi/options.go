package adminapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/secret"
)

// Options are the parts of the outside world that a [Handler] uses. [New] refuses nil and
// zero Options, because they do not say who is let in.
type Options struct {
	// Keys are the keys that are accepted. At least one is required, unless
	// AllowUnauthenticated or Headless is set.
	Keys []Key

	// AllowUnauthenticated accepts requests without a key if Keys is empty, but only those
	// whose Host is localhost or a loopback address. A page in a browser on the same
	// machine cannot make such a request: with another name for the address (DNS rebinding)
	// its Host gives it away, and from another origin its Origin does. Any other program
	// can write whatever Host it likes: so listen on a loopback address.
	AllowUnauthenticated bool

	// Headless is for a Handler that only applies what the Storage holds, or what
	// [*Handler.Load] and [*Handler.WatchFile] are given: it answers every request with
	// 403, and needs no Keys. [*Handler.StatusPage], which changes nothing, is available if
	// there are Keys, or AllowUnauthenticated is set.
	Headless bool

	// AllowClients are the addresses that requests may come from. None means any. What
	// counts is the address of the connection, not what a header says: behind a proxy, it
	// is the proxy's.
	AllowClients []netip.Prefix

	// Storage keeps the documents: a [File], or the etcd of a fleet (module adminapi/etcd).
	// If nil, they are kept in memory, and are lost with the Handler.
	Storage Storage

	// Secrets resolves "$secret://" references in documents. If nil, a document with one is
	// refused. "$env://" references need no resolver.
	Secrets SecretResolver

	// Keyring encrypts private keys where they are stored, as APISIX does with its
	// data_encryption.keyring: AES-CBC with the first key, of 16 or 32 bytes. All of them
	// decrypt what was stored, and what is put encrypted. Without any, keys are stored as
	// they are put. Keys stored in clear can always be read.
	Keyring []Secret

	// Logger receives one record for each change, for each request that was not let in, and
	// for each failure of the storage. For a change that was not made by a request for a
	// single document, it also receives one for each new warning. If nil, nothing is
	// logged. A record in whose handler something panics is lost, and standard error says
	// why.
	Logger *slog.Logger
}

// A Key lets a client in.
type Key struct {
	// Value is what the client sends as X-API-KEY. It must not be empty, must not begin or end
	// with white space, and must differ from those of all other keys.
	Value Secret

	// Role says what the client may do. Zero is [RoleAdmin].
	Role Role
}

// Secret is the text of a key. It always prints as "[redacted]". A string constant can be
// assigned to it.
type Secret string

// String implements [fmt.Stringer].
func (Secret) String() string { return secret.Redacted }

// Format implements [fmt.Formatter]: %x would otherwise show the text.
func (Secret) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(secret.Redacted)) }

// LogValue implements [slog.LogValuer].
func (Secret) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (Secret) MarshalText() ([]byte, error) { return []byte(secret.Redacted), nil }

// Role says what the holder of a key may do.
type Role int

const (
	// RoleAdmin may do everything.
	RoleAdmin Role = iota

	// RoleViewer may read (GET and HEAD). POST /explain is not for it; the status page, whose
	// form explains a request as well, is.
	RoleViewer
)

// keyring returns the Keyring of options that were checked.
func (o *Options) keyring() apisix.Keyring {
	keys := make([]string, len(o.Keyring))
	for i, key := range o.Keyring {
		keys[i] = string(key)
	}
	ring, _ := apisix.NewKeyring(keys...)
	return ring
}

func (o *Options) check() error {
	var faults []error
	if len(o.Keys) == 0 && !o.AllowUnauthenticated && !o.Headless {
		faults = append(faults, errors.New("adminapi: Options.Keys: has no key: whoever reaches the Admin API could change the gateway; set one, or AllowUnauthenticated"))
	}
	for i, p := range o.AllowClients {
		if !p.IsValid() {
			faults = append(faults, fmt.Errorf("adminapi: Options.AllowClients[%d]: is no prefix", i))
		}
	}
	for i, key := range o.Keyring {
		if _, err := apisix.NewKeyring(string(key)); err != nil {
			faults = append(faults, fmt.Errorf("adminapi: Options.Keyring[%d]: %w", i, err))
		}
	}
	seen := map[Secret]int{}
	for i, k := range o.Keys {
		first, again := seen[k.Value]
		switch {
		case k.Value == "":
			faults = append(faults, fmt.Errorf("adminapi: Options.Keys[%d].Value: is empty", i))
		case !sendable(string(k.Value)):
			faults = append(faults, fmt.Errorf("adminapi: Options.Keys[%d].Value: begins or ends with white space or has a control character (the line feed of a file?): no header field can bring it", i))
		case again:
			faults = append(faults, fmt.Errorf("adminapi: Options.Keys[%d].Value: is that of Keys[%d] too: its role would not be clear", i, first))
		default:
			seen[k.Value] = i
		}
		if k.Role != RoleAdmin && k.Role != RoleViewer {
			faults = append(faults, fmt.Errorf("adminapi: Options.Keys[%d].Role: %d is no role", i, k.Role))
		}
	}
	return errors.Join(faults...)
}

// sendable reports whether a header field can have a value (RFC 9110, section
// 5.5). White space around it does not arrive.
func sendable(value string) bool {
	return strings.Trim(value, " ") == value && !strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f })
}

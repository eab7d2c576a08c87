package ssl_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"net"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// spellings are the ways in which secret bytes may show in a text.
func spellings(secret []byte) []string {
	decimal := strings.Trim(fmt.Sprint(secret), "[]")
	var goSyntax []string
	for _, b := range secret {
		goSyntax = append(goSyntax, fmt.Sprintf("%#x", b))
	}
	// Base64 of a part of a text depends on where the part begins: the middle of
	// each of the three readings is looked for.
	var in64 []string
	for shift := range 3 {
		if part := secret[shift:]; len(part) >= 12 {
			in64 = append(in64, base64.StdEncoding.EncodeToString(part[:len(part)/3*3]))
		}
	}
	return append(in64,
		string(secret),
		hex.EncodeToString(secret),
		strings.ToUpper(hex.EncodeToString(secret)),
		strings.Trim(fmt.Sprintf("% x", secret), " "),
		decimal,
		strings.ReplaceAll(decimal, " ", ", "),
		strings.ReplaceAll(decimal, " ", ","),
		strings.Join(goSyntax, ", "),
	)
}

// secretsOf returns what of a pair must show nowhere.
func secretsOf(t *testing.T, pair ssl.KeyPair) (all []string) {
	t.Helper()
	block, _ := pem.Decode(pair.KeyPEM)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	all = secretsIn(t, key)
	for line := range strings.SplitSeq(strings.TrimSpace(string(pair.KeyPEM)), "\n") {
		if !strings.HasPrefix(line, "-----") && len(line) > 20 {
			all = append(all, spellings([]byte(line))...)
		}
	}
	return all
}

// secretsIn returns what of a key is not in its certificate.
func secretsIn(t *testing.T, key any) (all []string) {
	t.Helper()
	var scalar []byte
	var err error
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		scalar, err = key.Bytes()
		require.NoError(t, err)
		//lint:ignore SA1019 it is what a printer would show
		all = append(all, key.D.String())
	case *rsa.PrivateKey:
		scalar = key.D.Bytes()
		all = append(all, key.D.String(), key.Primes[0].String())
	case ed25519.PrivateKey:
		scalar = key.Seed()
	}
	return append(all, spellings(scalar)...)
}

// prints returns everything that the printers of the standard library make of a
// value.
func prints(v any) map[string]string {
	out := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o"} {
		out[verb] = fmt.Sprintf(verb, v)
	}
	if text, err := json.Marshal(v); err == nil {
		out["json"] = string(text)
	}
	if text, err := xml.Marshal(v); err == nil {
		out["xml"] = string(text)
	}
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("x", "v", v)
		out[name] = b.String()
	}
	return out
}

// Whatever of this package is printed, logged or encoded: no private key is in it.
func TestNothingLeaks(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	covered := map[string]bool{}
	for name, pair := range map[string]ssl.KeyPair{
		// The private key of Ed25519 is no pointer, but a slice of bytes.
		"Ed25519": selfSigned(t, edKey, edKey.Public(), "a.test"),
		"ECDSA":   selfSigned(t, ecKey, ecKey.Public(), "a.test"),
		"RSA":     selfSigned(t, rsaKey(), rsaKey().Public(), "a.test"),
	} {
		secrets := secretsOf(t, pair)
		ca := ssltest.NewCA(t, "root")
		config := ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}, Client: &ssl.ClientAuth{CAPEM: ca.PEM()}}
		base := &tls.Config{}
		base.SetSessionTicketKeys([][32]byte{{1}})
		options := &ssl.Options{Base: base, Trace: &ssl.Trace{}}
		store := must(ssl.NewStore(options))
		report, err := store.Put(config)
		require.NoError(t, err)

		// A handshake builds what a profile and a terminator remember.
		s := serveTLS(t, store.TLSConfig())
		_, side := s.visit(t, ssltest.ClientConfig("a.test", ca.Client("alice")))
		require.NoError(t, side.err)
		identity, err := store.Judge(store.Table(), &side.state, "a.test", "/")
		require.NoError(t, err)
		_, refusal := store.Judge(store.Table(), nil, "a.test", "/")
		require.Error(t, refusal)

		mangled := func(text []byte) error {
			c := config
			c.Certificates = []ssl.KeyPair{{CertPEM: text, KeyPEM: text}, {CertPEM: pair.CertPEM, KeyPEM: text}}
			c.Client = &ssl.ClientAuth{CAPEM: text}
			_, err := ssl.New(c)
			require.Error(t, err)
			return err
		}
		misplaced := func(text []byte) error {
			c := config
			c.Certificates = []ssl.KeyPair{{CertPEM: text, KeyPEM: pair.KeyPEM}}
			c.Client = &ssl.ClientAuth{CAPEM: text, CRLs: [][]byte{text}}
			_, err := ssl.New(c)
			require.Len(t, configErrors(t, err), 3)
			return err
		}
		files := ssl.FileConfig{Config: config}
		watcher, err := ssl.Watch(store.Put, nil, files)
		require.NoError(t, err)
		t.Cleanup(watcher.Close)
		var configError *ssl.ConfigError
		require.True(t, errors.As(mangled(pair.KeyPEM[1:]), &configError))
		values := []any{
			config, &config, config.Client, *config.Client, pair, &pair, pair.KeyPEM,
			ssl.Change{Put: []ssl.Config{config}}, report, ssl.Warning{},
			profile(t, config), profile(t, config).Client(), ssl.CRL{}, store, store.Terminator, store.Table(), *store.Table(),
			options, *options, ssl.Trace{}, options.Trace,
			files, &files, watcher, ssl.WatchOptions{}, ssl.KeyPairFiles{}, ssl.Allow{},
			identity, *identity, ssl.NewContext(context.Background(), identity),
			refusal, *refusal.(*ssl.RequestError),
			configError, *configError,
			&ssl.HandshakeError{RemoteAddr: &net.TCPAddr{}, Certificate: identity.Certificate(), Err: errors.New("x"), Reason: ssl.ReasonExpired},
			ssl.ReasonExpired, ssl.XFCCCert,
			store.Stats(), store.Handshakes(), ssl.ProfileStats{}, ssl.VersionCounts{}, ssl.ReasonCount{}, ssl.Histogram{}, ssl.HandshakeEvent{},
			// Not a pointer below the top: fmt shows what a verb that does not fit
			// a pointer points to without asking it.
			struct{ Inner any }{config}, map[string]any{"x": config}, []ssl.KeyPair{pair},

			misplaced(join(pair.CertPEM, pair.KeyPEM)), misplaced(join(pair.KeyPEM, pair.CertPEM)), misplaced(pair.KeyPEM),

			// The errors of a key that came in some way that is wrong.
			mangled(pair.KeyPEM),
			mangled(pair.KeyPEM[1:]),
			mangled(pair.KeyPEM[:len(pair.KeyPEM)-30]),
			mangled(bytes.ReplaceAll(pair.KeyPEM, []byte("\n"), []byte(" "))),
			mangled(bytes.ReplaceAll(pair.KeyPEM, []byte("\n"), nil)),
			mangled(bytes.ReplaceAll(pair.KeyPEM, []byte("\n"), []byte(`\n`))),
			mangled(bytes.ReplaceAll(pair.KeyPEM, []byte("KEY-----\n"), []byte("KEY"))),
			mangled(bytes.ReplaceAll(pair.KeyPEM, []byte(" PRIVATE KEY"), nil)),
			mangled(bytes.ReplaceAll(pair.KeyPEM, []byte("PRIVATE KEY"), []byte("CERTIFICATE"))),
			mangled(bytes.ReplaceAll(pair.KeyPEM, []byte("PRIVATE KEY"), []byte("ENCRYPTED PRIVATE KEY"))),
		}
		for _, v := range values {
			for how, text := range prints(v) {
				for _, secret := range secrets {
					require.NotContains(t, text, secret, "%s: %T by %s", name, v, how)
				}
			}
			typ := reflect.TypeOf(v)
			if typ.Kind() == reflect.Pointer {
				typ = typ.Elem()
			}
			covered[typ.Name()] = true
		}
		// Some verbs print even what a Terminator remembers of connections: none
		// may go away meanwhile.
		runtime.KeepAlive(side)
	}

	// The list above has every exported type.
	for _, name := range exportedTypes(t) {
		if name == "KeyPEM" {
			name = "PEM" // an alias
		}
		require.True(t, covered[name], "the type %s is not among the values", name)
	}
}

func exportedTypes(t *testing.T) (names []string) {
	t.Helper()
	//lint:ignore SA1019 this is one package, without build tags
	files, err := parser.ParseDir(token.NewFileSet(), ".", func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, 0)
	require.NoError(t, err)
	for _, file := range files["ssl"].Files {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() {
				names = append(names, spec.Name.Name)
			}
			return true
		})
	}
	slices.Sort(names)
	require.Contains(t, names, "Profile")
	return names
}

package apisix

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// opensslEncrypt encrypts as APISIX does, with somebody else's program.
func opensslEncrypt(t *testing.T, key, text string) string {
	cipher := fmt.Sprintf("-aes-%d-cbc", len(key)*8)
	cmd := exec.Command("openssl", "enc", cipher, "-K", fmt.Sprintf("%x", key), "-iv", fmt.Sprintf("%x", key[:16]))
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(out)
}

func TestKeyring(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("needs openssl, which is not installed")
	}
	const first, second, long = "qeddd145sfvddff3", "edd1c9f0985e76a2", "0123456789abcdef0123456789abcdef"
	for n := range 34 {
		pem := "---" + strings.Repeat("x", n)
		doc := func(key string) map[Kind]map[string]any {
			up := map[string]any{"nodes": map[string]any{}, "tls": map[string]any{"client_cert": "---c", "client_key": key}}
			return map[Kind]map[string]any{
				SSLs:      {"cert": "---cert", "key": key, "keys": []any{key, "$env://KEY", 1.0}},
				Upstreams: up,
				Routes:    {"uri": "/", "upstream": up},
				Services:  {"upstream": up},
			}
		}
		for _, keys := range [][]string{{first, second}, {second}, {long, first}} {
			ring, err := NewKeyring(keys...)
			require.NoError(t, err)
			others, err := NewKeyring(append([]string{"another key of16"}, keys...)...)
			require.NoError(t, err)
			want := doc(opensslEncrypt(t, keys[0], pem))
			for kind, plain := range doc(pem) {
				require.Equal(t, want[kind], ring.Encrypt(kind, plain))
				require.Equal(t, doc(pem)[kind], plain, "is not changed")
				require.Equal(t, plain, ring.Decrypt(kind, want[kind]))
				require.Equal(t, plain, others.Decrypt(kind, want[kind]))
				require.Equal(t, want[kind], Keyring{}.Decrypt(kind, want[kind]))
				require.Equal(t, plain, Keyring{}.Encrypt(kind, plain))
			}
		}
	}
	for _, key := range []string{"", "short", strings.Repeat("x", 24), strings.Repeat("x", 33)} {
		_, err := NewKeyring(key)
		require.Error(t, err)
	}
}

// What no key has encrypted stays as it is, and nothing panics.
func FuzzKeyringDecrypt(f *testing.F) {
	ring, err := NewKeyring("qeddd145sfvddff3")
	require.NoError(f, err)
	f.Add("", false)
	f.Add("AAAAAAAAAAAAAAAAAAAAAA==", false)
	f.Add("----", true)
	f.Fuzz(func(t *testing.T, text string, encrypt bool) {
		doc := map[string]any{"key": text}
		if encrypt {
			doc = ring.Encrypt(SSLs, doc)
			require.Equal(t, text, ring.Decrypt(SSLs, doc)["key"])
			return
		}
		got := ring.Decrypt(SSLs, doc)["key"].(string)
		require.True(t, got == text || bytes.HasPrefix([]byte(got), []byte("---")))
	})
}

package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/secret"
)

func TestPEMNeverPrints(t *testing.T) {
	const key = "-----BEGIN PRIVATE KEY-----hunter2"
	holder := struct {
		Name string
		Key  secret.PEM
		List []secret.PEM
	}{"a", secret.PEM(key), []secret.PEM{secret.PEM(key)}}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "% x"} {
		fmt.Fprintf(&out, verb+" "+verb+"\n", holder, &holder)
		fmt.Fprintf(&out, verb+"\n", holder.Key)
	}
	b, err := json.Marshal(holder)
	require.NoError(t, err)
	out.Write(b)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", holder.Key, "holder", holder)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", holder.Key, "holder", holder)

	require.Contains(t, out.String(), secret.Redacted)
	require.NotContains(t, out.String(), "hunter2")
	require.NotContains(t, out.String(), fmt.Sprintf("%x", "hunter2"))
	require.NotContains(t, out.String(), fmt.Sprint([]byte("hunter2"))[1:10])
}

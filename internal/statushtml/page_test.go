package statushtml_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"net/url"

	"github.com/sallyport/sallyport/internal/statushtml"
)

func TestDraft(t *testing.T) {
	q, err := statushtml.Parse(url.Values{"url": {"https://shop.example.com/api/x"}})
	require.NoError(t, err)
	f, err := os.Create("/tmp/obs-page.html")
	require.NoError(t, err)
	require.NoError(t, statushtml.Write(f, sample(), q))
}

package gateway_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// h2spec runs that program against a port, and returns how many of its cases there are,
// and those that failed.
func h2spec(t *testing.T, program string, d door) (cases int, failed []string) {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.xml")
	args := []string{"--host", "127.0.0.1", "--port", d.port(), "--junit-report", report}
	if d.tls {
		args = append(args, "--tls", "--insecure")
	}
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput() // fails if a case does
	text, missing := os.ReadFile(report)
	require.NoError(t, missing, "%v: %s", err, out)
	var suites struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	text = bytes.ReplaceAll(text, []byte{0}, nil) // of what it was sent
	require.NoError(t, xml.Unmarshal(text, &suites))
	for _, suite := range suites.Suites {
		for _, c := range suite.Cases {
			cases++
			if c.Failure != nil || c.Error != nil {
				failed = append(failed, c.Package+": "+c.Name)
			}
		}
	}
	return cases, failed
}

// What the gateway does with HTTP/2 is what the standard says; net/http's server, which can
// stand in for it, does not in four cases. SALLYPORT_TEST_H2SPEC is the program h2spec;
// without it the test is skipped.
func TestH2Spec(t *testing.T) {
	program := os.Getenv("SALLYPORT_TEST_H2SPEC")
	if program == "" {
		t.Skip("SALLYPORT_TEST_H2SPEC is not set")
	}
	o := &gateway.Options{}
	o.TLS.FallbackName = "a.test" // it connects to an address
	h := newHarness(t, o)
	// It reads the body: who answers before it comes may be right too.
	reader := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello")
	})
	h.apply(gateway.Config{
		Profiles: []ssl.Config{h.profile("1", []string{"a.test"})},
		Routes:   []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: reader}},
	})
	cases, baseline := h2spec(t, program, h.handler2)
	t.Logf("net/http's server: %d of %d", cases-len(baseline), cases)
	require.Greater(t, cases, 100)
	for _, d := range []door{h.http2, h.plain2} {
		cases, failed := h2spec(t, program, d)
		t.Logf("%s: %d of %d; not: %q", d.name, cases-len(failed), cases, failed)
		if !d.tls { // what is no preface is HTTP/1.1 there
			failed = slices.DeleteFunc(failed, func(c string) bool { return c == "http2/3.5: Sends invalid connection preface" })
		}
		require.Empty(t, failed, d.name)
	}
}

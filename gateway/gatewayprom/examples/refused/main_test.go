package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A real Prometheus reads the metrics of a real gateway, and answers why clients were
// refused.
func TestRefused(t *testing.T) {
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip("needs prometheus, which is not installed")
	}
	binary := filepath.Join(t.TempDir(), "refused")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, binary)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it stops Prometheus
	cmd.WaitDelay = 30 * time.Second
	var faults bytes.Buffer
	cmd.Stderr = &faults
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var printed strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		printed.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "Ctrl-C stops") {
			break
		}
	}
	cancel()
	require.ErrorIs(t, cmd.Wait(), context.Canceled, faults.String()) // that is: not an exit status of its own
	require.Contains(t, printed.String(), why)
	for _, row := range []string{
		`partners +expired +[1-9]\d*`, `partners +no_client_cert +[1-9]\d*`, `partners +unknown_ca +[1-9]\d*`, ` +unknown_sni +[1-9]\d*`,
	} {
		require.Regexp(t, regexp.MustCompile(`(?m)^`+row+`$`), printed.String())
	}
}

// The README shows the question.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../../../../README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), "\n"+why+"\n")
}

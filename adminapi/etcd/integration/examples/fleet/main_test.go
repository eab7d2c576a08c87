package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the example prints, done: a route that is put through one gateway is served by all,
// also when etcd has been killed.
func TestFleet(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("needs curl, which is not installed")
	}
	binary := filepath.Join(t.TempDir(), "fleet")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	cmd := exec.Command(binary)
	var logs bytes.Buffer
	cmd.Stderr = &logs
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stopped := false
	defer func() {
		if !stopped {
			_ = cmd.Process.Kill()
		}
	}()
	var steps []string
	var printed string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		line := lines.Text()
		printed += line + "\n"
		if strings.HasPrefix(line, "curl ") || strings.HasPrefix(line, "kill ") {
			steps = append(steps, line)
		}
		if strings.HasPrefix(line, "Ctrl-C") {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	gateways := regexp.MustCompile(`gateway \d  (http://\S+), Admin API (http://\S+)`).FindAllStringSubmatch(printed, -1)
	require.Len(t, gateways, 3, printed)
	require.Len(t, steps, 5)
	run := func(step string) string {
		cmd := exec.Command("bash", "-c", strings.Replace(step, "curl ", "curl -s ", 1))
		cmd.Env = append(os.Environ(), "no_proxy=*")
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	require.Contains(t, run(steps[0]), `"key":"/apisix/routes/1"`)
	everywhere := func() {
		for _, g := range gateways {
			require.Eventually(t, func() bool {
				res, err := http.Get(g[1] + "/hello")
				if err != nil {
					return false
				}
				defer res.Body.Close()
				body, _ := io.ReadAll(res.Body)
				return string(body) == "the origin got /hello\n"
			}, 10*time.Second, 10*time.Millisecond)
		}
	}
	everywhere()
	require.Equal(t, "the origin got /hello\n", run(steps[1]))

	require.Empty(t, run(steps[2]))
	require.Equal(t, "the origin got /hello\n", run(steps[3]))
	require.Eventually(t, func() bool { return strings.Contains(run(steps[4]), "etcd is out of reach since") }, 20*time.Second, 100*time.Millisecond)
	everywhere()
	require.Contains(t, run(strings.Replace(steps[0], "/hello", "/other", 1)), "error_msg")

	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait(), logs.String())
	stopped = true
	require.Contains(t, logs.String(), "storage cannot be followed: the last good configuration goes on")
}

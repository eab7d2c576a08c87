// Package nginxtest runs a real nginx for a test: as the oracle of a behaviour that
// is meant to be nginx's, or as an origin.
package nginxtest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An Nginx is an nginx that is to be started. Its files, and the Unix sockets that it
// listens on, lie in Dir, from where its configuration can name them without a path.
type Nginx struct {
	Dir string
	t   testing.TB
	exe string
}

// New makes the directory of an nginx, which is removed at the end of the test. It
// skips the test if nginx is not installed; what says which comparison is then not
// made.
func New(t testing.TB, what string) *Nginx {
	t.Helper()
	exe, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed: " + what)
	}
	// Not t.TempDir: the path of a Unix socket has at most 107 bytes.
	dir, err := os.MkdirTemp("", "nginx")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &Nginx{dir, t, exe}
}

// Path returns the whole path of a file or a socket in Dir.
func (n *Nginx) Path(name string) string { return filepath.Join(n.Dir, name) }

// Write writes a file, and the directories that it lies in.
func (n *Nginx) Write(name string, data []byte) {
	n.t.Helper()
	require.NoError(n.t, os.MkdirAll(filepath.Dir(n.Path(name)), 0o755))
	require.NoError(n.t, os.WriteFile(n.Path(name), data, 0o600))
}

// Start runs nginx with what is given in its block "http", and returns when its
// sockets are open. It ends with the test.
func (n *Nginx) Start(http string) {
	t := n.t
	t.Helper()
	var conf strings.Builder
	conf.WriteString("daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr notice;\nevents {}\nhttp {\naccess_log off;\n")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&conf, "%s_temp_path %s;\n", kind, n.Path(kind))
	}
	conf.WriteString(http + "}\n")
	n.Write("nginx.conf", []byte(conf.String()))

	cmd := exec.Command(n.exe, "-p", n.Dir, "-c", n.Path("nginx.conf"), "-e", "stderr")
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	drained := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-drained
		_ = cmd.Wait()
	})
	// It says how it waits for events once all its sockets are open.
	log := bufio.NewScanner(stderr)
	var said []string
	for log.Scan() {
		said = append(said, log.Text())
		if strings.Contains(log.Text(), "event method") {
			go func() {
				defer close(drained)
				_, _ = io.Copy(io.Discard, stderr) // lest it waits for somebody to read
			}()
			return
		}
	}
	close(drained)
	require.Fail(t, "nginx does not start", strings.Join(said, "\n"))
}

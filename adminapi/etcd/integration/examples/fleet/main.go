// Fleet is some gateways that share one etcd: what is put through one is in force on all,
// and when etcd is killed, they go on. It prints what to try.
//
//	cd adminapi/etcd/integration && go run ./examples/fleet
//
// With -etcd it uses an etcd that runs already, of APISIX perhaps, and follows what is there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/adminapi/etcd"
	"github.com/sallyport/sallyport/gateway"
)

func main() {
	var c config
	flag.IntVar(&c.gateways, "gateways", 3, "`number` of gateways")
	flag.StringVar(&c.etcd, "etcd", "", "`endpoints` of an etcd, with commas between; without any, one is started")
	flag.StringVar(&c.prefix, "prefix", "/apisix", "`prefix` of the keys in etcd")
	run := runFleet
	if len(os.Args) == 3 && os.Args[1] == etcdArgument {
		run = func(ctx context.Context, _ config) error { return runEtcd(ctx, os.Args[2]) }
	} else {
		flag.Parse()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// A config is what the flags say.
type config struct {
	gateways     int
	etcd, prefix string
}

func runFleet(ctx context.Context, c config) error {
	endpoints := strings.Split(c.etcd, ",")
	pid := ""
	if c.etcd == "" {
		child, err := startEtcd()
		if err != nil {
			return err
		}
		defer child.stop()
		endpoints, pid = []string{child.endpoint}, fmt.Sprint(child.cmd.Process.Pid)
		fmt.Printf("etcd       %s (process %s)\n", child.endpoint, pid)
	}
	origin, err := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "the origin got %s\n", r.URL.Path)
	}))
	if err != nil {
		return err
	}
	defer origin.close()
	var members []*member
	for i := range c.gateways {
		m, err := join(ctx, c, endpoints, slog.New(slog.NewTextHandler(os.Stderr, nil)).With("gateway", i+1))
		if err != nil {
			return err
		}
		defer m.close()
		fmt.Printf("gateway %d  http://%s, Admin API http://%s\n", i+1, m.front.addr, m.back.addr)
		members = append(members, m)
	}
	if len(members) > 0 {
		printNextSteps(members[0], members[len(members)-1], origin.addr, pid)
	}
	fmt.Println("\nCtrl-C stops.")
	<-ctx.Done()
	return nil
}

func printNextSteps(first, last *member, origin, pid string) {
	fmt.Printf(`
# 1. A route is put through the first gateway, and is in force on the last.
curl -X PUT http://%s/apisix/admin/routes/1 -d '{"uri":"/hello","upstream":{"type":"roundrobin","nodes":{"%s":1}}}'
curl http://%s/hello
`, first.back.addr, origin, last.front.addr)
	if pid == "" {
		return
	}
	fmt.Printf(`
# 2. Without etcd everything goes on, and the status says so.
kill -9 %s
curl http://%s/hello
curl http://%s/status
`, pid, last.front.addr, last.back.addr)
}

// A member is one gateway of the fleet. In earnest it would be a process of its own.
type member struct {
	client      *clientv3.Client
	gateway     *gateway.Server
	admin       *adminapi.Handler
	front, back *door
}

func join(ctx context.Context, c config, endpoints []string, logger *slog.Logger) (_ *member, err error) {
	gw, err := gateway.New(&gateway.Options{Logger: logger})
	if err != nil {
		return nil, err
	}
	m := &member{gateway: gw}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	// The keep-alive finds out that a member of etcd is gone which did not say goodbye.
	m.client, err = clientv3.New(clientv3.Config{
		Endpoints: endpoints, Logger: zap.NewNop(), DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	storage, err := etcd.New(m.client, &etcd.Options{Prefix: c.prefix})
	if err != nil {
		return nil, err
	}
	m.admin, err = adminapi.New(ctx, m.gateway, &adminapi.Options{AllowUnauthenticated: true, Storage: storage, Logger: logger})
	if err != nil {
		return nil, err
	}
	if m.front, err = serve(m.gateway); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/apisix/admin/", m.admin)
	mux.HandleFunc("/status", m.status)
	m.back, err = serve(mux)
	return m, err
}

// status answers with how the gateway stands to etcd.
func (m *member) status(w http.ResponseWriter, _ *http.Request) {
	s := m.admin.Status()
	fmt.Fprintf(w, "revision %d is in force\n", s.Revision)
	if s.Err != nil {
		fmt.Fprintf(w, "etcd is out of reach since %s: %v\n", s.Since.Format(time.TimeOnly), s.Err)
	}
	for _, r := range s.Rejected {
		fmt.Fprintf(w, "%s of revision %d cannot be used (the version before it is in force: %t): %v\n", r.Key, r.Revision, r.LastGood, r.Err)
	}
}

func (m *member) close() {
	for _, d := range []*door{m.front, m.back} {
		if d != nil {
			d.close()
		}
	}
	if m.admin != nil {
		m.admin.Close()
	}
	_ = m.gateway.Close()
	if m.client != nil {
		_ = m.client.Close()
	}
}

// A door is a server on a port of its own.
type door struct {
	server *http.Server
	addr   string
}

func serve(h http.Handler) (*door, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &door{&http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}, l.Addr().String()}
	go func() {
		if err := d.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			_, _ = io.WriteString(os.Stderr, err.Error()+"\n")
		}
	}()
	return d, nil
}

func (d *door) close() { _ = d.server.Close() }

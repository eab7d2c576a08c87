package accesslog_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/sallyport/sallyport/gateway/accesslog"
)

// BenchmarkHandler is what a record costs of a request like those that package gateway
// writes, without what the writer costs.
func BenchmarkHandler(b *testing.B) {
	h := accesslog.New(io.Discard, nil).WithAttrs([]slog.Attr{
		slog.String("remote", "127.0.0.1:59544"), slog.String("server_name", "a.test"), slog.String("client", "127.0.0.1"),
	}).(*accesslog.Handler)
	b.Run("attrs=record", func(b *testing.B) {
		b.ReportAllocs()
		r := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
		r.AddAttrs(
			slog.Int("status", 200), slog.String("method", "GET"), slog.String("path", "/ip"), slog.String("node", "127.0.0.1:9000"),
			slog.Int("attempts", 1), slog.Duration("waited", 1210690), slog.Duration("took", 1216498), slog.Int64("received", 0), slog.Int64("sent", 32))
		for b.Loop() {
			_ = h.Handle(context.Background(), r)
		}
	})
	b.Run("attrs=members", func(b *testing.B) {
		b.ReportAllocs()
		now := time.Now()
		var m accesslog.Members = text(`,"status":200,"method":"GET","path":"/ip","node":"127.0.0.1:9000","attempts":1,"waited":1210690,"took":1216498,"received":0,"sent":32`)
		for b.Loop() {
			_ = h.HandleMembers(now, slog.LevelInfo, "request", m)
		}
	})
}

// A text is members that were formatted before.
type text string

func (t text) AppendJSON(b []byte) []byte { return append(b, t...) }

package adminapi_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
)

// Each of these is asked for something that is not there before the context ends, which it
// sees to by itself.
type (
	slowStorage struct {
		adminapi.Memory
		end context.CancelFunc
	}
	silentStorage struct{ *slowStorage }
	lateStorage   struct{ *slowStorage }
	slowSecrets   struct{ end context.CancelFunc }
)

func (s *slowStorage) Load(ctx context.Context) ([]adminapi.Record, error) {
	s.end()
	<-ctx.Done()
	return s.Memory.Load(ctx)
}

func (s silentStorage) Watch(ctx context.Context, _ func(adminapi.Update)) {
	s.end()
	<-ctx.Done()
}

func (s lateStorage) Watch(ctx context.Context, update func(adminapi.Update)) {
	records, _ := s.Load(ctx)
	update(adminapi.Update{Revision: 1, Records: records, Whole: true})
}

func (s slowSecrets) ResolveSecret(ctx context.Context, _ string) (string, error) {
	s.end()
	<-ctx.Done()
	return "", ctx.Err()
}

// Whatever New waits for, the end of its context ends it, and nothing is in force then.
func TestNewCanceled(t *testing.T) {
	w := newWorld(t, setup{})
	secret := w.sslDoc(w.pair)
	secret["key"] = "$secret://vault/1/key"
	for name, options := range map[string]func(end context.CancelFunc) *adminapi.Options{
		"a storage": func(end context.CancelFunc) *adminapi.Options {
			return &adminapi.Options{Storage: &slowStorage{end: end}}
		},
		"a shared storage that is silent": func(end context.CancelFunc) *adminapi.Options {
			return &adminapi.Options{Storage: silentStorage{&slowStorage{end: end}}}
		},
		"a shared storage that is late": func(end context.CancelFunc) *adminapi.Options {
			return &adminapi.Options{Storage: lateStorage{&slowStorage{end: end}}}
		},
		"a secret": func(end context.CancelFunc) *adminapi.Options {
			return &adminapi.Options{Storage: &adminapi.Memory{}, Secrets: slowSecrets{end}}
		},
		"a secret of a shared storage": func(end context.CancelFunc) *adminapi.Options {
			return &adminapi.Options{Storage: newShared(), Secrets: slowSecrets{end}}
		},
		"nothing": func(end context.CancelFunc) *adminapi.Options {
			end()
			return &adminapi.Options{Storage: &adminapi.Memory{}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			defer end()
			o := options(end)
			o.Headless = true
			writes := []adminapi.Write{{Key: "/routes/1", Value: []byte(encode(t, w.routeDoc("/1", 1)))}}
			if o.Secrets != nil {
				writes = append(writes, adminapi.Write{Key: "/ssls/1", Value: []byte(encode(t, secret))})
			}
			_, err := o.Storage.Commit(t.Context(), writes...)
			require.NoError(t, err)
			gw := must(gateway.New(nil))
			defer gw.Close()
			h, err := adminapi.New(ctx, gw, o)
			require.ErrorIs(t, err, context.Canceled)
			require.EqualError(t, err, "adminapi: New: the storage was not read to its end: context canceled")
			require.Nil(t, h)
			require.Zero(t, gw.Stats().Config.Revision, "nothing was applied")
		})
	}
}

// The Handler lives on when the context of New has ended.
func TestNewContextEnds(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	gw := must(gateway.New(nil))
	defer gw.Close()
	ctx, end := context.WithCancel(t.Context())
	h, err := adminapi.New(ctx, gw, &adminapi.Options{AllowUnauthenticated: true, Storage: s})
	require.NoError(t, err)
	defer h.Close()
	end()
	status, body := ask(h, "PUT", "http://localhost/apisix/admin/routes/1", encode(t, w.routeDoc("/1", 1)))
	require.Equal(t, 201, status, body)
	_, err = s.Commit(t.Context(), adminapi.Write{Key: "/routes/2", Value: []byte(encode(t, w.routeDoc("/2", 2)))})
	require.NoError(t, err)
	s.settle()
	_, body = ask(gw, "GET", "http://a.test/2", "")
	require.Equal(t, "origin 2: GET /2", body)
}

// A context that ends when what is stored has just come into force is too late: New returns
// the Handler, which follows the storage.
func TestNewContextEndsTooLate(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	_, err := s.Commit(t.Context(), adminapi.Write{Key: "/routes/1", Value: []byte(encode(t, w.routeDoc("/1", 1)))})
	require.NoError(t, err)
	gw := must(gateway.New(nil))
	defer gw.Close()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	h, err := adminapi.New(ctx, gw, &adminapi.Options{AllowUnauthenticated: true, Storage: s, Logger: slog.New(onFollowed{slog.DiscardHandler, end})})
	require.ErrorIs(t, ctx.Err(), context.Canceled)
	require.NoError(t, err)
	defer h.Close()
	require.EqualValues(t, 1, gw.Stats().Config.Revision)
	status, body := ask(h, "PUT", "http://localhost/apisix/admin/routes/2", encode(t, w.routeDoc("/2", 2)))
	require.Equal(t, 201, status, body)
	require.NoError(t, h.Status().Err)
}

// onFollowed is a log that does something when it is told that the configuration is
// followed: before whoever has applied it says so to others.
type onFollowed struct {
	slog.Handler
	do func()
}

func (onFollowed) Enabled(context.Context, slog.Level) bool { return true }

func (l onFollowed) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "configuration followed" {
		l.do()
	}
	return nil
}

// Whatever New returns is what has happened, if the storage comes round at that very moment.
func TestNewAtTheSameTime(t *testing.T) {
	for range 300 {
		gw := must(gateway.New(nil))
		h, err := adminapi.New(t.Context(), gw, &adminapi.Options{Headless: true, Storage: deaf{newShared(), func(update func(adminapi.Update)) {
			update(adminapi.Update{Err: errFailing})
			update(adminapi.Update{Revision: 1, Whole: true, Records: []adminapi.Record{{Key: "/routes/1", Value: []byte(`{"uri":"/1","upstream":{"nodes":{}}}`), Created: 1, Modified: 1}}})
		}}})
		if err == nil {
			h.Close()
		}
		require.Equal(t, err == nil, gw.Stats().Config.Revision > 0, "%v", err)
		gw.Close()
	}
}

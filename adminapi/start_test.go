package adminapi_test

import (
	"context"
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

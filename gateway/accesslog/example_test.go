package accesslog_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/accesslog"
	"github.com/sallyport/sallyport/route"
)

// The access log of a gateway. In place of the buffer stands a file, or what rotates files.
func ExampleNew() {
	var file bytes.Buffer
	log := accesslog.New(&file, &accesslog.Options{Interval: 5 * time.Second})
	gw, err := gateway.New(&gateway.Options{AccessLog: slog.New(log)})
	if err != nil {
		panic(err)
	}
	_, err = gw.Configure(gateway.Config{Routes: []route.Config{{
		ID: "hello", Paths: []string{"/*"},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") }),
	}}})
	if err != nil {
		panic(err)
	}
	for range 3 {
		gw.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://a.test/x", nil))
	}
	fmt.Println("collected, not written:", file.Len() == 0)

	gw.Close() // first: what it does last is logged too
	if err := log.Close(); err != nil {
		panic(err)
	}
	fmt.Println("lines:", strings.Count(file.String(), `"msg":"request"`))
	// Output:
	// collected, not written: true
	// lines: 3
}

// A status is what there is to say of an answer.
type status int

func (s status) AppendJSON(b []byte) []byte {
	return strconv.AppendInt(append(b, `,"status":`...), int64(s), 10)
}

func ExampleHandler_HandleMembers() {
	log := accesslog.New(os.Stdout, nil)
	defer log.Close()
	for n := range 3 {
		// A record with the zero time has no time.
		if err := log.HandleMembers(time.Time{}, slog.LevelInfo, "request", status(200+n)); err != nil {
			panic(err)
		}
	}
	// Output:
	// {"level":"INFO","msg":"request","status":200}
	// {"level":"INFO","msg":"request","status":201}
	// {"level":"INFO","msg":"request","status":202}
}

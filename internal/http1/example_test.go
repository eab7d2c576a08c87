package http1_test

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/sallyport/sallyport/internal/http1"
)

// Two requests over one connection.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s, %d bytes", r.Method, r.URL.Path, len(body))
	}))
	defer server.Close()

	idle := &http1.Idle{Size: 10, Timeout: time.Minute, Requests: 1000}
	defer idle.CloseAll()
	for _, request := range []string{
		"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"POST /b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
	} {
		conn := idle.Get("a.test")
		if conn == nil {
			raw, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println("connected")
			conn = http1.NewConn(raw)
		}
		conn.Begin(time.Minute, 64<<10)
		if _, err := conn.Write([]byte(request)); err != nil {
			log.Fatal(err)
		}
		conn.Await(time.Minute)
		r, err := conn.ReadResponse("GET")
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(r.Status, " ")
		p := make([]byte, 100)
		for conn.HasBody() {
			n, err := conn.ReadBody(p)
			if err != nil && err != io.EOF {
				log.Fatal(err)
			}
			fmt.Printf("%s", p[:n])
		}
		fmt.Println()
		if conn.End() {
			idle.Put("a.test", conn)
		} else {
			conn.Close()
		}
	}
	// Output:
	// connected
	// 200 GET /a, 0 bytes
	// 200 POST /b, 5 bytes
}

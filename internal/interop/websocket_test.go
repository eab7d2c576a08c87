package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/upstream"
)

// An echo over WebSocket, with messages of many sizes, compressed and not, and its end
// in both directions.
func TestWebSocket(t *testing.T) {
	ended := make(chan websocket.StatusCode, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}, CompressionMode: websocket.CompressionContextTakeover, InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(1 << 20)
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil {
				ended <- websocket.CloseStatus(err)
				return
			}
			if string(message) == "end" {
				conn.Close(4000, "as you like it")
				ended <- 4000
				return
			}
			if conn.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	}))
	defer server.Close()
	f := newFront(t, gateway.Options{}, upstream.Config{Nodes: []upstream.Node{nodeAt(server.Listener.Addr().String())}})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.roots(), ServerName: "a.test"}}}
	dial := func(compression websocket.CompressionMode) *websocket.Conn {
		conn, res, err := websocket.Dial(t.Context(), "wss://"+f.addr+"/chat", &websocket.DialOptions{
			HTTPClient: client, Host: "a.test", Subprotocols: []string{"other", "echo"}, CompressionMode: compression,
		})
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
		require.Equal(t, "echo", conn.Subprotocol())
		conn.SetReadLimit(1 << 20)
		return conn
	}
	for _, compression := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
		conn := dial(compression)
		for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 19} {
			message := make([]byte, size)
			for i := range message {
				message[i] = byte(rand.IntN(4))
			}
			require.NoError(t, conn.Write(t.Context(), websocket.MessageBinary, message))
			kind, got, err := conn.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, websocket.MessageBinary, kind)
			require.True(t, bytes.Equal(message, got))
		}
		require.NoError(t, conn.Close(websocket.StatusNormalClosure, ""))
		require.Equal(t, websocket.StatusNormalClosure, <-ended)

		conn = dial(compression)
		require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte("end")))
		_, _, err := conn.Read(context.Background())
		require.Equal(t, websocket.StatusCode(4000), websocket.CloseStatus(err))
		<-ended
	}
}

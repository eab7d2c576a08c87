package h2_test

import (
	"testing"
)

func TestGetAndPost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, ok)
		p.wantGreeting()
		p.get(1, "/")
		p.want(`HEADERS 1 200`, `DATA 1 "ok" end`)
		p.post(3, "/", "content-length", "2")
		p.data(3, true, "hi")
		p.want(`HEADERS 3 200`, `DATA 3 "ok" end`)
		p.hangUp()
	})
}

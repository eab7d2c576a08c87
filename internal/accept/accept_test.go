package accept_test

import (
	"testing"

	"github.com/sallyport/sallyport/internal/accept"
)

// Whatever comes, a weight lies between 0 and 1.
func FuzzQuality(f *testing.F) {
	f.Add("text/html;q=0.9, */*;q=.1")
	f.Fuzz(func(t *testing.T, header string) {
		if q := accept.Quality(header, "text", "plain"); !(q >= 0 && q <= 1) {
			t.Fatalf("%q: %v", header, q)
		}
	})
}

package fieldname_test

import (
	"testing"

	"github.com/sallyport/sallyport/internal/fieldname"
)

func TestFold(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"", ""},
		{"x-client-verify", "x-client-verify"},
		{"X-Client-Verify", "x-client-verify"},
		{"X_CLIENT.verify", "x-client-verify"},
		{"x!client~verify", "x-client-verify"},
		{"Az@[`{09", "az----09"},
		{"\xc3\xa9", "--"},
	} {
		if got := fieldname.Fold(c.name); got != c.want {
			t.Errorf("Fold(%q) = %q, want %q", c.name, got, c.want)
		}
		if !fieldname.Is(c.name, c.want) {
			t.Errorf("%q is not %q", c.name, c.want)
		}
		if !fieldname.HasPrefix(c.name+"x", c.want) {
			t.Errorf("%qx does not begin as %q", c.name, c.want)
		}
	}
}

func TestDiffers(t *testing.T) {
	for _, c := range []struct{ name, folded string }{
		{"x-client-verif", "x-client-verify"},
		{"x-client-verifyy", "x-client-verify"},
		{"xclientverify", "x-client-verify"},
		{"x--client-verify", "x-client-verify"},
	} {
		if fieldname.Is(c.name, c.folded) {
			t.Errorf("%q is %q", c.name, c.folded)
		}
	}
	if fieldname.HasPrefix("x-c", "x-client-") || fieldname.HasPrefix("y-client-a", "x-client-") {
		t.Error("another beginning")
	}
}

func TestIsPlain(t *testing.T) {
	for name, want := range map[string]bool{"": true, "X-Real-Ip": true, "x-9": true, "X_Real-Ip": false, "x.y": false, "x-\xff": false} {
		if fieldname.IsPlain(name) != want {
			t.Errorf("IsPlain(%q) = %v", name, !want)
		}
	}
}

package urlpath_test

import (
	"fmt"

	"github.com/sallyport/sallyport/internal/urlpath"
)

func ExampleParse() {
	p, err := urlpath.Parse("/public/%2e%2e/admin")
	fmt.Println(p.Normal, p.Plain, err)
	_, err = urlpath.Parse("/../etc/passwd")
	fmt.Println(err)
	// Output:
	// /admin false <nil>
	// path has a dot segment that leads above the root
}

func ExampleOptions_Parse() {
	o := urlpath.Options{Servlet: true, EncodedSlash: true}
	p, err := o.Parse("/projects;v=1/group%2fproject")
	fmt.Println(p.Normal, err)
	_, err = o.Parse("/public/..;/admin")
	fmt.Println(err)
	// Output:
	// /projects/group%2Fproject <nil>
	// path has a dot segment with parameters
}

// A guard that reads the path by itself is given Guard, not Raw: what is matched as
// one path is never skipped as another.
func ExamplePath_Guard() {
	o := urlpath.Options{DeleteTailSlash: true}
	for _, raw := range []string{"/public", "/public/"} {
		p, _ := o.Parse(raw)
		fmt.Printf("%q matched as %q, guarded as %q\n", p.Raw, p.Normal, p.Guard())
	}
	// Output:
	// "/public" matched as "/public", guarded as "/public"
	// "/public/" matched as "/public", guarded as ""
}

func ExampleACMEChallenge() {
	for _, path := range []string{"/.well-known/acme-challenge/token", "/.well-known/acme-challenge/../secret"} {
		fmt.Println(path, urlpath.ACMEChallenge(path))
	}
	// Output:
	// /.well-known/acme-challenge/token true
	// /.well-known/acme-challenge/../secret false
}

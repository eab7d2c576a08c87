package browser

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/statushtml/sample"
)

var pictures = flag.String("pictures", "", "`directory` that the pictures of the page are written to")

// The pictures of the README: the upper part of the page, light and dark, and, for those who
// work on it, all of it, and as a phone has it.
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("-pictures names no directory")
	}
	url := serve(t, sample.Report)
	for _, p := range []struct {
		name, scheme, query string
		width               int64
		last                string // what is seen to its end
	}{
		{"status-light.png", "light", "", 1080, "section[aria-labelledby=hour]"},
		{"status-dark.png", "dark", "", 1080, "section[aria-labelledby=hour]"},
		{"whole-light.png", "light", question, 1280, "footer"},
		{"whole-dark.png", "dark", question, 1280, "footer"},
		{"narrow-light.png", "light", question, 360, "footer"},
		{"narrow-dark.png", "dark", question, 360, "footer"},
	} {
		b := newTab(t)
		b.size(p.width, 800)
		b.scheme(p.scheme)
		b.do(chromedp.Navigate(url + p.query))
		end := eval[float64](b, `document.querySelector("`+p.last+`").getBoundingClientRect().bottom + 16`)
		shot := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{
			CaptureBeyondViewport: new(true),
			Clip:                  &page.Viewport{Width: float64(p.width), Height: end, Scale: 1},
		})
		require.NoError(t, os.WriteFile(filepath.Join(*pictures, p.name), shot.Data, 0o644))
	}
}

package browser

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/statushtml/sample"
)

var (
	pictures    = flag.String("pictures", "", "`directory` that the pictures of the README are written to")
	allPictures = flag.Bool("all", false, "with -pictures: the whole of the page as well, and as a phone has it")
)

// The pictures of the README: the upper part of the page, light and dark. Whoever works on
// the page looks at all of it.
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
		if p.last == "footer" && !*allPictures {
			continue
		}
		b := newTab(t)
		b.size(p.width, 800)
		b.scheme(p.scheme)
		b.do(chromedp.Navigate(url + p.query))
		end := eval[float64](b, `document.querySelector("`+p.last+`").getBoundingClientRect().bottom + 16`)
		shot := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{
			CaptureBeyondViewport: new(true),
			Clip:                  &page.Viewport{Width: float64(p.width), Height: end, Scale: 1},
		})
		file, err := os.Create(filepath.Join(*pictures, p.name))
		require.NoError(t, err)
		drawn, err := png.Decode(bytes.NewReader(shot.Data))
		require.NoError(t, err)
		small := &png.Encoder{CompressionLevel: png.BestCompression}
		require.NoError(t, small.Encode(file, paletted(drawn)))
		require.NoError(t, file.Close())
	}
}

// paletted is a picture with its 256 most frequent colours, and the nearest of them for the
// others: a third of the bytes, and nobody sees it.
func paletted(drawn image.Image) image.Image {
	frequency := map[color.Color]int{}
	bounds := drawn.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			frequency[drawn.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(frequency), func(a, b color.Color) int {
		return cmp.Or(cmp.Compare(frequency[b], frequency[a]), strings.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	out := image.NewPaletted(bounds, colours[:min(len(colours), 256)])
	draw.Draw(out, bounds, drawn, bounds.Min, draw.Src)
	return out
}

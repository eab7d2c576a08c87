package browser

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi/statuspage"
	"github.com/sallyport/sallyport/internal/statushtml/sample"
)

// question is one that the form explains, so that its answer is on the page.
const question = "?url=https%3A%2F%2Fshop.example.com%2Fapi%2Fx"

// The page fits into every window: nothing makes it wider than that, and the browser has
// nothing to complain of, a violation of the page's own policy least of all.
func TestPageFits(t *testing.T) {
	url := serve(t, sample.Report)
	for _, width := range []int64{320, 360, 768, 1280, 1920} {
		for _, scheme := range []string{"light", "dark"} {
			b := newTab(t)
			b.size(width, 800)
			b.scheme(scheme)
			b.do(chromedp.Navigate(url + question))
			require.LessOrEqual(t, eval[int64](b, "document.documentElement.scrollWidth"), width, "%d %s", width, scheme)
			require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("body *")]
				.filter((e) => !e.closest(".skip, .wide, svg, .stack thead") && e.getBoundingClientRect().right > innerWidth + 1)
				.map((e) => e.tagName + "." + e.className)`), "%d %s", width, scheme)
			b.noTrouble()
		}
	}
}

// The two schemes are two: the ground of one is light, and that of the other dark.
func TestSchemes(t *testing.T) {
	b := newTab(t)
	b.scheme("light")
	b.do(chromedp.Navigate(serve(t, sample.Report)))
	ground := `Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0])`
	require.Greater(t, eval[int](b, ground), 200)
	b.scheme("dark")
	require.Less(t, eval[int](b, ground), 60)
}

// axe-core finds nothing that keeps anybody out: neither a contrast that is too low, nor a
// field without a label, nor a table that cannot be scrolled by keyboard.
func TestAccessible(t *testing.T) {
	file := os.Getenv("SALLYPORT_TEST_AXE")
	if file == "" {
		t.Skip("SALLYPORT_TEST_AXE does not name the axe.min.js of axe-core")
	}
	axe, err := os.ReadFile(file)
	require.NoError(t, err)
	url := serve(t, sample.Report)
	for _, width := range []int64{360, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			b := newTab(t)
			b.size(width, 800)
			b.scheme(scheme)
			b.do(chromedp.Navigate(url + question))
			b.do(chromedp.Evaluate[chromedp.Void](`for (const d of document.querySelectorAll("details")) d.open = true`))
			b.do(chromedp.Evaluate[chromedp.Void](string(axe)))
			found := eval[[]string](b, `axe.run(document).then((r) => { globalThis.found = r; return r.violations
				.flatMap((v) => v.nodes.map((n) => v.id + ": " + n.html.slice(0, 200) + " " + n.failureSummary)) })`)
			require.Empty(t, found, "%d %s", width, scheme)
			// It did look at every text that it can.
			require.Greater(t, eval[int](b, `found.passes.find((p) => p.id === "color-contrast").nodes.length`), 100)
		}
	}
}

// Whoever has no mouse gets everywhere with Tab, and always sees where that is. The first
// stop leads past what stands above.
func TestKeyboard(t *testing.T) {
	b := newTab(t)
	b.size(1280, 800)
	b.do(chromedp.Navigate(serve(t, sample.Report) + question))
	wanted := eval[[]string](b, `[...document.querySelectorAll("a[href], button, input:not([type=hidden]), textarea, summary, [tabindex='0']")]
		.filter((e) => e.checkVisibility()).map((e, i) => { e.dataset.stop = i; return e.outerHTML.slice(0, 80); })`)
	require.Greater(t, len(wanted), 40)
	reached := map[int]bool{}
	for i := range len(wanted) + 1 {
		b.do(chromedp.KeyEvent(kb.Tab))
		stop := eval[int](b, `Number(document.activeElement.dataset.stop ?? -1)`)
		if stop < 0 {
			break
		}
		reached[stop] = true
		require.Equal(t, i, stop, "in the order of the page: %s", wanted[stop])
		require.True(t, eval[bool](b, `(() => {
			const s = getComputedStyle(document.activeElement), r = document.activeElement.getBoundingClientRect();
			return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2 && r.width > 0 && r.left >= 0 && r.bottom > 0 && r.top < innerHeight;
		})()`), "seen: %s", wanted[stop])
	}
	require.Len(t, reached, len(wanted))

	b.do(chromedp.Navigate(eval[string](b, "location.href")), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.until(`document.activeElement.id === "main"`)
}

// Without scripts the page is whole, and forms and links do what they say.
func TestWithoutScripts(t *testing.T) {
	var explain atomic.Bool
	url := serve(t, func() *statuspage.Report {
		r := sample.Report()
		if !explain.Load() {
			r.Explain = nil
		}
		return r
	})
	b := newTab(t)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.do(chromedp.Navigate(url))
	b.do(chromedp.WaitVisible(chromedp.CSS("#upstreams-table")), chromedp.WaitNotVisible(chromedp.CSS("#pause")))
	explain.Store(true)
	b.do(
		chromedp.SetValue(chromedp.CSS("#url"), "https://shop.example.com/api/x"),
		chromedp.Click(chromedp.CSS(".go button")),
		chromedp.WaitVisible(chromedp.CSS("#candidates-table")),
		chromedp.SetValue(chromedp.CSS("#filter-routes"), `"<b>'&`),
		chromedp.Submit(chromedp.CSS("#filter-routes")),
		chromedp.WaitVisible(`//a[text()="Show all"]`),
	)
	require.Contains(t, run(b, chromedp.Location()), "#routes")
	require.Equal(t, "https://shop.example.com/api/x", run(b, chromedp.Value(chromedp.CSS("#url")))) // one form keeps what another has asked
	require.Equal(t, `"<b>'&`, run(b, chromedp.Value(chromedp.CSS("#filter-routes"))))
	b.noTrouble()
}

// With scripts, what is shown comes anew by itself, until somebody wants it to stand still.
// What somebody has opened stays open, and what somebody has begun to write stays.
func TestRefresh(t *testing.T) {
	var asked atomic.Int64
	var broken atomic.Bool
	url := serve(t, func() *statuspage.Report {
		if broken.Load() {
			return nil
		}
		r := sample.Report()
		n := uint64(asked.Add(1))
		r.Configuration.Revision = 5000 + n
		r.Routes.List[0].LastHour.Success += n
		return r
	})
	b := newTab(t)
	b.fasten()
	b.do(chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#pause")))
	b.do(chromedp.Click(chromedp.CSS("#figures summary")), chromedp.SendKeys(chromedp.CSS("#filter-routes"), "half"))
	seen := `Number(document.querySelector(".tiles > div:last-child b").textContent.replace(/\D/g, ""))`
	first := eval[int](b, seen)
	b.until(fmt.Sprintf("%s > %d", seen, first+3))
	require.True(t, eval[bool](b, `document.getElementById("figures").open`))
	require.Equal(t, "half", eval[string](b, `document.getElementById("filter-routes").value`))
	require.Equal(t, "filter-routes", eval[string](b, `document.activeElement.id`))

	// A link that has the focus has it still.
	b.do(chromedp.Focus(chromedp.CSS(`#routes-table a`)))
	b.until(fmt.Sprintf("%s > %d", seen, eval[int](b, seen)+2))
	require.Equal(t, "?upstreams=shop#upstreams", eval[string](b, `document.activeElement.getAttribute("href")`))

	b.do(chromedp.Click(chromedp.CSS("#pause")))
	require.Equal(t, "true", eval[string](b, `document.getElementById("pause").getAttribute("aria-pressed")`))
	b.do(chromedp.Click(chromedp.CSS("#pause")))
	b.until(fmt.Sprintf("%s > %d", seen, eval[int](b, seen)+1))
	b.noTrouble()

	broken.Store(true)
	b.until(`document.getElementById("trouble").textContent.includes("does not answer")`)
	broken.Store(false)
	b.until(`document.getElementById("trouble").textContent === ""`)
}

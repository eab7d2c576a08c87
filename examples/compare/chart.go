//go:build linux

package main

import (
	"fmt"
	"html"
	"strings"
)

// Measures of the chart, in its own units.
const (
	chartWidth  = 880
	columnWidth = 440
	labelWidth  = 110
	barWidth    = 230
	barHeight   = 14
	barPitch    = 18
	rowHead     = 24
	rowFoot     = 16
)

// chart draws the rows as bars, two rows beside each other. The scale of each row
// is its own: what is compared is the proxies, not the work. The file needs nothing
// from elsewhere, and follows the reader's choice of light or dark.
func (r *results) chart() []byte {
	rows := r.rows()
	rowHeight := rowHead + barPitch*len(r.proxies) + rowFoot
	height := (len(rows)+1)/2*rowHeight + rowFoot
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title desc">
<title id="title">%s</title>
<desc id="desc">Bars, shorter is better: %s.</desc>
<style>
svg { color: #1f2328; font: 12px system-ui, sans-serif; }
text { fill: currentColor; }
.head { font-weight: 600; }
.value { font-variant-numeric: tabular-nums; }
.other { fill: #afb8c1; }
.own { fill: #0969da; }
@media (prefers-color-scheme: dark) {
svg { color: #e6edf3; }
.other { fill: #57606a; }
.own { fill: #4493f8; }
}
</style>
`, chartWidth, height, chartWidth, height, "Sallyport and its peers, one core each", html.EscapeString(strings.Join(r.columns(), ", ")))
	for i, line := range rows {
		x, y := i%2*columnWidth, i/2*rowHeight+rowFoot
		fmt.Fprintf(&b, "<g transform=\"translate(%d %d)\">\n<text class=\"head\" y=\"12\">%s</text>\n", x, y, html.EscapeString(line.title))
		r.bars(&b, line)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

func (r *results) bars(b *strings.Builder, line row) {
	most := 0.0
	for _, c := range line.cells {
		most = max(most, c.value)
	}
	for i, c := range line.cells {
		class, top, length := "other", rowHead+i*barPitch, 0.0
		if r.proxies[i].name == gatewayName {
			class = "own"
		}
		if most > 0 {
			length = max(0, c.value/most*barWidth)
		}
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>", labelWidth-8, top+barHeight-3, html.EscapeString(r.columns()[i]))
		fmt.Fprintf(b, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>", class, labelWidth, top, length, barHeight)
		fmt.Fprintf(b, "<text class=\"value\" x=\"%.1f\" y=\"%d\">%s</text>\n", labelWidth+length+6, top+barHeight-3, html.EscapeString(c.text()))
	}
}

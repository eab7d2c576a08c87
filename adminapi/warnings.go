package adminapi

import (
	"fmt"
	"slices"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/route"
)

// This file is what an administrator should know of a change that was taken. A request for
// one document has it in its answer. Of every other change it is logged, since nobody may
// look at an answer: a file was loaded, another gateway has written, a time has passed.

// A warning is a sentence about a document that was changed.
type warning struct {
	edit *edit
	text string
	once bool // it is about the change, and is no longer true after the next
}

// gatewayKinds are the kinds of documents that a gateway has objects of.
var gatewayKinds = map[apisix.Kind]gateway.Kind{
	apisix.SSLs: gateway.KindProfile, apisix.Routes: gateway.KindRoute, apisix.Upstreams: gateway.KindUpstream,
}

// A subject is what a gateway warns of.
type subject struct {
	kind gateway.Kind
	id   string
}

// warningsOf returns what is to be told of edits, in their order. changeMu is held.
func (h *Handler) warningsOf(edits []*edit, report gateway.Report) (warnings []warning) {
	edited, reported := h.after(edits...).edited, map[subject][]gateway.Warning{}
	for _, w := range report.Warnings {
		if w.Kind != gateway.KindUpstream || w.Field != weights {
			about := subject{w.Kind, w.ID}
			reported[about] = append(reported[about], w)
		}
	}
	for _, e := range edits {
		add := func(text string, once bool) {
			// What only refuses is nobody's document: that it does is told elsewhere.
			if once || !e.refuses {
				warnings = append(warnings, warning{e, withoutKey(text), once})
			}
		}
		for _, text := range e.kept {
			add(text, true)
		}
		if e.decoded != nil {
			for _, text := range e.decoded.Warnings {
				add(text, false)
			}
		}
		// Of a service's routes, the answers to theirs tell, but not of what they have from it.
		if e.kind == apisix.Services && e.decoded != nil && !e.refuses {
			for _, w := range serviceWarnings(e.decoded) {
				add(apisix.InDocument(e.kind, e.doc, w.Field, w.Text), false)
			}
		}
		for _, w := range reported[subject{gatewayKinds[e.kind], e.id}] {
			if e.kind != apisix.Routes || !apisix.FromService(e.doc, w.Field) {
				add(apisix.InDocument(e.kind, e.doc, w.Field, w.Text), w.Opened)
			}
		}
		for _, w := range reported[subject{gateway.KindUpstream, apisix.InlineID(e.kind, e.id)}] {
			add(apisix.InDocument(e.kind, e.doc, "Upstream."+w.Field, w.Text), w.Opened)
		}
		if text := h.shownWarning(e, edited, reported); text != "" {
			add(apisix.InDocument(e.kind, e.doc, "Certificates[0].CertPEM", text), false)
		}
	}
	return warnings
}

// shownWarning returns what is wrong with a certificate for upstreams, which is found with
// those that show it; of those that are edited too, it is told with them. It is "" if nothing is.
func (h *Handler) shownWarning(e *edit, edited map[string]*edit, reported map[subject][]gateway.Warning) (text string) {
	if e.kind != apisix.SSLs {
		return ""
	}
	showing := 0
	for _, key := range slices.Sorted(h.docs.usersOf(e.key())) {
		if edited[key] != nil {
			continue
		}
		kind, id, _ := parseKey(key)
		if kind != apisix.Upstreams {
			id = apisix.InlineID(kind, id)
		}
		for _, w := range reported[subject{gateway.KindUpstream, id}] {
			if w.Field != "TLS.CertPEM" {
				continue
			}
			if showing++; showing == 1 {
				text = fmt.Sprintf("%s shows it: %s", key, w.Text)
			}
		}
	}
	if showing > 1 {
		text += fmt.Sprintf(" (%d more show it)", showing-1)
	}
	return text
}

// weights is the field of which an upstream warns if nodes have none. A document has that of
// each node: there, a zero was not forgotten.
const weights = "Nodes"

// serviceWarnings returns what there is to say of what the routes of a service have from it.
func serviceWarnings(o *apisix.Object) []route.Warning {
	r, err := routeFor(o)
	if err != nil {
		return nil // it was told as an error
	}
	return (&route.Table{}).With(r).Warnings(r.ID())
}

// inDocument returns what the status page and an explanation say of a field of an object, in
// the words of its document, or of that in which it is.
func (h *Handler) inDocument(kind apisix.Kind, id, field, text string) string {
	h.mu.RLock()
	defer h.mu.RUnlock()
	within := ""
	if kind == apisix.Upstreams {
		var inside bool
		if kind, id, inside = upstreamIn(id); inside {
			field = "Upstream." + field
		}
	}
	o := h.docs.get(kind, id)
	if o != nil && kind == apisix.Routes && o.decoded != nil && apisix.FromService(o.doc, field) {
		kind, id = apisix.Services, o.decoded.Service
		within, o = fmt.Sprintf("service %q: ", id), h.docs.get(kind, id)
	}
	var doc map[string]any
	if o != nil {
		doc = o.doc
	}
	return withoutKey(within + apisix.InDocument(kind, doc, field, text))
}

// upstreamIn returns which document has the upstream with an id, and whether it is inside of
// a route or a service.
func upstreamIn(id string) (kind apisix.Kind, of string, inside bool) {
	if kind, of, inside = parseKey("/" + id); inside { // as apisix.InlineID makes it
		return kind, of, true
	}
	return apisix.Upstreams, id, false
}

// addWarnings tells what is to be told of an edit in the answer to its request. changeMu is
// held.
func (h *Handler) addWarnings(answer map[string]any, e *edit, report gateway.Report) {
	warnings := h.warningsOf([]*edit{e}, report)
	h.fresh([]*edit{e}, warnings)
	if len(warnings) > 0 {
		answer["warnings"] = mapped(warnings, func(w warning) any { return w.text })
	}
}

// maxWarnings is how many warnings of one change are logged, and how many an answer has that
// is about many documents.
const maxWarnings = 100

// warn logs what is to be told of edits and was not told before. It returns all of it for an
// answer, each with the key of its document. changeMu is held.
func (h *Handler) warn(edits []*edit, report gateway.Report) []any {
	warnings := h.warningsOf(edits, report)
	// Where there are too many, what has been opened is not among those that are left out.
	slices.SortStableFunc(warnings, func(a, b warning) int {
		switch {
		case a.once == b.once:
			return 0
		case a.once:
			return -1
		}
		return 1
	})
	h.logWarnings(h.fresh(edits, warnings))

	some := warnings[:min(len(warnings), maxWarnings)]
	texts := mapped(some, func(w warning) any { return w.edit.key() + ": " + w.text })
	if more := len(warnings) - len(some); more > 0 {
		texts = append(texts, fmt.Sprintf("there are %d more warnings", more))
	}
	return texts
}

func (h *Handler) logWarnings(warnings []warning) {
	if h.logger == nil {
		return
	}
	for i, w := range warnings {
		if i == maxWarnings {
			h.logger.Warn("more warnings of the same change are left out", "count", len(warnings)-i)
			return
		}
		h.logger.Warn("configuration warning", "kind", string(w.edit.kind), "id", w.edit.id, "warning", w.text)
	}
}

// fresh returns those of the warnings about edits that were not told when their documents
// were changed before, and notes that they are told now. A document that is written every
// minute, so that its ttl does not end, is warned of once. changeMu is held.
func (h *Handler) fresh(edits []*edit, warnings []warning) (fresh []warning) {
	hold := map[string][]string{}
	for _, w := range warnings {
		key := w.edit.key()
		if !slices.Contains(h.told[key], w.text) {
			fresh = append(fresh, w)
		}
		if !w.once {
			hold[key] = append(hold[key], w.text)
		}
	}
	for _, e := range edits {
		if key := e.key(); hold[key] != nil {
			h.told[key] = hold[key]
		} else {
			delete(h.told, key)
		}
	}
	return fresh
}

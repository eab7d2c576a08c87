package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/fieldname"
)

// parseEdits makes of [Config.Headers] what requests are edited with, or nil if there is
// nothing to do. Warnings are as those of parseVars.
func parseEdits(h HeaderEdits, fault func(field string, err error)) (e *Edits, warnings []Warning) {
	if len(h.Set)+len(h.Add)+len(h.Remove) == 0 {
		return nil, nil
	}
	if n := len(h.Set) + len(h.Add) + len(h.Remove); n > maxEdits {
		fault("Headers", fmt.Errorf("%d fields are over %d", n, maxEdits))
		return nil, nil
	}
	p := editsParser{fault: fault, seen: map[string]string{}}
	for i, f := range h.Set {
		field := fmt.Sprintf("Headers.Set[%d]", i)
		p.remove(field+".Name", f.Name)
		p.write(field, f)
	}
	for i, name := range h.Remove {
		p.remove(fmt.Sprintf("Headers.Remove[%d]", i), name)
	}
	for i, f := range h.Add {
		field := fmt.Sprintf("Headers.Add[%d]", i)
		if p.name(field+".Name", f.Name) {
			if other, twice := p.seen[fieldname.Fold(f.Name)]; twice {
				p.fault(field+".Name", fmt.Errorf("%q is in %s too: Set replaces what the request has, Add adds to it", f.Name, other))
			}
		}
		p.write(field, f)
	}
	return &p.edits, p.warnings
}

// maxEdits bounds what the edits of one route cost a request: the fields of it, and the
// variables in their values.
const maxEdits = 1000

// An editsParser makes [Edits], and collects what there is to say about them.
type editsParser struct {
	fault    func(field string, err error)
	warnings []Warning
	seen     map[string]string // from a folded name of Set or Remove to its field
	vars     int               // how many variables there were
	edits    Edits
}

// remove takes a name of Set or Remove.
func (p *editsParser) remove(field, name string) {
	if !p.name(field, name) {
		return
	}
	folded := fieldname.Fold(name)
	if other, twice := p.seen[folded]; twice {
		p.fault(field, fmt.Errorf("%q is in %s already", name, other))
		return
	}
	p.seen[folded] = field
	p.edits.removed = append(p.edits.removed, folded)
	p.edits.lengths |= lengthBit(len(name))
}

// name checks a name.
func (p *editsParser) name(field, name string) bool {
	switch {
	case name == "":
		p.fault(field, errors.New("is required"))
	case strings.ContainsFunc(name, func(c rune) bool { return !isTokenRune(c) }):
		p.fault(field, fmt.Errorf("%q is no name of a field: it has a character that RFC 9110, section 5.6.2, does not allow", name))
	case slices.Contains(serverNames, fieldname.Fold(name)):
		p.fault(field, fmt.Errorf("%q is the server's own: it says how a message is carried, and not what is in it", name))
	default:
		return true
	}
	return false
}

// serverNames are the fields, with their names folded, that whoever sends a message
// writes by himself: they frame it, or concern one connection alone (RFC 9110, section
// 7.6.1, and RFC 9112, section 6). The Host is the upstream's affair.
var serverNames = []string{
	"connection", "content-length", "expect", "host", "http2-settings", "keep-alive",
	"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// write takes a field of Set or Add, whose name was checked.
func (p *editsParser) write(field string, f HeaderField) {
	e := fieldEdit{name: f.Name}
	field += ".Value"
	for i := range len(f.Value) {
		if isControl(f.Value[i]) {
			p.fault(field, fmt.Errorf("%q has a control character, which no value of a field has (RFC 9110, section 5.5)", f.Value))
			return
		}
	}
	for rest := f.Value; rest != ""; {
		text, name, behind := cutVariable(rest)
		if text != "" {
			e.parts = append(e.parts, valuePart{text: text})
		}
		if name != "" {
			if p.vars++; p.vars > maxEdits {
				if p.vars == maxEdits+1 {
					p.fault("Headers", fmt.Errorf("the values have over %d variables", maxEdits))
				}
				return
			}
			vars := varsParser{}
			v := vars.variable(field, name)
			e.parts = append(e.parts, valuePart{isVar: true, of: v})
			for _, w := range vars.warnings {
				if !slices.Contains(p.warnings, w) {
					p.warnings = append(p.warnings, w)
				}
			}
			for _, f := range vars.faults {
				p.fault(field, f.err)
			}
			ofClient := strings.HasPrefix(name, "ssl_client_")
			if folded := fieldname.Fold(f.Name); ofClient && !slices.Contains(p.edits.identity, folded) {
				p.edits.identity = append(p.edits.identity, folded)
			}
			if v.source == fromClient || v.source == fromLookups && !ofClient {
				p.edits.needsVars = true
			}
		}
		rest = behind
	}
	if !slices.ContainsFunc(e.parts, func(p valuePart) bool { return p.isVar }) {
		e.fixed, e.parts = strings.Trim(f.Value, " \t"), nil
	}
	p.edits.fields = append(p.edits.fields, e)
}

// cutVariable finds the first variable of a value. It returns the text before it, its
// name, and what is behind it; without one, all is text. As in APISIX, a dollar sign that
// begins no variable, or has a backslash before it, is text, and so is the backslash.
func cutVariable(s string) (text, name, behind string) {
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i > 0 && s[i-1] == '\\' {
			continue
		}
		name, behind = s[i+1:], ""
		inner, braced := strings.CutPrefix(name, "{")
		n := 0
		for n < len(inner) && isNameByte(inner[n]) {
			n++
		}
		name, behind = inner[:n], inner[n:]
		if braced {
			if behind == "" || behind[0] != '}' {
				continue
			}
			behind = behind[1:]
		}
		if name != "" {
			return s[:i], name, behind
		}
	}
	return s, "", ""
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

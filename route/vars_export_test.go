package route

import "errors"

// Vars is what Config.Vars becomes.
type Vars = vars

// A VarsFault is what is wrong with it.
type VarsFault struct {
	Field, Text, Hint string
	Err               error
}

// ParseVars parses an expression.
func ParseVars(expr []any) (*Vars, []string, []VarsFault) {
	v, warnings, faults := parseVars(expr)
	var out []VarsFault
	for _, f := range faults {
		var err interface {
			APISIXText() string
			Hint() string
		}
		if !errors.As(error(f.err), &err) {
			panic("a fault without a text")
		}
		out = append(out, VarsFault{f.field, err.APISIXText(), err.Hint(), f.err})
	}
	return v, warnings, out
}

func (v *vars) Holds(req *Request, m *Match) bool     { return v.holds(req, m) }
func (v *vars) Explain(req *Request, m *Match) string { return v.explain(req, m) }
func (v *vars) Equal(o *vars) bool                    { return v.equal(o) }

// ToNumber is Lua's tonumber.
var ToNumber = toNumber

// CipherName returns OpenSSL's name of a cipher suite.
var CipherName = cipherName

// VarNames are the variables that HTTPLookups know, and whether they may have several
// values.
var VarNames = varNames

// MatchOf returns what a path captured: names and values by turns.
func MatchOf(params ...string) *Match {
	m := new(Match)
	for i := 0; i < len(params); i += 2 {
		m.names = append(m.names, params[i])
		m.values = append(m.values, params[i+1])
	}
	return m
}

package gateway

import "github.com/sallyport/sallyport/internal/fieldname"

// KindOf is kindOf, and RuleOf what it must be: the first rule that fits.
func KindOf(name string) int { return int(kindOf(name)) }

func RuleOf(name string) int {
	for _, r := range fieldRules {
		if fieldname.Is(name, r.folded) || r.prefix && fieldname.HasPrefix(name, r.folded) {
			return int(r.kind)
		}
	}
	return int(fieldOrdinary)
}

// RuleNames are the names of all rules, and what begins with them.
func RuleNames() (names []string) {
	for _, r := range fieldRules {
		names = append(names, r.folded, r.folded+"x")
	}
	return names
}

// Drops returns the decision on the fields of a header, for a benchmark.
func Drops() func(name string) bool { return new(outgoing).drops }

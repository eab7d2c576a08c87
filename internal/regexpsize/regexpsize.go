// Package regexpsize says how large regular expressions become. In a few bytes, one can ask
// for very many repetitions: "(.{1000}){1000}" is refused by package regexp, and what that
// takes can still be millions of instructions, for memory and for time.
package regexpsize

import "regexp/syntax"

// Of returns how many instructions an expression of package regexp compiles to. The error is
// a [*syntax.Error].
//
// It takes time and memory in proportion to the instructions, which may be a few hundred for
// each byte: bound the length first.
func Of(expression string) (instructions int, err error) {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return 0, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0, err
	}
	return len(program.Inst), nil
}

package regexpsize_test

import (
	"regexp/syntax"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/regexpsize"
)

func TestOf(t *testing.T) {
	for expression, want := range map[string]int{"": 3, "a": 3, "ab": 4, "a*": 4, "a{5}": 7, ".{1000}.{1000}": 2002, "(?i)[a-z]+|^b$": 8} {
		n, err := regexpsize.Of(expression)
		require.NoError(t, err)
		require.Equal(t, want, n, expression)
	}
	for _, expression := range []string{"(", "(?=a)", "a{1001}", "(a{1000}){1000}"} {
		_, err := regexpsize.Of(expression)
		var wrong *syntax.Error
		require.ErrorAs(t, err, &wrong, expression)
	}
}

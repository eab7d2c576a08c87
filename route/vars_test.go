package route_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/route"
)

// decodeVars decodes an expression as the admin API does.
func decodeVars(t testing.TB, s string) (expr []any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(s), &expr), "%.200s", s)
	return expr
}

func mustParseVars(t testing.TB, s string) *route.Vars {
	t.Helper()
	v, _, faults := route.ParseVars(decodeVars(t, s))
	require.Empty(t, faults, "%.200s", s)
	return v
}

// nested32 is a condition in 32 groups.
var nested32 = strings.Repeat("[", 33) + `"a","==","b"` + strings.Repeat("]", 33)

// someRequest is one with something in every place.
const someRequest = `uri=/a/b host=a.test request_method=GET remote_addr=10.1.2.3 http_x_id=1`

// varsCases are expressions, requests as parseWorld reads them, and whether the
// request satisfies the expression: what APISIX says (lua-resty-expr).
var varsCases = []struct {
	expr, request string
	want          bool
}{
	// The whole.
	{`[]`, ``, true},
	{`[["arg_a","==","1"]]`, `arg_a=1`, true},
	{`[["arg_a","==","1"],["arg_b","==","2"]]`, `arg_a=1 arg_b=2`, true},
	{`[["arg_a","==","1"],["arg_b","==","2"]]`, `arg_a=1 arg_b=3`, false},
	{`[["arg_a","==","1"],["arg_b","==","2"]]`, `arg_b=2`, false},
	{nested32, `a=b`, true},

	// == and ~=.
	{`[["arg_a","1"]]`, `arg_a=1`, true},
	{`[["arg_a","1"]]`, `arg_a=2`, false},
	{`[["arg_a","==","1"]]`, ``, false},
	{`[["arg_a","==",""]]`, `arg_a=`, true},
	{`[["arg_a","==",""]]`, ``, false},
	{`[["arg_a","==","A"]]`, `arg_a=a`, false},
	{`[["arg_a","==","1"]]`, `arg_a=1.0`, false},
	{`[["arg_a","==",1]]`, `arg_a=1.0`, true},
	{`[["arg_a","==",1]]`, `arg_a=1`, true},
	{`[["arg_a",1]]`, `arg_a=01`, true},
	{`[["arg_a","==",1]]`, `arg_a=x`, false},
	{`[["arg_a","==",1]]`, `arg_a=`, false},
	{`[["arg_a","==",0]]`, `arg_a=-0`, true},
	{`[["arg_a","==",16]]`, `arg_a=0x10`, true},
	{`[["arg_a","==",-1.5]]`, `arg_a=-15e-1`, true},
	{`[["arg_a","==",1]]`, `arg_a=_1_`, true}, // blanks around it
	{`[["arg_a","~=","1"]]`, `arg_a=1`, false},
	{`[["arg_a","~=","1"]]`, `arg_a=2`, true},
	{`[["arg_a","~=","1"]]`, ``, true},
	{`[["arg_a","~=",1]]`, `arg_a=x`, true},
	{`[["arg_a","~=",1]]`, `arg_a=1e0`, false},
	{`[["arg_a","==",null]]`, ``, true},
	{`[["arg_a","==",null]]`, `arg_a=`, false},
	{`[["arg_a",null]]`, ``, true},
	{`[["arg_a","~=",null]]`, ``, false},
	{`[["arg_a","~=",null]]`, `arg_a=`, true},
	{`[["arg_a","==",true]]`, `arg_a=true`, false},
	{`[["arg_a","~=",true]]`, `arg_a=true`, true},
	{`[["arg_a","==",["1"]]]`, `arg_a=1`, false},
	{`[["arg_a","~=",["1"]]]`, `arg_a=1`, true},

	// Order.
	{`[["arg_a",">",1]]`, `arg_a=2`, true},
	{`[["arg_a",">",1]]`, `arg_a=1`, false},
	{`[["arg_a",">=",1]]`, `arg_a=1`, true},
	{`[["arg_a","<",1]]`, `arg_a=0.5`, true},
	{`[["arg_a","<",1]]`, `arg_a=1`, false},
	{`[["arg_a","<=",1]]`, `arg_a=1`, true},
	{`[["arg_a","<=",1]]`, `arg_a=2`, false},
	{`[["arg_a",">","9"]]`, `arg_a=10`, true}, // as numbers
	{`[["arg_a",">","0x10"]]`, `arg_a=17`, true},
	{`[["arg_a","<",1]]`, ``, false},
	{`[["arg_a","<",1]]`, `arg_a=`, false},
	{`[["arg_a","<","b"]]`, `arg_a=a`, false},
	{`[["arg_a","!","<",1]]`, ``, true},

	// Regular expressions.
	{`[["uri","~~","^/a"]]`, someRequest, true},
	{`[["uri","~~","b"]]`, someRequest, true}, // anywhere
	{`[["uri","~~","^b"]]`, someRequest, false},
	{`[["uri","~~","B"]]`, someRequest, false},
	{`[["uri","~*","^/A/B$"]]`, someRequest, true},
	{`[["uri","~*","x|B"]]`, someRequest, true},
	{`[["arg_a","~~",".*"]]`, ``, false},
	{`[["arg_a","~~",".*"]]`, `arg_a=`, true},
	{`[["arg_a","!","~~","^[0-9]+$"]]`, `arg_a=1x`, true},
	{`[["remote_addr","~~","^10[.]1[.]"]]`, someRequest, true},
	{`[["remote_addr","~*","FE80"]]`, `remote_addr=fe80::1%eth0`, true},
	{`[["remote_addr","~~","%"]]`, `remote_addr=fe80::1%eth0`, false},

	// Lists.
	{`[["arg_a","in",["1","2"]]]`, `arg_a=2`, true},
	{`[["arg_a","in",["1","2"]]]`, `arg_a=3`, false},
	{`[["arg_a","in",["1","2"]]]`, ``, false},
	{`[["arg_a","in",[1,2]]]`, `arg_a=2.0`, true},
	{`[["arg_a","in",["1",2]]]`, `arg_a=1.0`, false},
	{`[["arg_a","in",["1",null]]]`, ``, true},
	{`[["arg_a","in",["1",null]]]`, `arg_a=2`, false},
	{`[["arg_a","in",[]]]`, `arg_a=1`, false},
	{`[["arg_a","in",[true]]]`, `arg_a=true`, false},
	{`[["arg_a","!","in",["1","2"]]]`, `arg_a=3`, true},
	{`[["arg_a","!","in",["1","2"]]]`, ``, true},
	{`[["arg_a","!","in",["1","2"]]]`, `arg_a=1`, false},
	{`[["request_method","in",["GET","POST"]]]`, someRequest, true},
	{`[["remote_addr","in",["10.1.2.3","::1"]]]`, someRequest, true},
	{`[["remote_addr","in",["10.1.2.4","::1"]]]`, someRequest, false},

	// Addresses.
	{`[["remote_addr","ipmatch",["10.0.0.0/8"]]]`, someRequest, true},
	{`[["remote_addr","ipmatch",["10.9.9.9/8"]]]`, someRequest, true}, // bits behind the prefix
	{`[["remote_addr","ipmatch","10.1.2.3"]]`, someRequest, true},
	{`[["remote_addr","ipmatch",["11.0.0.0/8","::/0"]]]`, someRequest, false},
	{`[["remote_addr","ipmatch",["::ffff:10.0.0.0/104"]]]`, someRequest, true},
	{`[["remote_addr","ipmatch",["10.0.0.0/8"]]]`, `remote_addr=::ffff:10.0.0.1`, true},
	{`[["remote_addr","ipmatch",["fe80::/10"]]]`, `remote_addr=fe80::1%eth0`, true},
	{`[["remote_addr","ipmatch",["0.0.0.0/0","::/0"]]]`, ``, false},
	{`[["remote_addr","!","ipmatch",["10.0.0.0/8"]]]`, `remote_addr=11.0.0.1`, true},
	{`[["remote_addr","!","ipmatch",["10.0.0.0/8"]]]`, someRequest, false},
	{`[["remote_addr","ipmatch",["10.1.0.0/16","10.0.0.0/8","10.1.2.0/24","1.1.1.1","10.255.0.0/16"]]]`, `remote_addr=10.254.0.1`, true},
	{`[["http_x_real_ip","ipmatch",["10.0.0.0/8"]]]`, `http_x_real_ip=10.0.0.1`, true},
	{`[["http_x_real_ip","ipmatch",["10.0.0.0/8"]]]`, `http_x_real_ip=::ffff:10.0.0.1`, true},
	{`[["http_x_real_ip","ipmatch",["0.0.0.0/0"]]]`, `http_x_real_ip=10.0.0.1,10.0.0.2`, false},
	{`[["http_x_real_ip","ipmatch",["0.0.0.0/0","::/0"]]]`, `http_x_real_ip=10.0.0`, false},
	{`[["http_x_real_ip","ipmatch",["0.0.0.0/0","::/0"]]]`, `http_x_real_ip=10.0.0.256`, false},
	{`[["http_x_real_ip","ipmatch",["0.0.0.0/0","::/0"]]]`, `http_x_real_ip=010.0.0.1`, false},
	{`[["http_x_real_ip","ipmatch",["0.0.0.0/0","::/0"]]]`, `http_x_real_ip=fe80::1%eth0`, false},
	{`[["http_x_real_ip","ipmatch",["0.0.0.0/0","::/0"]]]`, `http_x_real_ip=x`, false},
	{`[["http_x_real_ip","ipmatch",["0.0.0.0/0","::/0"]]]`, ``, false},

	// Several values.
	{`[["all_san","has","a"]]`, `all_san=a,b`, true},
	{`[["all_san","has","c"]]`, `all_san=a,b`, false},
	{`[["all_san","has",1]]`, `all_san=a,1.0`, true},
	{`[["all_san","has","a"]]`, `all_san`, false},
	{`[["all_san","!","has","c"]]`, `all_san=a,b`, true},
	{`[["all_san","!","has","a"]]`, `all_san`, true},
	{`[["arg_a","has","a"]]`, `arg_a=a`, false},
	{`[["arg_a","!","has","a"]]`, `arg_a=a`, true},
	{`[["all_san","==","b"]]`, `all_san=a,b`, true},
	{`[["all_san","~=","b"]]`, `all_san=a,b`, false},
	{`[["all_san","~=","c"]]`, `all_san=a,b`, true},
	{`[["all_san","~~","^b$"]]`, `all_san=a,b`, true},
	{`[["all_san","in",["b","c"]]]`, `all_san=a,b`, true},
	{`[["all_san","==",null]]`, `all_san`, true},
	{`[["all_san","==",null]]`, `all_san=a`, false},

	// Groups.
	{`["AND",["arg_a","1"],["arg_b","2"]]`, `arg_a=1 arg_b=2`, true},
	{`["AND",["arg_a","1"],["arg_b","2"]]`, `arg_a=1`, false},
	{`["or",["arg_a","1"],["arg_b","2"]]`, `arg_b=2`, true},
	{`["OR",["arg_a","1"],["arg_b","2"]]`, `arg_b=3`, false},
	{`["!AND",["arg_a","1"],["arg_b","2"]]`, `arg_a=1`, true},
	{`["!AND",["arg_a","1"],["arg_b","2"]]`, `arg_a=1 arg_b=2`, false},
	{`["!or",["arg_a","1"],["arg_b","2"]]`, ``, true},
	{`["!OR",["arg_a","1"],["arg_b","2"]]`, `arg_a=1`, false},
	{`[["OR",["arg_a","1"],["arg_a","2"]],["arg_b","3"]]`, `arg_a=2 arg_b=3`, true},
	{`[["OR",["arg_a","1"],["arg_a","2"]],["arg_b","3"]]`, `arg_a=2`, false},
	{`["OR",["AND",["arg_a","1"],["arg_b","2"]],["!OR",["arg_a","1"],["arg_c","3"]]]`, `arg_a=1 arg_b=2`, true},
	{`["OR",["AND",["arg_a","1"],["arg_b","2"]],["!OR",["arg_a","1"],["arg_c","3"]]]`, `arg_b=2`, true},
	{`["OR",["AND",["arg_a","1"],["arg_b","2"]],["!OR",["arg_a","1"],["arg_c","3"]]]`, `arg_c=3`, false},
	{`[[["arg_a","1"],["arg_b","2"]],["arg_c","3"]]`, `arg_a=1 arg_b=2 arg_c=3`, true},
	{`[[["arg_a","1"],["arg_b","2"]],["arg_c","3"]]`, `arg_a=1 arg_c=3`, false},

	// Operators in upper case.
	{`[["arg_a","IN",["1"]]]`, `arg_a=1`, true},
	{`[["all_san","Has","a"]]`, `all_san=a`, true},
	{`[["remote_addr","IPMatch",["10.0.0.0/8"]]]`, someRequest, true},

	// Variables.
	{`[["host","==","a.test"]]`, someRequest, true},
	{`[["host","==",null]]`, `uri=/`, true},
	{`[["host","~~","^"]]`, `uri=/`, false},
	{`[["method","==","GET"],["request_method","==","GET"]]`, someRequest, true},
	{`[["remote_addr","==","10.1.2.3"]]`, someRequest, true},
	{`[["remote_addr","==","10.1.2.30"]]`, someRequest, false},
	{`[["remote_addr","==","::ffff:10.1.2.3"]]`, someRequest, false}, // it is not written so
	{`[["remote_addr","==",10]]`, someRequest, false},
	{`[["remote_addr",">",1]]`, someRequest, false},
	{`[["remote_addr","has","10.1.2.3"]]`, someRequest, false},
	{`[["remote_addr","==",null]]`, ``, true},
	{`[["http_x_id","==","1"],["http_X-Id","==","1"]]`, someRequest, true},
	{`[["HTTP_x_id","==","1"]]`, someRequest, false},
	{`[["cookie_A","==","1"]]`, `cookie_a=1`, false},
	{`[["post_arg_a","==","1"]]`, `post_arg_a=1`, true},
	{`[["uri_param_id","==","7"]]`, `uri_param_id=7`, true},
	{`[["uri_param_id","==",null]]`, `uri_param_x=7`, true},
	{`[["query_string","==","a"],["args","==","a"]]`, `args=a`, true},
	{`[["of_my_own","==","1"]]`, `of_my_own=1`, true},
}

func TestVars(t *testing.T) {
	for _, c := range varsCases {
		v := mustParseVars(t, c.expr)
		w := parseWorld(c.request)
		req, m := w.request()
		require.Equal(t, c.want, v.Holds(req, m), "%s of %s", c.expr, c.request)
		require.Equal(t, c.want, w.slow(decodeVars(t, c.expr)), "the oracle: %s of %s", c.expr, c.request)
	}
}

// Without Lookups and a match, all that they would know is absent.
func TestVarsWithoutLookups(t *testing.T) {
	v := mustParseVars(t, `[["arg_a",null],["uri_param_a",null],["ssl_client_dns_sans",null],["uri","/"]]`)
	require.True(t, v.Holds(&route.Request{Path: "/"}, nil))
}

// A Go programmer writes values of other types than JSON has.
func TestVarsOfGo(t *testing.T) {
	type name string
	w := parseWorld(`arg_a=2 arg_b=x`)
	req, m := w.request()
	for _, expr := range [][]any{
		{[]string{"arg_b", "==", "x"}},
		{[]any{name("arg_b"), name("=="), name("x")}},
		{[]any{"arg_a", "==", 2}},
		{[]any{"arg_a", "==", int8(2)}},
		{[]any{"arg_a", "==", uint16(2)}},
		{[]any{"arg_a", "==", float32(2)}},
		{[]any{"arg_a", "==", json.Number("2")}},
		{[]any{"arg_a", "in", []int{1, 2}}},
		{[]any{"arg_b", "in", []string{"x", "y"}}},
		{[]any{"arg_b", "in", [2]string{"x", "y"}}},
		{"OR", [2]string{"arg_b", "y"}, []string{"arg_b", "x"}},
	} {
		v, warnings, faults := route.ParseVars(expr)
		require.Empty(t, faults, "%v", expr)
		require.Empty(t, warnings, "%v", expr)
		require.True(t, v.Holds(req, m), "%v", expr)
	}
}

const conditionHint = `a condition is [variable, operator, value] or [variable, "!", operator, value]`

// repeat returns an expression of n conditions.
func repeat(n int, condition string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(condition+",", n), ",") + "]"
}

func TestVarsRefuses(t *testing.T) {
	for _, c := range []struct{ expr, field, text, hint string }{
		// In APISIX's words.
		{`["arg_a","==","1"]`, "Vars", "rule should be wrapped inside brackets", `[["host", "==", "a.test"]]`},
		{`["XOR",["a","b"],["a","c"]]`, "Vars", "rule should be wrapped inside brackets", `[["host", "==", "a.test"]]`},
		{`[1]`, "Vars[0]", "invalid expression", conditionHint},
		{`[null,["a","b"]]`, "Vars[0]", "invalid expression", conditionHint},
		{`["OR"]`, "Vars", "rule too short", `"OR" needs two conditions behind it, or more`},
		{`["and",["a","b"]]`, "Vars", "rule too short", `"and" needs two conditions behind it, or more`},
		{`[["!OR",["a","b"]]]`, "Vars[0]", "rule too short", `"!OR" needs two`},
		{`[[]]`, "Vars[0]", "rule too short", conditionHint},
		{`[["a"]]`, "Vars[0]", "rule too short", conditionHint},
		{`[["a","b"],["OR",["a","b"],["a"]]]`, "Vars[1][2]", "rule too short", conditionHint},
		{`[["a","=","b"]]`, "Vars[0]", "invalid operator '='", `write "=="`},
		{`[["a","!=","b"]]`, "Vars[0]", "invalid operator '!='", `"not equal" is "~="`},
		{`[["a","!","LIKE","b"]]`, "Vars[0]", "invalid operator 'LIKE'", "the operators are =="},
		{`[["a",1,"b"]]`, "Vars[0]", "invalid expression", "1 is no operator"},
		{`[["a","b"],"c"]`, "Vars[1]", "invalid expression", `"c" is no condition: ` + conditionHint},
		{`[["a","b"],{"a":"b"}]`, "Vars[1]", "invalid expression", `{"a":"b"} is no condition`},
		{`[[1,"==","b"]]`, "Vars[0][0]", "invalid expression", "1 is no variable: its name is a string"},
		{`[["a","!","==","b","c"]]`, "Vars[0]", "invalid expression", "it has 5 elements"},
		{`[["or",["a","b"],"c"]]`, "Vars[0][2]", "invalid expression", `"c" is no condition`},
		{`[["a","not","==","b"]]`, "Vars[0]", "bad 'not' expression", `of four elements the second is "!"`},
		{`[["a","!","b"]]`, "Vars[0]", "bad 'not' expression", `"!" stands before an operator and a value`},

		// Of the wrong type.
		{`[["a","~~",1]]`, "Vars[0][2]", "", `"~~" needs a regular expression, which is a string, and not 1`},
		{`[["a","!","~*",null]]`, "Vars[0][3]", "", `"~*" needs a regular expression, which is a string, and not null`},
		{`[["a","in","b"]]`, "Vars[0][2]", "", `"in" needs a list, and not "b": write ["b"]`},
		{`[["a","has",null]]`, "Vars[0][2]", "", `"has" needs a string or a number, and not null`},
		{`[["a",">",true]]`, "Vars[0][2]", "", `">" compares numbers, and true is none`},
		{`[["a","<=",null]]`, "Vars[0][2]", "", `"<=" compares numbers, and null is none`},
		{`[["a",">",[1]]]`, "Vars[0][2]", "", `">" compares numbers, and [1] is none`},
		{`[["a",{}]]`, "Vars[0][1]", "", `{} is no string, number, boolean, null or list`},
		{`[["a","in",[{"a":1}]]]`, "Vars[0][2][0]", "", `{"a":1} is no string, number, boolean, null or list`},
		{`[["a","ipmatch",1]]`, "Vars[0][2]", "", `"ipmatch" needs a list of addresses or of ranges in CIDR notation, and not 1`},
		{`[["a","ipmatch",["10.0.0.0/8",1]]]`, "Vars[0][2][1]", "", "1 is no address and no range in CIDR notation"},
		{`[["a","ipmatch",["10.0.0.0/33"]]]`, "Vars[0][2][0]", "", `"10.0.0.0/33" is no address and no range in CIDR notation`},
		{`[["a","ipmatch","a.test"]]`, "Vars[0][2]", "", `"a.test" is no address and no range in CIDR notation`},
		{`[["a","ipmatch",["fe80::1%eth0"]]]`, "Vars[0][2][0]", "", `is no address and no range`},

		// Regular expressions.
		{`[["a","~~","(a"]]`, "Vars[0][2]", "", `"(a" is no regular expression of RE2: missing closing ): "(a"`},
		{`[["a","~~","a(?=b)"]]`, "Vars[0][2]", "", `"a(?=b)" has lookahead, which RE2 does not: it is Go's regexp that runs here, not PCRE`},
		{`[["a","~~","^(?!b)"]]`, "Vars[0][2]", "", "has lookahead"},
		{`[["a","~~","(?<=a)b"]]`, "Vars[0][2]", "", "has lookbehind"},
		{`[["a","~~","(?<!a)b"]]`, "Vars[0][2]", "", "has lookbehind"},
		{`[["a","~~","(a)\\1"]]`, "Vars[0][2]", "", "has a back-reference"},
		{`[["a","~~","(?P<n>a)(?P=n)"]]`, "Vars[0][2]", "", "has a back-reference"},
		{`[["a","~~","(?<n>a)\\k<n>"]]`, "Vars[0][2]", "", "has a back-reference"},
		{`[["a","~~","a++"]]`, "Vars[0][2]", "", "has a possessive quantifier"},
		{`[["a","~~","a{1,2}+"]]`, "Vars[0][2]", "", "has a possessive quantifier"},
		{`[["a","~~","(?>a+)b"]]`, "Vars[0][2]", "", "has an atomic group"},
		{`[["a","~~","(?#x)a"]]`, "Vars[0][2]", "", "has a comment"},
		{`[["a","~~","(a(?R)?b)"]]`, "Vars[0][2]", "", "has recursion"},
		{`[["a","~~","(a)?(?(1)b|c)"]]`, "Vars[0][2]", "", "has a conditional group"},
		{`[["a","~~","(*UTF8)a"]]`, "Vars[0][2]", "", "has a verb"},
		{`[["a","~~","[(?=]\\((?"]]`, "Vars[0][2]", "", "is no regular expression of RE2"},
		{`[["a","~~","[](?=](?"]]`, "Vars[0][2]", "", "is no regular expression of RE2"},
		{`[["a","~~","\\Q(?=\\E(?"]]`, "Vars[0][2]", "", "is no regular expression of RE2"},
		{`[["a","~~","\\Q(?=\\E(?=)"]]`, "Vars[0][2]", "", "has lookahead"},
		{`[["a","~~","` + strings.Repeat("a", 4097) + `"]]`, "Vars[0][2]", "", "a regular expression of 4097 bytes is longer than 4096"},
		{`[["a","~~","` + strings.Repeat("[a-z]{1,1000}", 20) + `"]]`, "Vars[0][2]", "", "its repetitions are too many"},

		// What is there in APISIX alone.
		{`[["post_arg.a.b","==","1"]]`, "Vars[0]", "", "post_arg.a.b: bodies are not searched by path; post_arg_NAME is an argument of an urlencoded form"},

		// Too much.
		{"[" + nested32 + "]", "Vars" + strings.Repeat("[0]", 32), "", "groups are nested over 32 deep"},
		{repeat(1001, `["a","b"]`), "Vars", "", "it has over 1000 conditions"},
		{`["OR",` + repeat(20, repeat(50, `["a","b"]`))[1:], "Vars", "", "it has over 1000 conditions"},
		{`[["a","in",` + repeat(10001, "1") + `]]`, "Vars", "", "its lists have over 10000 values"},
		{repeat(7, `["a","~~","`+strings.Repeat(".{999}", 9)+`"]`), "Vars", "", "its regular expressions compile to over 50000 instructions"},
		{`[["a","in",` + repeat(6000, `"1"`) + `],["a","ipmatch",` + repeat(6000, `"::"`) + `]]`, "Vars", "", "its lists have over 10000 values"},
	} {
		v, _, faults := route.ParseVars(decodeVars(t, c.expr))
		require.Nil(t, v, "%.200s", c.expr)
		require.Len(t, faults, 1, "%.200s", c.expr)
		f := faults[0]
		require.Equal(t, c.field, f.Field, "%.200s", c.expr)
		require.Equal(t, c.text, f.Text, "%.200s", c.expr)
		require.Contains(t, f.Hint, c.hint, "%.200s", c.expr)
		want := f.Hint
		if f.Text != "" {
			want = f.Text + " (" + f.Hint + ")"
		}
		require.EqualError(t, f.Err, want)
	}
}

// What is at the limits is taken.
func TestVarsLimits(t *testing.T) {
	for _, expr := range []string{
		repeat(1000, `["a","b"]`),
		`[["a","in",` + repeat(10000, "1") + `]]`,
		`[["a","~~","` + strings.Repeat("a", 4096) + `"]]`,
		repeat(5, `["a","~~","`+strings.Repeat(".{999}", 10)+`"]`),
		nested32,
	} {
		mustParseVars(t, expr)
	}
}

func TestVarsReportsEveryFault(t *testing.T) {
	_, warnings, faults := route.ParseVars(decodeVars(t, `[["a","=","b"],["OR",["uri","~~","("],["c"]],["uri","in","x"]]`))
	var fields []string
	for _, f := range faults {
		fields = append(fields, f.Field)
	}
	require.Equal(t, []string{"Vars[0]", "Vars[1][1][2]", "Vars[1][2]", "Vars[2][2]"}, fields)
	require.Equal(t, []string{`Vars[0]: "a" is unknown: unless Lookups of your own know it, it is always absent`}, told(t, "", warnings))
}

// Values that JSON does not have.
func TestVarsRefusesOfGo(t *testing.T) {
	cyclic := []any{nil}
	cyclic[0] = cyclic
	for _, c := range []struct {
		expr        []any
		field, hint string
	}{
		{[]any{[]any{"a", math.NaN()}}, "Vars[0][1]", "NaN is no number to compare with"},
		{[]any{[]any{"a", "in", []float64{math.Inf(1)}}}, "Vars[0][2][0]", "+Inf is no number"},
		{[]any{[]any{"a", json.Number("1e999")}}, "Vars[0][1]", "1e999 is no string, number"},
		{[]any{[]any{"a", func() {}}}, "Vars[0][1]", "func() is no string, number"},
		{[]any{[]any{"a", &cyclic}}, "Vars[0][1]", "is no string, number"},
		{cyclic, "Vars" + strings.Repeat("[0]", 32), "groups are nested over 32 deep"},
		{[]any{cyclic, cyclic}, "Vars[0]" + strings.Repeat("[0]", 31), "groups are nested over 32 deep"},
	} {
		v, _, faults := route.ParseVars(c.expr)
		require.Nil(t, v)
		require.NotEmpty(t, faults)
		require.Equal(t, c.field, faults[0].Field)
		require.Contains(t, faults[0].Hint, c.hint)
	}
}

func TestVarsWarns(t *testing.T) {
	for _, c := range []struct {
		expr string
		want []string
	}{
		{`[["uri","/"],["arg_x","1"],["ssl_client_dns_sans","has","a"],["query_string","a"],["http_host","a"]]`, nil},
		{`[["uri","/"],["OR",["foo","1"],["route_id","1"]]]`, []string{
			`Vars[1][1]: "foo" is unknown: unless Lookups of your own know it, it is always absent`,
			`Vars[1][2]: "route_id" is unknown: unless Lookups of your own know it, it is always absent`,
		}},
		{`[["graphql_name","==","a"]]`, []string{"Vars[0]: graphql_name is unknown: bodies are not read as GraphQL; unless Lookups of your own know it, it is always absent"}},
		{`[["uri","==",true]]`, []string{`Vars[0][2]: no variable ever equals the boolean true: write the string "true"`}},
		{`[["uri","in",["a",false,[]]]]`, []string{
			`Vars[0][2][1]: no variable ever equals the boolean false: write the string "false"`,
			`Vars[0][2][2]: no variable ever equals []`,
		}},
		{`[["uri","in",[]]]`, []string{"Vars[0][2]: nothing is in the list: it never holds"}},
		{`[["remote_addr","ipmatch",[]]]`, []string{"Vars[0][2]: nothing is in the list: it never holds"}},
		{`[["arg_a",">","b"]]`, []string{`Vars[0][2]: ">" compares numbers, and "b" is none: it never holds`}},
		{`[["http_a_b","has","c"]]`, []string{`Vars[0]: http_a_b never has several values, and "has" is for those that may: it never holds`}},
		{`[["scheme","has","c"]]`, []string{`Vars[0]: scheme never has several values, and "has" is for those that may: it never holds`}},
		{`[["remote_addr","a.test"]]`, []string{`Vars[0][1]: "a.test" is no address, which remote_addr is: no client has it`}},
		{`[["remote_addr","in",["10.0.0.1","::0001"]]]`, []string{`Vars[0][2][1]: remote_addr is compared as a string, and that of this address is "::1": no client has "::0001"`}},
	} {
		v, warnings, faults := route.ParseVars(decodeVars(t, c.expr))
		require.NotNil(t, v, c.expr)
		require.Empty(t, faults, c.expr)
		require.Equal(t, c.want, told(t, "", warnings), c.expr)
	}
}

func TestVarsExplain(t *testing.T) {
	for _, c := range []struct{ expr, request, want string }{
		{`[]`, ``, ""},
		{`[["arg_a","1"]]`, `arg_a=1`, ""},
		{`[["uri","~~","^/"],["http_x_canary","==","1"],["arg_b","2"]]`, `uri=/ http_x_canary=0`, `Vars[1]: http_x_canary is "0", not == "1"`},
		{`[["arg_v",">=",2]]`, ``, `Vars[0]: arg_v is absent, not >= 2`},
		{`[["arg_v","==",null]]`, `arg_v=1`, `Vars[0]: arg_v is "1", not == null`},
		{`[["arg_v","~=","1"]]`, `arg_v=1`, `Vars[0]: arg_v is "1", which is == "1"`},
		{`[["uri","!","~~","^/a"]]`, `uri=/a`, `Vars[0]: uri is "/a", which is ~~ "^/a"`},
		{`[["cookie_a","in",["y",2,null,"x"]]]`, `cookie_a=z`, `Vars[0]: cookie_a is "z", not in [null,2,"x","y"]`},
		{`[["all_san","has","c"]]`, `all_san=a,b`, `Vars[0]: all_san is ["a","b"], not has "c"`},
		{`[["all_san","has","c"]]`, `all_san`, `Vars[0]: all_san is absent, not has "c"`},
		{`[["remote_addr","ipmatch",["10.0.0.0/8","::1"]]]`, `remote_addr=::ffff:1.2.3.4`, `Vars[0]: remote_addr is "1.2.3.4", not ipmatch ["10.0.0.0/8","::1"]`},
		{`[["remote_addr","10.0.0.1"]]`, ``, `Vars[0]: remote_addr is absent, not == "10.0.0.1"`},
		{`[["uri_param_id","~*","X"]]`, `uri_param_id=7`, `Vars[0]: uri_param_id is "7", not ~* "X"`},
		{`[["uri","==",true]]`, `uri=true`, `Vars[0]: uri is "true", not == true`},
		{`["OR",["method","PUT"],["AND",["host","a.test"],["post_arg_a","<",1]]]`, `request_method=GET host=b.test`, `Vars[1]: request_method is "GET", not == "PUT"; Vars[2][1]: host is "b.test", not == "a.test"`},
		{`[["uri","/"],["!OR",["arg_a","1"],["arg_b","2"]]]`, `uri=/ arg_b=2`, `Vars[1][2]: arg_b is "2", which is == "2"`},
		{`["!AND",["arg_a","1"],["arg_b","2"]]`, `arg_a=1 arg_b=2`, `Vars[1]: arg_a is "1", which is == "1"; Vars[2]: arg_b is "2", which is == "2"`},
		{`["OR",["a",1],["a",2],["a",3],["a",4],["a",5],["a",6]]`, ``, `Vars[1]: a is absent, not == 1; Vars[2]: a is absent, not == 2; Vars[3]: a is absent, not == 3; Vars[4]: a is absent, not == 4; and 2 more`},
		{`[["arg_a","1"]]`, `arg_a=` + strings.Repeat("ü", 100), `Vars[0]: arg_a is "` + strings.Repeat("ü", 31) + `..., not == "1"`},
		{`[["arg_a","1"]]`, "arg_a=\x01", `Vars[0]: arg_a is "\u0001", not == "1"`},
	} {
		req, m := parseWorld(c.request).request()
		var texts []string
		for _, r := range mustParseVars(t, c.expr).Explain(req, m) {
			texts = append(texts, r.String())
		}
		require.Equal(t, c.want, strings.Join(texts, "; "), c.expr)
	}
}

// Expressions of one line are equal, and those of different lines are not.
func TestVarsEqual(t *testing.T) {
	lines := [][]string{
		{`[]`},
		{`[["arg_a","==","1"]]`, `[["arg_a","1"]]`, `[[["arg_a","1"]]]`, `[["arg_a","!","~=","1"]]`},
		{`[["arg_a","~=","1"]]`, `[["arg_a","!","==","1"]]`},
		{`[["arg_a","==",1]]`, `[["arg_a","==",1.0]]`},
		{`[["arg_a",0]]`, `[["arg_a",-0.0]]`},
		{`[["arg_a",null]]`},
		{`[["arg_A","==","1"]]`},
		{`[["cookie_a","==","1"]]`},
		{`[["http_x_a","==","1"]]`, `[["http_X-A","==","1"]]`},
		{`[["method","==","1"]]`, `[["request_method","==","1"]]`},
		{`[["args","==","1"]]`, `[["query_string","==","1"]]`},
		{`[["arg_a",">",1]]`, `[["arg_a",">","1"]]`, `[["arg_a",">"," 0x1 "]]`},
		{`[["arg_a",">=",1]]`},
		{`[["arg_a","~~","1"]]`},
		{`[["arg_a","~*","1"]]`},
		{`[["arg_a","in",["1","2",3]]]`, `[["arg_a","IN",[3,"2","1","2",true]]]`},
		{`[["arg_a","in",["1","2"]]]`},
		{`[["arg_a","in",["1","2",3,null]]]`},
		{`[["arg_a","has","1"]]`},
		{`[["arg_a","has",1]]`},
		{`[["arg_a","in",[]]]`, `[["arg_a","==",true]]`, `[["arg_a",">","x"]]`, `[["arg_a","ipmatch",[]]]`, `[["arg_a","has",false]]`},
		{`[["arg_a","!","in",[]]]`, `[["arg_a","~=",true]]`},
		{`[["arg_a","ipmatch",["10.0.0.0/8"]]]`, `[["arg_a","ipmatch","10.1.1.1/8"]]`, `[["arg_a","ipmatch",["10.2.0.0/16","::ffff:10.0.0.0/104"]]]`},
		{`[["arg_a","ipmatch",["10.0.0.0/9"]]]`},
		{`[["arg_a","1"],["arg_b","2"]]`, `["AND",["arg_a","1"],["arg_b","2"]]`, `[["and",["arg_a","1"],["arg_b","2"]]]`},
		{`[["arg_b","2"],["arg_a","1"]]`},
		{`["OR",["arg_a","1"],["arg_b","2"]]`, `[["OR",["arg_a","1"],[["arg_b","2"]]]]`},
		{`["!OR",["arg_a","1"],["arg_b","2"]]`},
		{`["OR",["arg_a","1"],["arg_b","2"],["arg_b","2"]]`},
	}
	for i, line := range lines {
		for _, a := range line {
			v := mustParseVars(t, a)
			require.Equal(t, mustParseVars(t, line[0]).String(), v.String(), a)
			for j, other := range lines {
				for _, b := range other {
					o := mustParseVars(t, b)
					require.Equal(t, i == j, v.Equal(o), "%s and %s", a, b)
					require.Equal(t, i == j, v.String() == o.String(), "%s and %s", a, b)
				}
			}
		}
	}
	require.Equal(t, `["OR",["http_x_a","~=",1],["uri","!","in",[null,2,"<"]],["remote_addr","ipmatch",["::1"]]]`,
		mustParseVars(t, `["or",["http_X-A","!","==",1.0],["uri","!","in",["<",2,null]],["remote_addr","ipmatch","::1"]]`).String())
}

func TestToNumber(t *testing.T) {
	for s, want := range map[string]float64{
		"0": 0, "7": 7, "-7": -7, "+7": 7, "007": 7, "1.5": 1.5, ".5": .5, "5.": 5, "1e3": 1000, "1E+3": 1000, "1e-3": .001,
		"0x10": 16, "0XfF": 255, "-0x10": -16, "0x00": 0, "  7\t\n\v\f\r": 7, "1e999": math.Inf(1), "-1e999": math.Inf(-1), "1e-999": 0,
		"0xffffffffffffffff": math.MaxUint64, "0x1" + strings.Repeat("0", 20): 1 << 80,
		"0x1" + strings.Repeat("0", 13) + "8" + strings.Repeat("0", 7) + "1": math.Nextafter(1<<88, math.Inf(1)),
		"0x1" + strings.Repeat("0", 13) + "8" + strings.Repeat("0", 8):       1 << 88,
	} {
		got, ok := route.ToNumber(s)
		require.True(t, ok, "%q", s)
		require.Equal(t, want, got, "%q", s)
		oracle, ok := slowNumber(s)
		require.True(t, ok, "the oracle: %q", s)
		require.Equal(t, want, oracle, "the oracle: %q", s)
	}
	for _, s := range []string{
		"", " ", "+", "-", ".", "e", "1e", "1e+", "--1", "+-1", "1 2", "- 1", "0x", "0xg", "0x-1", "1_000", "0x_1", "0x1_0", "inf", "Inf", "+Infinity",
		"nan", "NaN", "1f", "1,5", "1\x00", "\u00a01", "٣", "0b1", "0o7", "x", "1.2.3", "0x1.8", "0x1p4", "1e5e5",
	} {
		_, ok := route.ToNumber(s)
		require.False(t, ok, "%q", s)
		_, ok = slowNumber(s)
		require.False(t, ok, "the oracle: %q", s)
	}
}

// A varsSource makes random expressions and requests of few words, so that they
// meet.
type varsSource func(n int) int

func (s varsSource) of(words ...string) string { return words[s(len(words))] }

func (s varsSource) variable() string {
	return s.of("uri", "host", "method", "request_method", "remote_addr", "uri_param_id", "http_x_id", "http_X-Id", "arg_a", "arg_b", "cookie_a",
		"post_arg_a", "scheme", "query_string", "args", "all_san", "all_uris", "own")
}

func (s varsSource) text() string {
	return s.of("", "a", "b", "A", "1", "1.0", " 1", "0x1", "2", "10", "-3", "/a", "GET", "a.test", "10.0.0.1", "10.0.0.2", "::1", "fe80::1", "::ffff:10.0.0.1", "10.0.0")
}

func (s varsSource) scalar() any {
	switch s(6) {
	case 0:
		return nil
	case 1, 2:
		return float64(s(4) - 1)
	case 3:
		return s(2) == 0
	default:
		return s.text()
	}
}

func (s varsSource) list(element func() any) []any {
	list := []any{}
	for range s(5) {
		list = append(list, element())
	}
	return list
}

func (s varsSource) comparison() []any {
	var operand any
	op := s.of("==", "~=", "==", "~=", "<", "<=", ">", ">=", "~~", "~*", "in", "IN", "has", "ipmatch")
	switch op {
	case "==", "~=":
		operand = s.scalar()
	case "<", "<=", ">", ">=":
		operand = float64(s(3))
		if s(2) == 0 {
			operand = s.text()
		}
	case "~~", "~*":
		operand = s.of("", "a", "^a$", "[0-9]", "b|^1", "[.]", "^$", "A")
	case "in", "IN":
		operand = s.list(s.scalar)
	case "has":
		operand = s.text()
		if s(2) == 0 {
			operand = float64(s(3))
		}
	case "ipmatch":
		operand = s.list(func() any {
			return s.of("10.0.0.0/8", "10.0.0.1", "10.0.0.2/31", "::1", "::/0", "0.0.0.0/0", "fe80::/10", "::ffff:10.0.0.0/120", "fe80::1/128", "10.0.0.1/30")
		})
	}
	expr := []any{s.variable()}
	switch {
	case op == "==" && s(2) == 0:
	case s(3) == 0:
		expr = append(expr, "!", op)
	default:
		expr = append(expr, op)
	}
	return append(expr, operand)
}

func (s varsSource) expression(depth int) []any {
	var expr []any
	if word := s.of("", "AND", "OR", "!AND", "!or", "or"); word != "" {
		expr = append(expr, word, s.condition(depth), s.condition(depth))
	} else {
		expr = append(expr, s.condition(depth))
	}
	for range s(3) {
		expr = append(expr, s.condition(depth))
	}
	return expr
}

func (s varsSource) condition(depth int) []any {
	if depth > 0 && s(3) == 0 {
		return s.expression(depth - 1)
	}
	return s.comparison()
}

func (s varsSource) world() world {
	w := world{"uri": {s.of("/", "/a", "1")}, "request_method": {s.of("GET", "a")}}
	for range s(12) {
		switch name := s.variable(); name {
		case "uri", "method", "request_method", "http_X-Id", "query_string":
		case "remote_addr":
			w[name] = []string{s.of("10.0.0.1", "10.0.0.2", "::1", "fe80::1", "11.0.0.1")}
		case "all_san", "all_uris":
			w[name] = nil
			for range s(4) {
				w[name] = append(w[name], s.text())
			}
		default:
			w[name] = []string{s.text()}
		}
	}
	return w
}

// compareVars compares what an expression says of a request with what the oracle
// says.
func compareVars(t testing.TB, v *route.Vars, expr []any, w world) {
	req, m := w.request()
	want := w.slow(expr)
	if v.Holds(req, m) != want {
		require.Failf(t, "not as the oracle", "%v of %v: want %t", expr, w, want)
	}
	require.Equal(t, want, v.Explain(req, m) == nil, "%v of %v", expr, w)
}

// checkString checks that an expression that is parsed from a String is equal.
func checkString(t testing.TB, v *route.Vars) *route.Vars {
	again := mustParseVars(t, v.String())
	require.Equal(t, v.String(), again.String())
	require.True(t, v.Equal(again), "%s", v)
	return again
}

func TestVarsAgainstOracle(t *testing.T) {
	held := 0
	for seed := range uint64(1000) {
		s := varsSource(rand.New(rand.NewPCG(seed, 1)).IntN)
		expr := s.expression(3)
		v, _, faults := route.ParseVars(expr)
		require.Empty(t, faults, "%v", expr)
		again := checkString(t, v)
		for range 20 {
			w := s.world()
			compareVars(t, v, expr, w)
			compareVars(t, again, expr, w)
			if w.slow(expr) {
				held++
			}
		}
	}
	require.Greater(t, held, 1000*20/4)
	require.Less(t, held, 1000*20*3/4)
}

// FuzzVars parses anything. What is taken is compared with the oracle.
func FuzzVars(f *testing.F) {
	for i, c := range varsCases {
		f.Add([]byte(c.expr), uint64(i))
	}
	for _, s := range []string{`[["a","=","b"]]`, `["a","==","b"]`, `[["a","~~","(?=a)"]]`, `[["a","ipmatch",["x"]]]`, `[[[[[]]]]]`, `[["a","in",[[]]]]`, `["AND",[],{}]`, `[["http_A B","1"]]`, `[["http_","1"]]`} {
		f.Add([]byte(s), uint64(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		var expr []any
		if json.Unmarshal(data, &expr) != nil {
			return
		}
		v, warnings, faults := route.ParseVars(expr)
		for _, w := range warnings {
			require.True(t, strings.HasPrefix(w.Field, "Vars"), w)
		}
		if len(faults) > 0 {
			require.Nil(t, v)
			for _, f := range faults {
				require.True(t, strings.HasPrefix(f.Field, "Vars"), f.Field)
				require.NotEmpty(t, f.Hint)
			}
			return
		}
		checkString(t, v)
		s := varsSource(rand.New(rand.NewPCG(seed, 2)).IntN)
		for range 5 {
			compareVars(t, v, expr, s.world())
		}
	})
}

// benchmarkVars are conditions of each kind, with a request that satisfies them and
// one that does not.
var benchmarkVars = []struct{ name, expr, hit, miss string }{
	{"op=equal", `[["http_x_canary","==","1"]]`, `http_x_canary=1`, `http_x_canary=0`},
	{"op=number", `[["arg_v",">=",2]]`, `arg_v=10`, `arg_v=x`},
	{"op=hex", `[["arg_v","==",16]]`, `arg_v=0x10`, `arg_v=0x1g`},
	{"op=absent", `[["arg_v","==",null]]`, ``, `arg_v=1`},
	{"op=regex", `[["uri","~~","^/v[0-9]+/"]]`, `uri=/v12/a`, `uri=/vx/a`},
	{"op=regex_fold", `[["http_user_agent","~*","firefox|chrome"]]`, `http_user_agent=Mozilla/5.0_Chrome`, `http_user_agent=curl/8`},
	{"op=in", `[["arg_v","in",["a","b","c","d",5,6]]]`, `arg_v=d`, `arg_v=x`},
	{"op=has", `[["all_san","has","c"]]`, `all_san=a,b,c`, `all_san=a,b`},
	{"op=client", `[["remote_addr","ipmatch",["10.0.0.0/8","192.168.0.0/16","fe80::/10"]]]`, `remote_addr=192.168.1.1`, `remote_addr=11.0.0.1`},
	{"op=client_text", `[["remote_addr","in",["10.0.0.1","fe80::1"]]]`, `remote_addr=fe80::1%eth0`, `remote_addr=11.0.0.1`},
	{"op=client_regex", `[["remote_addr","~~","^2001:"]]`, `remote_addr=2001:1234:1234:1234:1234:1234:1234:1234`, `remote_addr=11.0.0.1`},
	{"op=ipmatch", `[["http_x_real_ip","ipmatch",["10.0.0.0/8","fe80::/10"]]]`, `http_x_real_ip=10.0.0.1`, `http_x_real_ip=unknown`},
	{"op=ipmatch_junk", `[["http_x_real_ip","ipmatch",["::/0"]]]`, `http_x_real_ip=::1`, `http_x_real_ip=1.5`},
	{"op=param", `[["uri_param_id","==","7"]]`, `uri_param_id=7`, `uri_param_id=8`},
	{"op=group", `["OR",["AND",["cookie_beta","==","yes"],["host","==","a.test"]],["!OR",["arg_a","==","1"],["arg_b","==","2"]]]`, `cookie_beta=yes host=a.test`, `arg_b=2`},
}

// fixed are Lookups that have one variable, whatever they are asked for, so that no
// time goes into finding it.
type fixed struct {
	values []string
	isAll  bool
}

func (f *fixed) Lookup(route.VarKind, string) (string, bool) {
	if len(f.values) == 0 {
		return "", false
	}
	return f.values[0], true
}

func (f *fixed) LookupAll(string) ([]string, bool) { return f.values, f.isAll }

// fixedRequest returns a request of at most one variable that is not in the request
// itself, and the parameters of its path.
func fixedRequest(s string) (*route.Request, *route.Match) {
	w := parseWorld(s)
	req, m := w.request()
	f := new(fixed)
	for name, values := range w {
		if name != "uri" && name != "host" && name != "remote_addr" && !strings.HasPrefix(name, "uri_param_") {
			f.values, f.isAll = values, strings.HasPrefix(name, "all_")
		}
	}
	req.Lookups = f
	return req, m
}

// allocations returns how many a call makes when what comes from a pool is there, which
// under the race detector it is not always.
func allocations(call func()) float64 {
	least := testing.AllocsPerRun(1, call)
	for range 20 {
		least = min(least, testing.AllocsPerRun(1, call))
	}
	return least
}

func TestVarsDoNotAllocate(t *testing.T) {
	for _, c := range benchmarkVars {
		v := mustParseVars(t, c.expr)
		for request, want := range map[string]bool{c.hit: true, c.miss: false} {
			req, m := fixedRequest(request)
			require.Equal(t, want, v.Holds(req, m), "%s of %s", c.expr, request)
			require.Zero(t, allocations(func() { v.Holds(req, m) }), "%s of %s", c.expr, request)
			require.Zero(t, allocations(func() {
				onStack, captured := *req, *m // neither is moved to the heap for our sake
				v.Holds(&onStack, &captured)
			}), "%s of %s", c.expr, request)
		}
		o := mustParseVars(t, c.expr)
		require.Zero(t, allocations(func() { v.Equal(o) }), c.expr)
	}
}

func BenchmarkVars(b *testing.B) {
	for _, c := range benchmarkVars {
		v := mustParseVars(b, c.expr)
		for _, to := range []struct{ hit, request string }{{"y", c.hit}, {"n", c.miss}} {
			req, m := fixedRequest(to.request)
			b.Run(c.name+"/hit="+to.hit, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					v.Holds(req, m)
				}
			})
		}
	}
}

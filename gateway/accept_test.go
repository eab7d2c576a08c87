package gateway_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
)

func TestPrefersText(t *testing.T) {
	for accept, want := range map[string]bool{
		"":                                   false,
		"*/*":                                false,
		"application/json":                   false,
		"application/json, text/plain, */*":  false, // a tie
		"text/plain, application/json":       false,
		"text/plain":                         true,
		"Text/Plain":                         true,
		"text/*":                             true,
		"text/html":                          true,
		"text/css":                           false, // neither
		"application/json;q=0.5, text/*":     true,
		"application/json;q=0.5,text/*;q=.4": false,
		"application/*;q=0.5, */*;q=0.6":     true,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true, // a browser
		"text/plain;q=0, */*;q=0.1":                                       false,
		"text/*;q=0.9, text/plain;q=0.1, application/json;q=0.5":          true, // text/html
		"text/plain;charset=utf-8;q=0.9, application/json;q=0.8":          true,
		"text/plain ; Q=0.9 , application/json ; q=0.8":                   true,
		"text/plain;q=2, application/json;q=0.1":                          false,
		"text/plain;q=-1":                                                 false,
		"text/plain;q=1e0":                                                false,
		"text/plain;q=NaN":                                                false,
		"text/plain;q=":                                                   false,
		"text/plain;q=0.0000000":                                          false,
		"text":                                                            false,
		"*":                                                               false,
		"/,;,=,text/":                                                     false,
		"*/plain":                                                         false,
		"application/json;q=0":                                            false,
		"application/json;q=0, */*":                                       true,
		"text/plain;q=0.5;text/plain":                                     true,
	} {
		require.Equal(t, want, gateway.PrefersText(accept), "%q", accept)
	}
}

package apisix

import (
	"maps"
	"math"
	"slices"
	"strings"
)

// This file reads the values of a document.

// asObject returns v as an object. An empty array is an empty object.
func asObject(v any) (map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case []any:
		return nil, len(v) == 0
	}
	return nil, false
}

// asArray returns v as an array. An empty object is an empty array.
func asArray(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case map[string]any:
		return nil, len(v) == 0
	}
	return nil, false
}

// number returns v as a number. Documents hold a float64; times and the like, that
// the program itself puts in, are int or int64.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	}
	return 0, false
}

func isInteger(f float64) bool { return f == math.Trunc(f) && !math.IsInf(f, 0) }

// The value of a property. What is absent or of another type is the zero value.

func stringOf(doc map[string]any, property string) string { s, _ := doc[property].(string); return s }

func objectOf(doc map[string]any, property string) map[string]any {
	m, _ := asObject(doc[property])
	return m
}

func arrayOf(doc map[string]any, property string) []any {
	list, _ := asArray(doc[property])
	return list
}

func has(doc map[string]any, property string) bool { _, ok := doc[property]; return ok }

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// splitNode splits a key of nodes, such as "a.test:80" or "[::1]:80", into the
// host and what stands behind the last colon outside of brackets. Without a port
// that is "", as it is with an empty one.
func splitNode(addr string) (host, port string) {
	i := strings.LastIndexByte(addr, ':')
	if i < 0 || strings.HasSuffix(addr, "]") {
		return addr, ""
	}
	return addr[:i], addr[i+1:]
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

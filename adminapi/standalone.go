package adminapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"

	"github.com/sallyport/sallyport/internal/cjson"
)

// Load makes a document the whole configuration, as one change: everything that is in it,
// and nothing else. The document is the apisix.json of APISIX's standalone mode,
//
//	{"routes": [...], "services": [...], "ssls": [...], "upstreams": [...]}
//
// of 64 MiB at most. An object without an id gets "arr_1" and so on, by its position. In a
// string, "${{NAME}}" stands for an environment variable, and "${{NAME:=text}}" for text if
// there is none; a string that this turns into a number, true or false is one.
// "routes_conf_version" and the like are ignored.
//
// If anything is wrong, nothing changes, and the error joins what is wrong with each
// object. (APISIX leaves such objects out, and takes the rest.) Objects that already are as
// in the document are not touched. The warnings that the answer to a PUT would have are
// logged.
func (h *Handler) Load(ctx context.Context, r io.Reader) error { return h.loadFrom(ctx, "document", r) }

// loadFrom is Load of what has a name in errors.
func (h *Handler) loadFrom(ctx context.Context, name string, r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, maxConfigs+1))
	switch {
	case err != nil:
		return fmt.Errorf("adminapi: %s: %w", name, err)
	case len(data) > maxConfigs:
		return fmt.Errorf("adminapi: %s: is larger than %d bytes", name, maxConfigs)
	}
	whole, err := readStandalone(data)
	if err != nil {
		return fmt.Errorf("adminapi: %s: %s", name, withoutKey(err.Error()))
	}
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	n, err := h.loadWhole(ctx, name, whole)
	if err == nil && n > 0 && h.logger != nil {
		h.logger.Info("configuration changed", "action", "load", "documents", n)
	}
	return err
}

// readStandalone reads a document, with ids and without references to the environment.
func readStandalone(data []byte) (map[string]any, error) {
	v, err := cjson.Decode(data)
	if err != nil {
		return nil, err
	}
	if v, err = withEnvironment(v); err != nil {
		return nil, err
	}
	whole, wrong := wholeOf(v)
	if wrong != nil {
		return nil, wrong
	}
	for _, list := range whole {
		objects, _ := list.([]any)
		for i, o := range objects {
			if doc, ok := o.(map[string]any); ok && doc["id"] == nil {
				doc["id"] = fmt.Sprintf("arr_%d", i+1)
			}
		}
	}
	return whole, nil
}

// loadWhole makes the configuration the given one, and returns the number of documents that
// have changed. changeMu is held.
func (h *Handler) loadWhole(ctx context.Context, name string, whole map[string]any) (int, error) {
	items := h.wholeEdits(ctx, whole, nil)
	edits, f := h.configsEdits(items, nil, newConfigsState())
	if f == nil && len(edits) == 0 {
		return 0, nil
	}
	if f == nil {
		prepared, err := h.prepare(ctx, edits...)
		if err == nil {
			_, report, err := h.commit(ctx, prepared, edits)
			if err != nil {
				return len(edits), fmt.Errorf("adminapi: storage: %s", withoutKey(err.Error()))
			}
			h.warn(edits, report)
			return len(edits), nil
		}
		if h.compileEach(items); !slices.ContainsFunc(items, func(it *item) bool { return it.err != nil }) {
			return 0, fmt.Errorf("adminapi: %s: %s", name, withoutKey(err.Error()))
		}
	} else {
		h.compileEach(items)
	}
	var faults []error
	for _, it := range items {
		if it.err == nil {
			continue
		}
		what := it.resource
		if it.index != noIndex {
			what = fmt.Sprintf("%s[%d], id %q", it.resource, it.index, printable(it.id))
		}
		faults = append(faults, fmt.Errorf("adminapi: %s: %s: %s", name, what, withoutKey(it.err.Error())))
		if len(faults) == maxConfigFaults {
			break
		}
	}
	return 0, errors.Join(faults...)
}

// variable is a reference to the environment.
var variable = regexp.MustCompile(`(?s)\$\{\{\s*(\w+)\s*(?::=\s*(.*?)\s*)?\}\}`)

// ExpandEnv replaces "${{NAME}}" and "${{NAME:=text}}" from the environment, as APISIX does
// in the text of its YAML files. The error names the variables that are not set.
func ExpandEnv(text string) (string, error) {
	var faults []error
	expanded := variable.ReplaceAllStringFunc(text, func(reference string) string {
		m := variable.FindStringSubmatchIndex(reference)
		name := reference[m[2]:m[3]]
		value, ok := os.LookupEnv(name)
		switch {
		case ok:
			return value
		case m[4] >= 0:
			return reference[m[4]:m[5]]
		}
		faults = append(faults, fmt.Errorf("can't find environment variable %s", name))
		return reference
	})
	if err := errors.Join(faults...); err != nil {
		return "", err
	}
	return expanded, nil
}

// withEnvironment expands the strings in a value, in place.
func withEnvironment(v any) (any, error) {
	var faults []error
	switch v := v.(type) {
	case string:
		expanded, err := ExpandEnv(v)
		if err != nil || expanded == v {
			return v, err
		}
		if n, err := strconv.ParseFloat(expanded, 64); err == nil && n-n == 0 {
			return n, nil
		}
		if expanded == "true" || expanded == "false" {
			return expanded == "true", nil
		}
		return expanded, nil
	case []any:
		for i, inner := range v {
			var err error
			v[i], err = withEnvironment(inner)
			faults = append(faults, err)
		}
	case map[string]any:
		for _, name := range slices.Collect(maps.Keys(v)) { // which change meanwhile
			inner := v[name]
			expanded, err := ExpandEnv(name)
			faults = append(faults, err)
			inner, err = withEnvironment(inner)
			faults = append(faults, err)
			if expanded != name {
				delete(v, name)
			}
			v[expanded] = inner
		}
	}
	return v, errors.Join(faults...)
}

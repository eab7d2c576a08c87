// Package yaml reads the apisix.yaml of APISIX's standalone mode. It is a module of its
// own, so that nobody else has to download a YAML library.
//
//	watcher, err := handler.WatchFile("apisix.yaml", &adminapi.WatchFileOptions{Decode: yaml.Decode})
package yaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/sallyport/sallyport/adminapi"
)

// end is how a file ends that was written to its end: within its last bytes, as in APISIX.
var end = regexp.MustCompile(`#END\s*$`)

// Decode turns YAML into the JSON that [*adminapi.Handler.Load] takes. It is for
// [adminapi.WatchFileOptions].
//
// As in APISIX, the text must end with "#END", and "${{NAME}}" and "${{NAME:=text}}" are
// replaced from the environment before the text is parsed, so that quotes decide whether
// something is a string. Dates are strings. A text is refused if it has several documents,
// the same key twice, or aliases that expand to far more than the text itself.
func Decode(data []byte) ([]byte, error) {
	if !end.Match(data[max(0, len(data)-10):]) {
		return nil, errors.New(`missing valid end flag: the last line must be "#END", so that a file that was written half is not taken for a whole one`)
	}
	text, err := adminapi.ExpandEnv(string(data))
	if err != nil {
		return nil, err
	}
	in := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	var node yaml.Node
	switch err := in.Decode(&node); {
	case errors.Is(err, io.EOF):
		return []byte("{}"), nil
	case err != nil:
		return nil, err
	}
	if err := in.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("yaml: there is more than one document")
	}
	datesAsStrings(&node)
	var v any
	if err := node.Decode(&v); err != nil {
		return nil, err
	}
	if v, err = jsonOf(v); err != nil {
		return nil, err
	}
	if v == nil && node.Content[0].Value == "" { // nothing but comments; a null that is written is no object
		v = map[string]any{}
	}
	return json.Marshal(v)
}

// datesAsStrings leaves dates as they are written. It follows no alias.
func datesAsStrings(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!timestamp" {
		n.Tag = "!!str"
	}
	for _, inner := range n.Content {
		datesAsStrings(inner)
	}
}

// jsonOf returns a value that JSON has. A key that is a number or the like becomes a string:
// ports and ids are written so.
func jsonOf(v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			var err error
			if v[name], err = jsonOf(inner); err != nil {
				return nil, err
			}
		}
	case map[any]any:
		out := make(map[string]any, len(v))
		for key, inner := range v {
			name, err := keyOf(key)
			if err != nil {
				return nil, err
			}
			if _, twice := out[name]; twice {
				return nil, fmt.Errorf("yaml: key %q stands twice", name)
			}
			if out[name], err = jsonOf(inner); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		for i, inner := range v {
			var err error
			if v[i], err = jsonOf(inner); err != nil {
				return nil, err
			}
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, errors.New("yaml: a number is not finite")
		}
	}
	return v, nil
}

func keyOf(key any) (string, error) {
	switch key := key.(type) {
	case string:
		return key, nil
	case int, int64, uint64, bool:
		return fmt.Sprint(key), nil
	case float64:
		return strconv.FormatFloat(key, 'g', -1, 64), nil
	}
	return "", errors.New("yaml: a key is neither a string nor a number")
}

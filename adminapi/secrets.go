package adminapi

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/cjson"
)

// A SecretResolver finds the text for a reference that a document has in place of a
// certificate or a private key: "$secret://vault/1/tls/key". Its methods may be called by
// any number of goroutines.
type SecretResolver interface {
	// ResolveSecret returns the text for a reference. The error is shown to the client and must
	// not contain a secret.
	ResolveSecret(ctx context.Context, reference string) (string, error)
}

// resolveTime bounds the time for one reference: other changes wait for it.
const resolveTime = 10 * time.Second

// resolve finds what a reference stands for.
func (h *Handler) resolve(ctx context.Context, reference string) (string, error) {
	if apisix.IsEnvReference(reference) {
		return resolveEnv(reference[len("$env://"):])
	}
	if h.secrets == nil {
		return "", errors.New("Options.Secrets is not set, and nothing else knows $secret://")
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	return h.secrets.ResolveSecret(ctx, reference)
}

// resolveEnv returns an environment variable, "NAME", or one property of one whose
// value is a JSON object, "NAME/property".
func resolveEnv(name string) (string, error) {
	name, property, inside := strings.Cut(name, "/")
	text, ok := os.LookupEnv(name)
	if name == "" || !ok {
		return "", errors.New("there is no such environment variable")
	}
	if !inside {
		return text, nil
	}
	// The error must not say what the variable holds.
	v, err := cjson.Decode([]byte(text))
	if err != nil {
		return "", errors.New("the environment variable is no JSON")
	}
	object, _ := v.(map[string]any)
	value, ok := object[property].(string)
	if !ok {
		return "", errors.New("the environment variable has no such property that is a string")
	}
	return value, nil
}

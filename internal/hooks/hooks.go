// Package hooks joins functions that are told of events.
package hooks

// Join returns a function that calls all of list, from the last to the first and, like
// deferred functions, even if one panics. It is nil if there are none.
func Join[T any](list []func(T)) func(T) {
	if len(list) == 0 {
		return nil
	}
	return func(v T) {
		for _, f := range list {
			defer f(v)
		}
	}
}

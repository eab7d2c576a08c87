// Package hooks is how functions of the user's are called: several that are told of one event,
// and those whose panic must not end the process.
package hooks

import "fmt"

// Recovered calls f. A panic in it is an error, "panicked: " and what it says.
func Recovered(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panicked: %v", r)
		}
	}()
	f()
	return nil
}

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

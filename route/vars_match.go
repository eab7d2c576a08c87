package route

// A Match is what a path captured.
type Match struct {
	names, values []string
}

// Param returns the value of a parameter. ok is false if there is none of that name.
func (m *Match) Param(name string) (value string, ok bool) {
	for i := range m.names {
		if m.names[i] == name {
			return m.values[i], true
		}
	}
	return "", false
}

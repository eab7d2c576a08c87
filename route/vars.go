package route

type vars struct{}

func (v *vars) holds(req *Request, m *Match) bool { return true }

func (v *vars) explain(req *Request, m *Match) string { return "" }
func (v *vars) equal(o *vars) bool                    { return false }

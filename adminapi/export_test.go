package adminapi

import "time"

// SetNow replaces the clock. It must not be called while requests go on.
func (h *Handler) SetNow(now func() time.Time) { h.now = now }

// MaxBody is the size of a request body.
const MaxBody = maxBody

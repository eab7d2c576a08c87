// Package statuspage has what the status page of package adminapi says as Go types: the page
// answers requests for JSON with a [Report].
//
//	curl -u :$KEY -H "Accept: application/json" http://127.0.0.1:9180/status
//
// The names of members do not change, and more may be added. Times are RFC 3339, shares are
// from 0 to 1, and any other unit is in the member's name. An empty list is []; what is not
// known is left out. No text holds a private key. What clients have sent (server names,
// hosts, subjects) is as they sent it, truncated if long: it may hold control characters, or
// what looks like HTML.
package statuspage

import "time"

// A Report is how a gateway is doing.
type Report struct {
	Time  time.Time `json:"time"`  // when this was so
	Since time.Time `json:"since"` // when the gateway was made, and counts began

	// Concerns are what somebody should look at.
	Concerns []Concern `json:"concerns"`

	Configuration Configuration `json:"configuration"`
	Connections   Connections   `json:"connections"`
	Traffic       Traffic       `json:"traffic"`

	// Refused is how often a client was refused since the gateway was made.
	Refused uint64 `json:"refused"`

	// Refusals are the last ones that the gateway remembers, the newest first.
	Refusals List[Refusal] `json:"refusals"`

	// Names are the ssl objects, those first of which a certificate ends first.
	Names List[Name] `json:"names"`

	// Routes are in the order that the request asks for, the busiest first unless it does.
	Routes List[Route] `json:"routes"`

	// Upstreams are sorted by id, but those go first of which a node is not well.
	Upstreams List[Upstream] `json:"upstreams"`

	// Explain is the answer to the question in the request, if it has one: that of POST
	// /apisix/admin/explain.
	Explain map[string]any `json:"explain,omitempty"`
}

// A Concern is something that somebody should look at.
type Concern struct {
	Section string `json:"section"` // where the report says more: "configuration", "names", "upstreams"
	Text    string `json:"text"`
}

// A List is a part of what there is.
type List[T any] struct {
	Part
	List []T `json:"list"`
}

// A Part says which part of what there is a [List] has.
type Part struct {
	Total    int `json:"total"`    // how many there are
	Matching int `json:"matching"` // how many of them fit the filter of the request
	Page     int `json:"page"`     // which part of those this is, from 1 on
	Pages    int `json:"pages"`    // how many parts there are, at least 1
}

// A Configuration says what is in force and where it is kept.
type Configuration struct {
	// Revision counts the changes that the gateway has taken since it was made, and Changed
	// is the time of the last.
	Revision uint64    `json:"revision"`
	Changed  time.Time `json:"changed,omitzero"`

	// How many objects are in force.
	Names     int `json:"names"`
	Routes    int `json:"routes"`
	Upstreams int `json:"upstreams"`

	Storage Storage `json:"storage"`
}

// A Storage is where documents are kept.
type Storage struct {
	Kind string `json:"kind"` // "memory", "file", or the Go type of another

	// Followed says that others may write to it, and that the gateway follows. The rest is
	// about that alone: see adminapi.Status.
	Followed bool       `json:"followed"`
	Revision int64      `json:"revision,omitempty"`
	Error    string     `json:"error,omitempty"`
	Since    time.Time  `json:"since,omitzero"` // of the error
	Rejected []Rejected `json:"rejected"`

	// Files are those that the configuration is taken from: see adminapi.Handler.WatchFile.
	Files []File `json:"files"`
}

// A File is one that the configuration is taken from.
type File struct {
	Path string `json:"path"`

	// Error, if not empty, is why it is not taken as it is now, since the time in Since. The
	// last good configuration goes on.
	Error string    `json:"error,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// A Rejected is a stored document that is not in force.
type Rejected struct {
	Key      string `json:"key"`
	Revision int64  `json:"revision"`
	Error    string `json:"error"`
	LastGood bool   `json:"last_good"` // the version before it is in force
}

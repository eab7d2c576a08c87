// Package statuspage has the contents of the status page of package adminapi as Go types:
// the page answers requests for JSON with a [Report].
//
//	curl -u :$KEY -H "Accept: application/json" http://127.0.0.1:9180/status
//
// The names of members do not change, and more may be added. Times are RFC 3339, shares are
// from 0 to 1, and any other unit is in the member's name. An empty list is []; what is not
// known is left out. No text holds a private key. What clients have sent (server names,
// hosts, subjects) is as they sent it, truncated if long: it may hold control characters,
// or what looks like HTML.
package statuspage

import "time"

// A Report is how a gateway is doing.
type Report struct {
	Time  time.Time `json:"time"`  // when the report was made
	Since time.Time `json:"since"` // when the gateway was made and its counts began

	// Concerns are what somebody should look into.
	Concerns []Concern `json:"concerns"`

	Configuration Configuration `json:"configuration"`
	Connections   Connections   `json:"connections"`
	Traffic       Traffic       `json:"traffic"`

	// Refused is how often clients have been refused since the gateway was made.
	Refused uint64 `json:"refused"`

	// Refusals are the last ones, as far as the gateway has kept them, the newest first.
	Refusals List[Refusal] `json:"refusals"`

	// Names are the ssl objects, the one whose certificate ends first coming first.
	Names List[Name] `json:"names"`

	// Routes are in the order that the request asks for; by default, the busiest first.
	Routes List[Route] `json:"routes"`

	// Upstreams are sorted by id, after those that have a node that is not well.
	Upstreams List[Upstream] `json:"upstreams"`

	// Explain is the answer to the question in the request, if there is one, as POST
	// /apisix/admin/explain gives it.
	Explain map[string]any `json:"explain,omitempty"`
}

// A Concern is something that somebody should look into.
type Concern struct {
	Section string `json:"section"` // where the report says more: "configuration", "names", "upstreams"
	Text    string `json:"text"`
}

// A List is one page of a list.
type List[T any] struct {
	Part
	List []T `json:"list"`
}

// A Part says which page of a list a [List] has.
type Part struct {
	Total    int `json:"total"`    // how many objects there are
	Matching int `json:"matching"` // how many of them match the filter of the request
	Page     int `json:"page"`     // which page of those this is, from 1
	Pages    int `json:"pages"`    // how many pages there are, at least 1
}

// A Configuration says what is in force and where it is kept.
type Configuration struct {
	// Revision counts the changes of the configuration since the gateway was made, and Changed
	// is the time of the last one.
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
	Kind string `json:"kind"` // "memory", "file", or the Go type of any other storage

	// Followed says that others may write to the storage, and that the gateway follows it. The
	// members up to Rejected are only about such a storage: see adminapi.Status.
	Followed bool       `json:"followed"`
	Revision int64      `json:"revision,omitempty"`
	Error    string     `json:"error,omitempty"`
	Since    time.Time  `json:"since,omitzero"` // of the error
	Rejected []Rejected `json:"rejected"`

	// Files are those that the configuration is read from: see adminapi.Handler.WatchFile.
	Files []File `json:"files"`
}

// A File is one that the configuration is read from.
type File struct {
	Path string `json:"path"`

	// Error, if not empty, says why the file in its present state is not used, and Since says
	// since when. The last good configuration stays in force.
	Error string    `json:"error,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// A Rejected is a stored document that is not in force.
type Rejected struct {
	Key      string `json:"key"`
	Revision int64  `json:"revision"`
	Error    string `json:"error"`
	LastGood bool   `json:"last_good"` // the previous version is in force
}

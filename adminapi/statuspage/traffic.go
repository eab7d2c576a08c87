package statuspage

import "time"

// Connections are the connections of clients.
type Connections struct {
	Accepted uint64 `json:"accepted"`
	Open     int64  `json:"open"`

	HTTP1 Protocol `json:"http1"`
	HTTP2 Protocol `json:"http2"`

	// Limits has how often each limit of gateway.Limits was reached, by its name.
	Limits map[string]uint64 `json:"limits"`
}

// A Protocol has the connections that use one protocol.
type Protocol struct {
	Accepted uint64 `json:"accepted"`
	Open     int64  `json:"open"`
	Idle     int64  `json:"idle"` // those of them without a request in progress
}

// Traffic is what happened in the last hour.
type Traffic struct {
	// Minutes has the last hour by minute, the oldest first; the last one is still in progress.
	Minutes []Minute `json:"minutes"`

	// The totals of the minutes.
	Handshakes uint64  `json:"handshakes"` // that succeeded
	Failed     uint64  `json:"failed"`     // handshakes that failed
	Answers    Answers `json:"answers"`

	// In the last whole minute, or in the first one until it is over.
	RequestsPerSecond   float64 `json:"requests_per_second"`
	HandshakesPerSecond float64 `json:"handshakes_per_second"`

	// Reasons say why handshakes failed in the last hour, the most frequent first.
	Reasons []Reason `json:"reasons"`
}

// A Minute is what happened in one minute.
type Minute struct {
	Begin      time.Time `json:"begin"`
	Seconds    float64   `json:"seconds"`    // 60, except for the first and the last minute
	Handshakes uint64    `json:"handshakes"` // that succeeded
	Failed     uint64    `json:"failed"`     // handshakes that failed
	Answers    Answers   `json:"answers"`
}

// Answers are requests by class of status.
type Answers struct {
	Informational uint64 `json:"1xx"`
	Success       uint64 `json:"2xx"`
	Redirection   uint64 `json:"3xx"`
	ClientError   uint64 `json:"4xx"`
	ServerError   uint64 `json:"5xx"`
	None          uint64 `json:"none"` // the client went away first
}

// Total returns how many requests there were.
func (a Answers) Total() uint64 {
	return a.Informational + a.Success + a.Redirection + a.ClientError + a.ServerError + a.None
}

// A Reason says why handshakes failed, and how often.
type Reason struct {
	Reason  string   `json:"reason"`  // of package ssl: "unknown_ca"
	Meaning string   `json:"meaning"` // the same in words
	Count   uint64   `json:"count"`
	Minutes []uint64 `json:"minutes"` // the count in each minute of [Traffic.Minutes]
}

// A Refusal is a client that was refused.
type Refusal struct {
	Time time.Time `json:"time"`

	// Status is the status of the answer to a request. It is left out for a handshake.
	Status int    `json:"status,omitempty"`
	Reason string `json:"reason"` // of package ssl: "unknown_ca", "misdirected"
	Advice string `json:"advice"` // what was wrong, and what to do

	ServerName string `json:"server_name,omitempty"` // of the connection
	Host       string `json:"host,omitempty"`        // of the request
	Remote     string `json:"remote"`                // "10.0.0.1:40000"
	Client     string `json:"client,omitempty"`      // if a trusted proxy named another
	Profile    string `json:"profile,omitempty"`     // the id of the ssl object
	Route      string `json:"route,omitempty"`

	// The certificate that the client presented, if any.
	Subject string `json:"subject,omitempty"`
	Issuer  string `json:"issuer,omitempty"`
	Serial  string `json:"serial,omitempty"` // in upper-case hexadecimal
	SHA256  string `json:"sha256,omitempty"` // in lower-case hexadecimal
}

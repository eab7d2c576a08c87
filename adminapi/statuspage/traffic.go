package statuspage

import "time"

// Connections are those of clients.
type Connections struct {
	Open     int64  `json:"open"`
	Idle     int64  `json:"idle"` // of them, those on which nothing is asked for
	Accepted uint64 `json:"accepted"`

	// Limits are how often each limit of gateway.Limits was reached, by its name.
	Limits map[string]uint64 `json:"limits"`
}

// Traffic is what went on in the last hour.
type Traffic struct {
	// Minutes are those of the last hour, the oldest first; the last one has just begun.
	Minutes []Minute `json:"minutes"`

	// The sums of the minutes.
	Handshakes int64 `json:"handshakes"` // that succeeded
	Failed     int64 `json:"failed"`     // handshakes
	Requests   int64 `json:"requests"`
	Errors     int64 `json:"errors"` // requests answered with 500 or more, or not at all

	// Reasons are why handshakes failed in the hour, the most frequent first.
	Reasons []Reason `json:"reasons"`
}

// A Minute is what went on in one.
type Minute struct {
	Begin      time.Time `json:"begin"`
	Handshakes int64     `json:"handshakes"` // that succeeded
	Failed     int64     `json:"failed"`     // handshakes
	Answers    Answers   `json:"answers"`
}

// Answers are requests by the class of their answer.
type Answers struct {
	Informational int64 `json:"1xx"`
	Success       int64 `json:"2xx"`
	Redirection   int64 `json:"3xx"`
	ClientError   int64 `json:"4xx"`
	ServerError   int64 `json:"5xx"`
	None          int64 `json:"none"` // none was begun
}

// Sum returns how many requests there were.
func (a Answers) Sum() int64 {
	return a.Informational + a.Success + a.Redirection + a.ClientError + a.ServerError + a.None
}

// Errors returns how many were answered with 500 or more, or not at all.
func (a Answers) Errors() int64 { return a.ServerError + a.None }

// A Reason is why handshakes failed.
type Reason struct {
	Reason  string  `json:"reason"` // of package ssl: "unknown_ca"
	Count   int64   `json:"count"`
	Minutes []int64 `json:"minutes"` // as those of [Traffic]
}

// A Refusal is a client that was refused, in the handshake or with a request.
type Refusal struct {
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind"`   // "handshake" or "request"
	Reason string    `json:"reason"` // "unknown_ca", "misdirected"
	Advice string    `json:"advice"` // what to do about it

	Remote  string `json:"remote,omitempty"` // the address
	SNI     string `json:"sni,omitempty"`
	Host    string `json:"host,omitempty"`
	Profile string `json:"profile,omitempty"` // the id of the ssl object

	// What the client presented, if it did.
	Subject string `json:"subject,omitempty"`
	Issuer  string `json:"issuer,omitempty"`
	Serial  string `json:"serial,omitempty"`
	SHA256  string `json:"sha256,omitempty"` // of the certificate, in lower-case hexadecimal
}

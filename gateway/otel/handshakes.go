package gatewayotel

import "github.com/sallyport/sallyport/ssl"

func (s *spans) traceHandshakes(o *ssl.Options, which Handshakes) {}

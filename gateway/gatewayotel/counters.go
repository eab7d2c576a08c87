package gatewayotel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/sallyport/sallyport/gateway"
)

// The attributes of metrics that neither spans nor the semantic conventions have.
const (
	kindKey        = attribute.Key("sallyport.object.kind")
	limitKey       = attribute.Key("sallyport.limit")
	certificateKey = attribute.Key("sallyport.certificate.index")
	classKey       = attribute.Key("sallyport.http.status_class")
	nodeStateKey   = attribute.Key("sallyport.node.state")
)

// Counters makes the metrics listed in the package documentation observable, until the
// returned registration is ended. Each time the SDK collects, it reads
// [gateway.Server.Stats] once. A gateway that is closed can still be read.
//
// The error is that of the meter.
func Counters(server *gateway.Server, opts *Options) (metric.Registration, error) {
	c := opts.withDefaults()
	m := &instruments{most: c.MaxObjects}
	all, err := m.make(meterOf(&c))
	if err != nil {
		return nil, err
	}
	return meterOf(&c).RegisterCallback(func(_ context.Context, o metric.Observer) error {
		st := server.Stats()
		m.observe(o, &st)
		return nil
	}, all...)
}

// instruments are those that are observed.
type instruments struct {
	most int // objects of a kind that are told each

	configChanges metric.Int64ObservableCounter
	configChanged metric.Float64ObservableGauge
	configObjects metric.Int64ObservableGauge

	accepted    metric.Int64ObservableCounter
	open        metric.Int64ObservableUpDownCounter
	connections metric.Int64ObservableUpDownCounter
	limits      metric.Int64ObservableCounter

	handshakes    metric.Int64ObservableCounter
	handshakeTime metric.Float64ObservableCounter
	turnedAway    metric.Int64ObservableCounter
	expiry        metric.Float64ObservableGauge
	crlNextUpdate metric.Float64ObservableGauge

	requests    metric.Int64ObservableCounter
	requestTime metric.Float64ObservableCounter
	refused     metric.Int64ObservableCounter
	unrouted    metric.Int64ObservableCounter
	malformed   metric.Int64ObservableCounter

	upstreamRequests metric.Int64ObservableCounter
	upstreamWait     metric.Float64ObservableCounter
	upstreamRetries  metric.Int64ObservableCounter
	upstreamNodes    metric.Int64ObservableUpDownCounter
}

// make makes the instruments, and returns all of them.
func (m *instruments) make(meter metric.Meter) ([]metric.Observable, error) {
	k := maker{meter: meter}
	m.configChanges = k.counter("sallyport.config.changes", "{change}", "Changes of the configuration that were put into force.")
	m.configChanged = k.gauge("sallyport.config.last_change", "s", "When the configuration was changed last, since 1970.")
	m.configObjects = k.intGauge("sallyport.config.objects", "{object}", "Objects in the configuration.")

	m.accepted = k.counter("sallyport.connections.accepted", "{connection}", "Connections that were taken in.")
	m.open = k.upDown("sallyport.connections.open", "{connection}", "Connections that are open, those in their handshake and those that were taken over included.")
	m.connections = k.upDown("sallyport.http.connections", "{connection}", "Connections that speak a version of HTTP, by whether a request goes on.")
	m.limits = k.counter("sallyport.limits.reached", "{event}", "Connections and requests that were ended by a limit.")

	m.handshakes = k.counter("sallyport.tls.handshakes", "{handshake}", "Handshakes. Those that failed have an error.type.")
	m.handshakeTime = k.seconds("sallyport.tls.handshake.time", "The time of the handshakes that succeeded, from the accepted connection on.")
	m.turnedAway = k.counter("sallyport.tls.turned_away", "{connection}", "Connections that were closed without a handshake because their address had too many.")
	m.expiry = k.gauge("sallyport.tls.certificate.expiry", "s", "When a certificate expires, since 1970.")
	m.crlNextUpdate = k.gauge("sallyport.tls.crl.next_update", "s", "When a revocation list is past its next update and clients are refused, since 1970.")

	m.requests = k.counter("sallyport.http.requests", "{request}", "Requests, by route and the class of the status that they were answered with.")
	m.requestTime = k.seconds("sallyport.http.request.time", "The time of the requests, from their head to the end of the answer.")
	m.refused = k.counter("sallyport.http.requests.refused", "{request}", "Requests that were refused, for the guard or for a route that is not for the client.")
	m.unrouted = k.counter("sallyport.http.requests.unrouted", "{request}", "Requests for which there is no route.")
	m.malformed = k.counter("sallyport.http.requests.malformed", "{request}", "What came in place of a request and was none.")

	m.upstreamRequests = k.counter("sallyport.upstream.requests", "{request}", "Requests to upstreams, by the class of the status that came of them in the end.")
	m.upstreamWait = k.seconds("sallyport.upstream.wait.time", "The time until the heads of the answers came, or the requests were given up.")
	m.upstreamRetries = k.counter("sallyport.upstream.retries", "{request}", "Attempts beyond the first of each request.")
	m.upstreamNodes = k.upDown("sallyport.upstream.nodes", "{node}", "Nodes by their state.")
	return k.all, k.err
}

// A maker makes instruments until one fails.
type maker struct {
	meter metric.Meter
	all   []metric.Observable
	err   error
}

func (k *maker) counter(name, unit, text string) metric.Int64ObservableCounter {
	i, err := k.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
	k.take(i, err)
	return i
}

func (k *maker) upDown(name, unit, text string) metric.Int64ObservableUpDownCounter {
	i, err := k.meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
	k.take(i, err)
	return i
}

func (k *maker) seconds(name, text string) metric.Float64ObservableCounter {
	i, err := k.meter.Float64ObservableCounter(name, metric.WithUnit("s"), metric.WithDescription(text))
	k.take(i, err)
	return i
}

func (k *maker) gauge(name, unit, text string) metric.Float64ObservableGauge {
	i, err := k.meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(text))
	k.take(i, err)
	return i
}

func (k *maker) intGauge(name, unit, text string) metric.Int64ObservableGauge {
	i, err := k.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(text))
	k.take(i, err)
	return i
}

func (k *maker) take(i metric.Observable, err error) {
	k.all = append(k.all, i)
	if k.err == nil {
		k.err = err
	}
}

package gatewayprom

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/gateway"
)

// Options say how much of a gateway is exported. A nil *Options and a zero Options mean the
// same.
type Options struct {
	// MaxObjects bounds how many profiles, how many routes, and how many upstreams and nodes
	// have series of their own. If there are more of one kind, their counts are added up. Zero
	// is 1000, and a negative number is no bound.
	MaxObjects int
}

const defaultMaxObjects = 1000

// NewCollector returns a collector of a gateway's counts, to be registered with a
// [prometheus.Registerer]. It may be used by any number of goroutines, both while the
// gateway serves and after its Close. If a registry has several gateways, each needs a
// label of its own: see [prometheus.WrapRegistererWith].
func NewCollector(server *gateway.Server, o *Options) prometheus.Collector {
	c := &collector{stats: server.Stats, version: moduleVersion()}
	if o != nil {
		c.most = o.MaxObjects
	}
	if c.most == 0 {
		c.most = defaultMaxObjects
	}
	return c
}

// A collector makes metrics of counts when they are asked for.
type collector struct {
	stats   func() gateway.Stats
	version string
	most    int // objects of a kind; negative is no bound
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(to chan<- prometheus.Metric) {
	st := c.stats()
	s := sink{to}
	c.server(s, &st)
	c.handshakes(s, &st.TLS)
	c.requests(s, &st)
	c.upstreams(s, st.Upstreams)
}

// fits reports whether there are series for each of n objects of a kind.
func (c *collector) fits(n int) bool { return c.most < 0 || n <= c.most }

// A sink takes metrics, whose labels must be valid and told apart.
type sink struct{ to chan<- prometheus.Metric }

func (s sink) counter(d *prometheus.Desc, n uint64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// timestamp is for a time that may not have been yet: then there is no metric.
func (s sink) timestamp(d *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		s.gauge(d, float64(t.UnixMilli())/1000, labels...)
	}
}

// histogram shows nothing while there is nothing to count: a histogram has many series.
func (s sink) histogram(d *prometheus.Desc, h *histogram, labels ...string) {
	if h.n == 0 {
		return
	}
	s.to <- prometheus.MustNewConstHistogram(d, h.n, h.sum.Seconds(), h.buckets(), labels...)
}

// label makes a valid label of an ID, which in Go may be any bytes.
func label(id string) string {
	if utf8.ValidString(id) {
		return id
	}
	return strconv.Quote(id)
}

// codes are the values of the label code, by class.
var codes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

func (s sink) byClass(d *prometheus.Desc, counts *gateway.StatusCounts, labels ...string) {
	labels = append(labels, "")
	for class, n := range counts {
		labels[len(labels)-1] = codes[class]
		s.counter(d, n, labels...)
	}
}

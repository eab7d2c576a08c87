package statuspage_test

import (
	"encoding/json"
	"fmt"
	"log"
	"time"

	"github.com/sallyport/sallyport/adminapi/statuspage"
)

// A program that warns of certificates: what a gateway has answered, and the names whose
// certificates somebody should look at.
func ExampleReport() {
	answer := `{
		"time": "2026-11-26T14:03:05Z",
		"names": {"total": 2, "matching": 2, "page": 1, "pages": 1, "list": [
			{"id": "shop", "names": ["shop.example.com"], "certificates": [{"not_after": "2026-12-16T00:00:00Z", "state": "ends_soon"}]},
			{"id": "api", "names": ["api.example.com"], "certificates": [{"not_after": "2027-06-01T00:00:00Z", "state": "valid"}]}
		]}
	}`
	var r statuspage.Report
	if err := json.Unmarshal([]byte(answer), &r); err != nil {
		log.Fatal(err)
	}
	for _, name := range r.Names.List {
		for _, c := range name.Certificates {
			if c.State != statuspage.Valid {
				fmt.Printf("%s: %s, in %d days\n", name.ID, c.State, c.NotAfter.Sub(r.Time)/(24*time.Hour))
			}
		}
	}
	// Output: shop: ends_soon, in 19 days
}

package main

import (
	"fmt"
	"net/netip"
	"strings"
)

// printNextSteps prints the commands of APISIX's how-to "configure mTLS between
// client and APISIX", with the addresses of this process.
func printNextSteps(c config) {
	if c.admin == "off" || c.https == "off" {
		fmt.Println("\nThe how-to needs both HTTPS and the Admin API (-https, -admin).")
		return
	}
	key := ""
	if c.key == "" {
		fmt.Println("\nThe Admin API has no key (-admin-key): it answers only requests for localhost or a loopback address.")
	} else {
		key = ` -H "X-API-KEY: $admin_key"`
		fmt.Println("\nSet admin_key to the key first.")
	}
	if c.plain == "guarded" && c.http != "off" {
		fmt.Println("Once a server name demands client certificates, a route without a host is served over HTTPS only (-plain open changes that).")
	}
	if c.origin == "off" {
		c.origin = "127.0.0.1:8081"
		fmt.Println("The built-in origin is off: put the address of yours in the place of " + c.origin + ".")
	}
	https := reachable(c.https)
	colon := strings.LastIndexByte(https, ':')
	fmt.Print(strings.NewReplacer(
		"{admin}", reachable(c.admin), "{key}", key, "{origin}", reachable(c.origin), "{host}", https[:colon], "{port}", https[colon+1:],
	).Replace(howTo))
}

// printStatusPage prints where to see what becomes of it all.
func printStatusPage(c config) {
	if c.admin == "off" {
		return
	}
	fmt.Printf("\nThe status page: http://%s/status", reachable(c.admin))
	if c.key != "" {
		fmt.Print(" (the key is the password, and any user name will do)")
	}
	fmt.Println()
}

// reachable returns the address by which a listener is reached from this machine.
func reachable(listener string) string {
	addr, err := netip.ParseAddrPort(listener)
	if err != nil || !addr.Addr().IsUnspecified() {
		return listener
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), addr.Port()).String()
}

// The commands are written for bash. The server's certificate has a common name
// and no other, as in the how-to: curl needs -k.
const howTo = `
What to do next (in another shell, in a directory for the certificates):

# 1. A CA, a certificate for the server, and one for a client.
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 36500 -subj "/CN=MyTestCA"
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj "/CN=test.com"
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 36500 -extfile <(printf "extendedKeyUsage=serverAuth") -out server.crt
openssl req -newkey rsa:2048 -nodes -keyout client.key -out client.csr -subj "/CN=CLIENT"
openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 36500 -extfile <(printf "extendedKeyUsage=clientAuth") -out client.crt

# 2. A route.
curl -i "http://{admin}/apisix/admin/routes"{key} -X PUT -d '{"id":"quickstart-ip","uri":"/ip","upstream":{"nodes":{"{origin}":1},"type":"roundrobin"}}'

# 3. The certificate of test.com, and whose client certificates it takes.
server_cert=$(cat server.crt) server_key=$(cat server.key) ca_cert=$(cat ca.crt)
curl -i "http://{admin}/apisix/admin/ssls"{key} -X PUT -d '{"id":"quickstart-tls-client-ssl","sni":"test.com","cert":"'"${server_cert}"'","key":"'"${server_key}"'","client":{"ca":"'"${ca_cert}"'"}}'

# 4. With the client's certificate, and without.
curl -ikv --resolve test.com:{port}:{host} https://test.com:{port}/ip --cert client.crt --key client.key
curl -ikv --resolve test.com:{port}:{host} https://test.com:{port}/ip

# 5. The client's identity, handed on to the origin, which answers with what it got.
curl -i "http://{admin}/apisix/admin/routes"{key} -X PUT -d '{"id":"quickstart-identity","uri":"/anything","plugins":{"proxy-rewrite":{"headers":{"X-Ssl-Client-Fingerprint":"$ssl_client_fingerprint","X-Ssl-Client-Serial":"$ssl_client_serial","X-Ssl-Client-S-DN":"$ssl_client_s_dn"}}},"upstream":{"nodes":{"{origin}":1},"type":"roundrobin"}}'
curl -ik --resolve test.com:{port}:{host} https://test.com:{port}/anything --cert client.crt --key client.key
`

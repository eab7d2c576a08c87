package main

import (
	"fmt"
	"net"
	"strings"
)

// printNextSteps prints the commands of APISIX's how-to "configure mTLS between
// client and APISIX", with the addresses of this process.
func printNextSteps(c config) {
	if c.admin == "off" {
		return
	}
	key := ""
	if c.key == "" {
		fmt.Println("\nThe Admin API has no key (-admin-key): it answers only requests for localhost or a loopback address.")
	} else {
		key = ` -H "X-API-KEY: $admin_key"`
	}
	if c.plain == "guarded" && c.http != "off" {
		fmt.Println("Once a server name demands client certificates, a route without a host is served over HTTPS only (-plain open changes that).")
	}
	origin := c.origin
	if origin == "off" {
		origin = "127.0.0.1:8081"
	}
	port := "9443"
	if _, p, err := net.SplitHostPort(c.https); err == nil {
		port = p
	}
	fmt.Print(strings.NewReplacer("{admin}", c.admin, "{key}", key, "{origin}", origin, "{port}", port).Replace(howTo))
	if c.key != "" {
		fmt.Println("\nBefore these, set admin_key to the key.")
	}
	fmt.Println("\nCtrl-C drains and stops.")
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
curl -ikv --resolve test.com:{port}:127.0.0.1 https://test.com:{port}/ip --cert client.crt --key client.key
curl -ikv --resolve test.com:{port}:127.0.0.1 https://test.com:{port}/ip
`

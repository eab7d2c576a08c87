// Package interop has tests of the gateway with clients and servers that others
// wrote: gRPC's own interoperability tests, and a WebSocket library. It is a module
// of its own, so that whoever imports the gateway downloads none of them.
package interop

// Package browser has tests in a real browser, chromium without a window: of the status
// page, and of a WebSocket over HTTP/2. It is a module of its own, so that whoever imports
// the gateway downloads no driver of browsers. Without chromium the tests are skipped.
//
// The environment variable SALLYPORT_TEST_AXE names the file axe.min.js of axe-core, which
// looks for what keeps people out who cannot see, or use no mouse. Without it that test is
// skipped.
//
// The pictures of the page in the README are made by
//
//	go test -run Picture -pictures ../../adminapi/statuspage .
package browser

//go:build !linux

package gateway_test

const parks = false

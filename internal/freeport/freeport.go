// Package freeport holds a port of the loopback on which nothing listens: for a program
// that is told where to listen and started later, or for a node that refuses.
//
// A port that was found free by listening on it and closing it again is free for
// everybody: the next connection that anybody makes may get it as its own end.
package freeport

import "io"

// Hold returns an address of the loopback at which nothing listens. Until held is
// closed nobody gets its port without asking for just this one, on Linux. Who does ask
// for it and sets SO_REUSEADDR, as package net and every server do, listens there as if
// it were free.
func Hold() (address string, held io.Closer, err error) { return hold() }

// Package docs is a test of what the README and the comments say in Go: code that they quote
// must name what there is and take as many results as there are, and links must lead
// somewhere.
package docs

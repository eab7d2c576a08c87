//go:build !linux

package main

import "log"

func main() {
	log.Fatal("compare: CPU times and memory are read as Linux has them: it runs there alone")
}

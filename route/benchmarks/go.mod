module github.com/sallyport/sallyport/route/benchmarks

go 1.26.0

require (
	github.com/go-chi/chi/v5 v5.5.0
	github.com/hashicorp/go-immutable-radix/v2 v2.1.0
	github.com/sallyport/sallyport v0.0.0
)

require github.com/hashicorp/golang-lru/v2 v2.0.0 // indirect

replace github.com/sallyport/sallyport => ../..

module github.com/sallyport/sallyport/adminapi/yaml

go 1.26

require (
	github.com/sallyport/sallyport v0.0.0
	github.com/stretchr/testify v1.12.1
	go.yaml.in/yaml/v3 v3.0.5
)

replace github.com/sallyport/sallyport => ../..

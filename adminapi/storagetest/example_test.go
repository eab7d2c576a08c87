package storagetest_test

import (
	"testing"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/adminapi/storagetest"
)

// A test of a storage is one function.
func ExampleRun() {
	testMyStorage := func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T) adminapi.Storage {
			return &adminapi.Memory{} // yours, empty
		})
	}
	_ = testMyStorage // which go test runs if it is called TestMyStorage
}

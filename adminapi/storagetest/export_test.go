package storagetest

import (
	"context"

	"github.com/sallyport/sallyport/adminapi"
)

// Broken returns the names of the promises that a storage does not keep.
func Broken(ctx context.Context, open func() adminapi.Storage) (names []string) {
	for _, p := range promises {
		if p.check(ctx, open()) != nil {
			names = append(names, p.name)
		}
	}
	return names
}

// BrokenTellings returns the names of what a SharedStorage does not tell as it should.
func BrokenTellings(ctx context.Context, open func() adminapi.SharedStorage) (names []string) {
	for _, p := range tellings {
		if p.check(ctx, open()) != nil {
			names = append(names, p.name)
		}
	}
	return names
}

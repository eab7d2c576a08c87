package sample_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/sample"
)

// A flood: of a thousand a second for three seconds, so many a second are let through, and
// each of the others is told of once.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sample.Sampler
		through, told := 0, 0
		for range 3 * 1000 {
			if held, ok := s.Next(time.Now(), 10); ok {
				through++
				told += held
			}
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, 30, through)
		require.Equal(t, 2*990, told)
		time.Sleep(time.Second)
		held, ok := s.Next(time.Now(), 10)
		require.True(t, ok)
		require.Equal(t, 990, held)
		held, ok = s.Next(time.Now(), 10)
		require.True(t, ok)
		require.Zero(t, held)
	})
}

func TestWithoutBound(t *testing.T) {
	var s sample.Sampler
	now := time.Now()
	for range 100 {
		held, ok := s.Next(now, -1)
		require.True(t, ok)
		require.Zero(t, held)
	}
}

// A clock that was set back does not silence anything.
func TestClockSetBack(t *testing.T) {
	var s sample.Sampler
	now := time.Now().Round(0)
	_, ok := s.Next(now, 1)
	require.True(t, ok)
	_, ok = s.Next(now.Add(-time.Hour), 1)
	require.True(t, ok)
}

func TestLimit(t *testing.T) {
	require.Equal(t, 10, sample.Limit(0))
	require.Equal(t, 3, sample.Limit(3))
	require.Negative(t, sample.Limit(-1))
}

func TestConcurrent(t *testing.T) {
	var s sample.Sampler
	now := time.Now()
	var through, told atomic.Int64
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			for range 1000 {
				if held, ok := s.Next(now, 5); ok {
					through.Add(1)
					told.Add(int64(held))
				}
			}
		})
	}
	done.Wait()
	require.EqualValues(t, 5, through.Load())
	held, ok := s.Next(now.Add(time.Second), 5)
	require.True(t, ok)
	require.EqualValues(t, 8*1000-5, told.Load()+int64(held))
}

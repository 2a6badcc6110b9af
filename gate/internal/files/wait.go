// Package files waits for files that somebody else puts in place: in a warm pod the Secret comes when a run claims it,
// after a moment or after an hour.
package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Where the kernel has no more watches to give (128 for each user of a node) the files are looked for this often.
const look = 5 * time.Millisecond

// largest is far over what a Secret can hold (1 MiB).
const largest = 4 << 20

// Wait returns what is in the files as soon as all of them are there. They are whole: the kubelet puts a Secret's files
// in place with one rename, and only then their names.
func Wait(ctx context.Context, paths ...string) ([][]byte, error) {
	if found, err := all(paths); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return found, err
	}
	changes, stop := watch(paths)
	defer stop()
	for {
		// After the watch has begun, or a change between the look and the watch would be missed.
		found, err := all(paths)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return found, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changes:
		}
	}
}

func all(paths []string) ([][]byte, error) {
	found := make([][]byte, len(paths))
	for i, path := range paths {
		status, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if status.Size() > largest {
			return nil, errors.New(path + " is larger than any Secret")
		}
		if found[i], err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// watch says when something in the files' directories has changed, or regularly where the kernel will not.
func watch(paths []string) (<-chan struct{}, func()) {
	descriptor, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return poll()
	}
	events := os.NewFile(uintptr(descriptor), "inotify")
	for _, path := range paths {
		const made = syscall.IN_CREATE | syscall.IN_MOVED_TO | syscall.IN_CLOSE_WRITE
		if _, err := syscall.InotifyAddWatch(descriptor, filepath.Dir(path), made); err != nil {
			_ = events.Close()
			return poll()
		}
	}
	changes := make(chan struct{}, 1)
	go func() {
		buffer := make([]byte, 4096)
		for {
			if _, err := events.Read(buffer); err != nil {
				return // closed by stop
			}
			select {
			case changes <- struct{}{}:
			default: // one is waiting already
			}
		}
	}()
	return changes, func() { _ = events.Close() }
}

func poll() (<-chan struct{}, func()) {
	changes, done := make(chan struct{}), make(chan struct{})
	go func() {
		ticker := time.NewTicker(look)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			select {
			case <-done:
				return
			case changes <- struct{}{}:
			}
		}
	}()
	return changes, func() { close(done) }
}

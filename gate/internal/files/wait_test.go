package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// appear does what the kubelet does with an optional Secret: a directory, one rename, then the names.
func appear(t *testing.T, directory string, content map[string]string) {
	t.Helper()
	stamp := filepath.Join(directory, "..2026_11_29")
	must(t, os.Mkdir(stamp, 0o700))
	for name, text := range content {
		must(t, os.WriteFile(filepath.Join(stamp, name), []byte(text), 0o600))
	}
	must(t, os.Symlink("..2026_11_29", filepath.Join(directory, "..data_tmp")))
	must(t, os.Rename(filepath.Join(directory, "..data_tmp"), filepath.Join(directory, "..data")))
	for name := range content {
		must(t, os.Symlink("..data/"+name, filepath.Join(directory, name)))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesOfASecretThatComesLaterAreReadWhole(t *testing.T) {
	directory := t.TempDir()
	a, b := filepath.Join(directory, "a"), filepath.Join(directory, "b")
	got := make(chan [][]byte, 1)
	go func() {
		found, _ := Wait(context.Background(), a, b)
		got <- found
	}()
	time.Sleep(20 * time.Millisecond) // so that it waits; without it the test would pass for another reason
	appear(t, directory, map[string]string{"a": "first", "b": "second"})
	appeared := time.Now()
	select {
	case found := <-got:
		if string(found[0]) != "first" || string(found[1]) != "second" {
			t.Fatalf("read %q", found)
		}
		t.Logf("after %s", time.Since(appeared))
	case <-time.After(5 * time.Second):
		t.Fatal("it never came")
	}
}

func TestWithoutAWatchFilesAreFoundByLooking(t *testing.T) {
	changes, stop := poll()
	for range 3 {
		select {
		case <-changes:
		case <-time.After(5 * time.Second):
			t.Fatal("it never looked again")
		}
	}
	stop()
	missing := filepath.Join(t.TempDir(), "not", "there")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := Wait(ctx, missing); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
}

func TestAFileThatCannotBeReadEndsTheWait(t *testing.T) {
	if _, err := Wait(context.Background(), t.TempDir()); err == nil || errors.Is(err, context.Canceled) {
		t.Fatalf("a directory was read: %v", err)
	}
}

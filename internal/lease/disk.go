package lease

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// tempPrefix begins the names of files that are being written.
	tempPrefix = ".new-"

	// tempAge is how old such a file is when its writer must be dead.
	tempAge = time.Hour

	// readTries is how often a file may vanish between being listed and being
	// read. Each time a leadership has begun.
	readTries = 10
)

// superseded returns [ErrSuperseded] when there is a higher file than number.
func superseded(dir string, number uint64) error {
	newest, err := highest(dir)
	if err == nil && newest > number {
		err = ErrSuperseded
	}
	return err
}

// highest returns the highest number of a file in dir, 0 when there is none.
func highest(dir string) (uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("lease: %w", err)
	}
	var newest uint64
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 10, 64); err == nil {
			newest = max(newest, n)
		}
	}
	return newest, nil
}

// A memory is what was read last. Whoever claims reads one file several times.
type memory struct {
	mu     sync.Mutex // guards what follows
	text   []byte
	record Record
}

// decode returns the record that text is, if it is one.
func (m *memory) decode(text []byte) (Record, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(text) > 0 && bytes.Equal(text, m.text) {
		return m.record, true
	}
	r, ok := decode(text)
	if ok {
		m.text, m.record = text, r
	}
	return r, ok
}

func (m *memory) readNewest(dir string) (Record, error) {
	for try := 1; ; try++ {
		newest, err := highest(dir)
		if err != nil || newest == 0 {
			return Record{}, err
		}
		r, err := m.read(dir, newest)
		if !errors.Is(err, fs.ErrNotExist) || try == readTries {
			return r, err
		}
	}
}

// read returns the record in one file. A file whose content is damaged is that
// of a leadership which is over: a living leader writes it again soon, and
// writes it whole.
func (m *memory) read(dir string, number uint64) (Record, error) {
	text, err := os.ReadFile(file(dir, number))
	if err != nil {
		return Record{}, fmt.Errorf("lease: %w", err)
	}
	if r, ok := m.decode(text); ok && r.Number == number {
		return r, nil
	}
	return Record{Number: number, Released: true}, nil
}

// encode returns the record as a line of JSON, and a line with its checksum.
func encode(r Record) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	return fmt.Appendf(text, "\n%08x\n", crc32.ChecksumIEEE(text)), nil
}

func decode(text []byte) (r Record, ok bool) {
	content, sum, _ := bytes.Cut(text, []byte("\n"))
	if string(sum) != fmt.Sprintf("%08x\n", crc32.ChecksumIEEE(content)) {
		return Record{}, false
	}
	return r, json.Unmarshal(content, &r) == nil
}

// publish writes r to a file of its own and then gives that file, complete, its
// name by link or rename.
func publish(dir string, r Record, name func(from, to string) error) error {
	text, err := encode(r)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, tempPrefix)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	_, err = f.Write(text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = name(f.Name(), file(dir, r.Number))
	}
	_ = os.Remove(f.Name()) // a second name, or what came to nothing
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	return nil
}

// sweep removes what is older than the leadership called number, and what
// processes that died while they wrote have left.
func sweep(dir string, number uint64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 10, 64); err == nil && n < number {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > tempAge {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

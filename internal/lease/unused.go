package lease

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// unusedAge is for how long nobody has led a name before its folder may be
	// removed.
	unusedAge = 24 * time.Hour

	// gravePrefix begins the names of folders in which others are removed.
	gravePrefix = ".gone-"
)

// Sweep removes the folders of names, on any port but not that of this lease,
// that nobody has led for a day. It leaves alone what a process that may still
// be there would have to see, should it go on. Where a folder was removed,
// terms begin anew.
func (f *File) Sweep() {
	base, err := f.dir()
	if err != nil {
		return
	}
	entries, _ := os.ReadDir(base)
	for _, e := range entries {
		if !e.IsDir() || e.Name() == f.sub {
			continue
		}
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < unusedAge {
			continue
		}
		if strings.HasPrefix(e.Name(), gravePrefix) { // of a process that died meanwhile
			_ = os.RemoveAll(filepath.Join(base, e.Name()))
			continue
		}
		f.remove(base, e.Name())
	}
}

// remove removes a folder if nobody can need it. It is moved away first: whoever
// claims at this moment finds it whole, or not at all. One in which a claim has
// just been completed comes back; if that is too late, the leader has made it
// again, to renew its lease.
func (f *File) remove(base, folder string) {
	path := filepath.Join(base, folder)
	seen, err := new(memory).readNewest(path)
	if err != nil || seen.Name == "" || !strings.HasSuffix(folder, readable(seen.Name)) || !f.unused(seen) {
		return
	}
	grave, err := os.MkdirTemp(base, gravePrefix)
	if err != nil {
		return
	}
	defer func() { _ = os.RemoveAll(grave) }()
	moved := filepath.Join(grave, folder)
	if os.Rename(path, moved) != nil {
		return
	}
	if now, err := new(memory).readNewest(moved); err != nil || now != seen {
		_ = os.Rename(moved, path)
	}
}

// unused reports whether nobody that r tells of can go on as if it led.
func (f *File) unused(r Record) bool {
	if r.Boot != f.host.Boot {
		return true
	}
	there := func(who Holder) bool { return who != (Holder{}) && f.host.Look(who.Process) != Gone }
	return (r.Released || !there(r.Holder())) && !there(r.Ousted) && !there(r.Owner)
}

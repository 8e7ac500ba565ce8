// Package lease keeps, in a directory that processes of one host share, who
// leads a name in which term. It is what is known of a leader that holds its
// port and says nothing.
//
// A name has a folder in that directory. Each leadership is one file in it,
// whose name is a number: one more than that of the leadership before. The
// file with the highest number counts.
//
//	            Claim                    Renew
//	(none) ───────────────▶ held ◀──────────────────▶ held
//	                         │ │
//	         Release         │ │  not renewed for Record.Valid
//	  ┌──────────────────────┘ └──────────────┐
//	  ▼                                       ▼
//	released ──▶ Claim: the next file      expired ──▶ Claim: the next file
//
// Depose is a claim for nobody: the next file is there, and says released.
//
// To claim is to create the next file, complete, by link(2): of any number of
// processes that saw the same leadership one succeeds. So there is no lock
// that a stopped process could keep. Only the leadership's own process writes
// its file again, by rename(2), to renew or release it. A process that renews
// looks afterwards whether there is a higher file; one that claims looks
// afterwards whether the leadership before was renewed meanwhile. Of two that
// do both at once, one sees the other.
package lease

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Record is one leadership. The zero Record is that of a name which nobody
// has led.
type Record struct {
	Name     string  `json:"name"`
	Number   uint64  `json:"number"` // of the leadership, that of its file
	Term     uint64  `json:"term"`   // grows from one leadership to the next, and may within one
	Instance string  `json:"instance"`
	Process  Process `json:"process"`
	Address  string  `json:"address"` // where the leader serves

	// Renewed is a time on the clock of Host, and means nothing after Boot.
	// Until Valid has passed since then nobody takes over from a leader that
	// is not known to be gone.
	Renewed time.Duration `json:"renewed_ns"`
	Valid   time.Duration `json:"valid_ns"`
	Boot    string        `json:"boot,omitempty"`

	// Sure, which is no longer than Valid, is for how long after Renewed the
	// leader acts without looking at the file. 0 stands for Valid.
	Sure time.Duration `json:"sure_ns,omitempty"`

	Released bool `json:"released,omitempty"`

	// DeposedBy is the process that ended the leadership before this one in
	// favour of nobody; 0 for a leadership that somebody has claimed.
	DeposedBy int `json:"deposed_by,omitempty"`

	// OwnsPort says that the leader has bound the cluster's port, too.
	OwnsPort bool `json:"owns_port,omitempty"`

	// Ousted is who led before without having left: it may hold its address
	// still. The zero Holder stands for nobody.
	Ousted Holder `json:"ousted,omitzero"`

	// Owner is who has bound the cluster's port, before Ousted led, and may
	// have it still. The zero Holder stands for nobody that is known.
	Owner Holder `json:"owner,omitzero"`
}

// A Holder is a process that has claimed a lease.
type Holder struct {
	Process Process       `json:"process"`
	Address string        `json:"address"`
	Owned   bool          `json:"owned,omitempty"` // the port, too
	Renewed time.Duration `json:"renewed_ns"`
	Valid   time.Duration `json:"valid_ns"`
}

// Holder returns whose leadership this is.
func (r Record) Holder() Holder {
	return Holder{Process: r.Process, Address: r.Address, Owned: r.OwnsPort, Renewed: r.Renewed, Valid: r.Valid}
}

// SureFor returns for how long, from now on, the leader may act without
// looking whether somebody has taken over.
func (r Record) SureFor(h Host) time.Duration {
	if r.Vacant(h) {
		return 0
	}
	return max(0, r.Renewed+cmp.Or(r.Sure, r.Valid)-h.Now())
}

// Vacant reports whether the name is known to have no leader, on a host where
// this was read.
func (r Record) Vacant(h Host) bool { return r.Number == 0 || r.Released || r.Boot != h.Boot }

// Expired reports whether the leader has not renewed its lease for as long as
// it said, and for as long as least.
func (r Record) Expired(h Host, least time.Duration) bool {
	now := h.Now()
	return r.Vacant(h) || now < r.Renewed || now-r.Renewed >= max(r.Valid, least)
}

// Errors of [File].
var (
	// ErrChanged says that the record to follow is not the newest one any
	// more, or was renewed.
	ErrChanged = errors.New("the lease has changed")

	// ErrHeld says that the leader may act without looking at its lease.
	ErrHeld = errors.New("the lease was renewed a moment ago")

	// ErrSuperseded says that there is a later leadership.
	ErrSuperseded = errors.New("the lease was taken over")
)

// A File is the lease of one name. Its methods may be called from several
// goroutines, but only one may renew or release a record.
type File struct {
	dir    func() (string, error)
	host   Host
	name   string
	prefix string // of the folders within dir
	sub    string // the folder of name
	last   memory
}

// New returns the lease of a name on the cluster's port at address. dir is
// called before each use, for a directory that is fit for the purpose.
func New(dir func() (string, error), host Host, address, name string) *File {
	all := prefix(host, address)
	return &File{dir: dir, host: host, name: name, prefix: all, sub: all + readable(name)}
}

// prefix is what the folders of all names on one port begin with. Two network
// namespaces that share the directory each have a port of their own.
func prefix(host Host, address string) string {
	address = strings.ReplaceAll(address, ":", "-") + "-"
	if host.Network != "" {
		address = host.Network + "-" + address
	}
	return address
}

// readable returns a name for a folder that people can recognise.
func readable(name string) string {
	sum := sha256.Sum256([]byte(name))
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
	return plain[:min(len(plain), 40)] + "-" + hex.EncodeToString(sum[:8])
}

// Host returns the host that the lease is for.
func (f *File) Host() Host { return f.host }

// Read returns the newest record.
func (f *File) Read() (Record, error) {
	dir, err := f.dir()
	if err != nil {
		return Record{}, err
	}
	return f.last.readNewest(filepath.Join(dir, f.sub))
}

// Followed reports whether a leadership has begun since that of r, which costs
// less than to read it.
func (f *File) Followed(r Record) bool {
	dir, err := f.dir()
	if err != nil {
		return false
	}
	_, err = os.Lstat(file(filepath.Join(dir, f.sub), r.Number+1))
	return err == nil
}

// Claim begins a leadership after the one that seen is the record of, unless
// that has changed. next says who claims it; its term is raised above that of
// seen. It returns the record as it was written.
func (f *File) Claim(seen, next Record) (Record, error) {
	dir, err := f.folder()
	if err != nil {
		return Record{}, err
	}
	if now, err := f.last.readNewest(dir); err != nil || now != seen {
		return Record{}, cmp.Or(err, ErrChanged)
	}
	next.Name, next.Number, next.Term = f.name, seen.Number+1, max(next.Term, seen.Term+1)
	next.Boot, next.Renewed, next.Process, next.Released = f.host.Boot, f.host.Now(), f.host.Self, false
	next.Ousted, next.Owner = f.ousted(seen), f.owner(seen)
	return f.begin(dir, seen, next)
}

// Depose ends the leadership that seen is the record of in favour of nobody,
// unless that has changed, so that whoever can lead may claim the lease at
// once. It fails with [ErrHeld] while [Record.SureFor] has not passed: until
// then the leader, should it wake, would not notice.
func (f *File) Depose(seen Record) (Record, error) {
	dir, err := f.folder()
	if err != nil {
		return Record{}, err
	}
	if now, err := f.last.readNewest(dir); err != nil || now != seen || seen.Vacant(f.host) {
		return Record{}, cmp.Or(err, ErrChanged)
	}
	if seen.SureFor(f.host) > 0 {
		return Record{}, ErrHeld
	}
	return f.begin(dir, seen, Record{
		Name: f.name, Number: seen.Number + 1, Term: seen.Term + 1, Boot: f.host.Boot, Renewed: f.host.Now(),
		Released: true, DeposedBy: f.host.Self.PID, Ousted: f.ousted(seen), Owner: f.owner(seen),
	})
}

// begin puts next after seen.
func (f *File) begin(dir string, seen, next Record) (Record, error) {
	if err := publish(dir, next, os.Link); err != nil {
		if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) { // the folder: see Sweep
			err = ErrChanged
		}
		return Record{}, err
	}
	if err := f.confirm(dir, seen, next); err != nil {
		_ = os.Remove(file(dir, next.Number)) // nobody has led in it
		return Record{}, err
	}
	sweep(dir, next.Number)
	return next, nil
}

// ousted returns who may be there still, when somebody takes over from the
// leadership that seen is the record of.
func (f *File) ousted(seen Record) Holder {
	who := seen.Ousted
	if !seen.Vacant(f.host) {
		who = seen.Holder()
	}
	if !f.lasts(seen, who) {
		return Holder{}
	}
	return who
}

// owner returns who else may have the cluster's port then.
func (f *File) owner(seen Record) Holder {
	for _, who := range []Holder{seen.Ousted, seen.Owner} {
		if who.Owned && who != f.ousted(seen) && f.lasts(seen, who) {
			return who
		}
	}
	return Holder{}
}

// lasts reports whether somebody that seen tells of may be there still.
func (f *File) lasts(seen Record, who Holder) bool {
	return seen.Boot == f.host.Boot && who.Process != f.host.Self && who != (Holder{}) && f.host.Look(who.Process) != Gone
}

// confirm looks again, once next is there for everybody to see.
func (f *File) confirm(dir string, seen, next Record) error {
	newest, err := highest(dir)
	if err != nil || newest != next.Number {
		return cmp.Or(err, ErrChanged) // this process was very slow
	}
	if seen.Number == 0 {
		return nil
	}
	before, err := f.last.read(dir, seen.Number)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil || before != seen:
		return cmp.Or(err, ErrChanged) // its leader is awake
	}
	return nil
}

// Renew writes r again as of now, with a term that may have grown.
// It fails with [ErrSuperseded] when there is a later leadership. A folder
// that has vanished is made again.
func (f *File) Renew(r Record) (Record, error) {
	dir, err := f.folder()
	if err != nil {
		return r, err
	}
	if err := superseded(dir, r.Number); err != nil {
		return r, err
	}
	r.Renewed = f.host.Now()
	if err := publish(dir, r, os.Rename); err != nil {
		return r, err
	}
	return r, superseded(dir, r.Number)
}

// Release says that the leadership is over, so that nobody waits for it.
func (f *File) Release(r Record) error {
	r.Released = true
	_, err := f.Renew(r)
	if errors.Is(err, ErrSuperseded) {
		return nil
	}
	return err
}

// All returns the newest records of all names on the port.
func (f *File) All() ([]Record, error) {
	base, err := f.dir()
	if err != nil {
		return nil, err
	}
	folders, err := filepath.Glob(filepath.Join(base, f.prefix+"*"))
	if err != nil {
		return nil, err
	}
	var all []Record
	for _, folder := range folders {
		if r, err := new(memory).readNewest(folder); err == nil && r.Number != 0 {
			all = append(all, r)
		}
	}
	return all, nil
}

// folder returns the name's folder, which it makes if need be.
func (f *File) folder() (string, error) {
	dir, err := f.dir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, f.sub)
	if _, err := os.Lstat(dir); err == nil {
		return dir, nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("lease: %w", err)
	}
	return dir, nil
}

func file(dir string, number uint64) string {
	return filepath.Join(dir, strconv.FormatUint(number, 10))
}

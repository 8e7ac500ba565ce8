package processtest

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"
	"time"
)

// A CentreCommand is what a test tells a centre that is a process of its own,
// one JSON object a line. Each is answered by an event with its ID.
type CentreCommand struct {
	ID int    `json:"id"`
	Op string `json:"op"` // begin, set, delete or count

	// For begin, which comes first: where to listen, and what to hold.
	Address string        `json:"address,omitempty"`
	Values  []CentreEvent `json:"values,omitempty"`  // each the newest "set" of its key
	Present []CentreEvent `json:"present,omitempty"` // each the newest "register" of its key
	Version int           `json:"version,omitempty"` // the newest
	Herald  string        `json:"herald,omitempty"`  // a key that gets a new value whenever somebody opens the centre

	Key  string `json:"key,omitempty"`
	Data string `json:"data,omitempty"`
}

// A CentreEvent is what happened in a centre that is a process of its own, one
// JSON object a line. It is told before any client can know of it.
type CentreEvent struct {
	At   int64  `json:"at"` // Unix nanoseconds
	Kind string `json:"kind"`
	ID   int    `json:"id,omitempty"` // of the command that is answered, with kind "done"

	// Kind open, publish, register or deregister: a client's request.
	Conn  int    `json:"conn,omitempty"` // counts connections
	PID   int    `json:"pid,omitempty"`  // of the client
	Sent  int64  `json:"sent,omitempty"` // by the client, Unix nanoseconds
	Term  uint64 `json:"term,omitempty"` // that the client leads in, if it is known
	Owner string `json:"owner,omitempty"`
	Reg   uint64 `json:"reg,omitempty"`

	// Kind set: key has a new value.
	Key     string `json:"key,omitempty"`
	Data    string `json:"data,omitempty"`
	Version string `json:"version,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`

	// Answer to count.
	Open    int            `json:"open,omitempty"`    // connections
	Watches map[string]int `json:"watches,omitempty"` // under way, by key
	Err     string         `json:"err,omitempty"`
}

// centreProcess is what runs in a process that is a centre.
type centreProcess struct {
	out    sync.Mutex
	board  *Board
	centre *Centre
}

func centreMain() {
	p := &centreProcess{board: NewBoard()}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			os.Exit(0)
		}
		var c CentreCommand
		if err := json.Unmarshal(line, &c); err != nil {
			panic(err)
		}
		p.do(c)
	}
}

func (p *centreProcess) emit(e CentreEvent) {
	e.At = time.Now().UnixNano()
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	p.out.Lock()
	defer p.out.Unlock()
	_, _ = os.Stdout.Write(append(line, '\n'))
}

func (p *centreProcess) do(c CentreCommand) {
	e := CentreEvent{Kind: "done", ID: c.ID}
	switch c.Op {
	case "begin":
		if err := p.begin(c); err != nil {
			e.Err = err.Error()
		}
	case "set", "delete":
		p.board.Change(func() {
			p.centre.put(centreMessage{Key: c.Key, Data: []byte(c.Data), Deleted: c.Op == "delete"})
		})
	case "count":
		p.board.Lock()
		e.Open, e.Watches = p.centre.Open(), map[string]int{}
		for key, n := range p.centre.Watches {
			if n > 0 {
				e.Watches[key] = n
			}
		}
		p.board.Unlock()
	}
	p.emit(e)
}

// begin takes over what a centre held before; only then does it listen.
func (p *centreProcess) begin(c CentreCommand) (err error) {
	p.board.Change(func() {
		p.centre, err = NewCentre(p.board, c.Address, p.emit)
		if err != nil {
			return
		}
		p.centre.version, p.centre.herald = c.Version, c.Herald
		for _, v := range c.Values {
			p.centre.values[v.Key] = centreMessage{Key: v.Key, Data: []byte(v.Data), Version: v.Version, Deleted: v.Deleted}
		}
		for _, r := range c.Present {
			p.centre.present[announceID{r.Owner, r.Reg}] = centreMessage{Key: r.Key, Data: []byte(r.Data), Owner: r.Owner, Reg: r.Reg}
		}
	})
	return err
}

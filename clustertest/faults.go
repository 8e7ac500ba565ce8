package clustertest

// FailWatches makes every watch return err, and new ones too, until it is
// called with nil.
func (u *Upstream) FailWatches(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.watchErr = err
	for c := range u.conns {
		for w := range c.watchers {
			w.ring()
		}
	}
}

// Hang makes watches go silent, and new ones too, or lets them go on.
func (u *Upstream) Hang(hung bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.hung = hung
	for c := range u.conns {
		for w := range c.watchers {
			if !hung && !w.muted {
				w.add(u.valueLocked(w.key))
			}
		}
	}
}

// FailOpen makes Open fail with err until it is called with nil.
func (u *Upstream) FailOpen(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.openErr = err
}

// Mute makes the watches that are under way go silent for good, as if the
// connection had forgotten them. New ones work.
func (u *Upstream) Mute() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for c := range u.conns {
		for w := range c.watchers {
			w.muted = true
		}
	}
}

// HangOpen makes Open wait for its context, or lets it go on.
func (u *Upstream) HangOpen(hung bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.hungOpen != nil {
		close(u.hungOpen)
		u.hungOpen = nil
	}
	if hung {
		u.hungOpen = make(chan struct{})
	}
}

// FailPublish makes Publish fail with err until it is called with nil.
func (u *Upstream) FailPublish(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.publishErr = err
}

// FailRegister makes Register and Deregister fail with err until it is called
// with nil.
func (u *Upstream) FailRegister(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.registerErr = err
}

package inspect

// A Query says how much to ask of a leader. The zero Query asks for what it
// knows at once, whose size does not depend on how many keys there are.
type Query struct {
	// Followers makes the leader ask its followers what they hold, and wait
	// for the answers, a second at most.
	Followers bool

	// Keys asks for the keys that are watched, in alphabetical order. What
	// follows leaves some of them out.
	Keys   bool
	Prefix string // unless empty: keys that do not begin with it
	Text   string // unless empty: keys that do not have it in them, in whatever case
	Stale  bool   // keys whose value is fresh

	// Limit, unless it is 0, is how many keys there may be. Those whose value
	// is not fresh come first then, each kind in alphabetical order.
	Limit int
}

// Everything returns the query for all that there is to know.
func Everything() Query { return Query{Keys: true, Followers: true} }

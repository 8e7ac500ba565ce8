// Package debugpage shows a cluster on a web page, from within any process
// that has a client: who leads, who follows, which keys there are, how old
// each value is and why, who subscribes, and when the leader changed. It is
// mounted like the pages of net/http/pprof:
//
//	mux.Handle("/debug/cluster/", debugpage.Handler(client))
//
// The page follows what happens by itself. It asks nothing of the outside
// network, and neither does a browser need to: all it loads comes from the
// handler. When the leader is gone it says so, says what is waited for, and
// shows what was known last.
//
// # What it tells, and whom
//
// Keys, pids, names of programs and texts of errors are on the page, values
// are not unless [Page.ShowValues] asks for them. Nothing can be changed there.
// Whoever can reach the handler can read the page: mount it where pprof would
// be, behind the same protection.
//
// # What it costs
//
// Nothing while nobody looks. While somebody does, each client is inspected
// about once a second, however many look at it, less often when that takes
// long, and at once when its role changes. Of very many keys 2,000 are
// fetched, those that are not fresh first; of more the leader is asked for
// what a filter keeps. A stream of events, by which the page is kept up to
// date, ends with the request's context; up to 16 are served at a time, each
// has at most five events a second, and a page in the background has none.
// http.Server.Shutdown waits for streams: end them by http.Server.BaseContext.
package debugpage

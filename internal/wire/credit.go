package wire

import clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"

const (
	// pieceWindow is how many bytes of pieces are sent ahead of what the
	// receiver has taken. All else waits behind what is on its way, so that more
	// would make that slower, and large frames not much faster. What is small has
	// all of the window of the transport.
	pieceWindow = 128 << 10

	// takenEvery is after how many bytes the receiver tells.
	takenEvery = pieceWindow / 4
)

// LimitPieces makes the writer send pieces only as far ahead as its receiver
// lets it, by [Writer.Taken]. It is called before Run.
func (w *Writer) LimitPieces() { w.credit = pieceWindow }

// Taken notes that the receiver has taken so many bytes of pieces.
func (w *Writer) Taken(bytes uint64) {
	w.mu.Lock()
	if w.credit < pieceWindow {
		w.credit += int(min(bytes, uint64(pieceWindow-w.credit)))
	}
	w.mu.Unlock()
	w.Wake()
}

// TellTaken tells the leader, by w, what r has taken of frames that come in
// pieces, if that is enough to be told.
func (r *Receiver) TellTaken(w *Writer) {
	if r.taken < takenEvery {
		return
	}
	w.Send(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Taken{
		Taken: &clusterclientv1.Taken{Bytes: uint64(r.taken)},
	}}, nil)
	r.taken = 0
}

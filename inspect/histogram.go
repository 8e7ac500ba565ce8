package inspect

// A Histogram is how often durations of different lengths were seen.
type Histogram struct {
	// Buckets has for each upper end, in seconds, how many durations were no
	// longer than that.
	Buckets []Bucket `json:"buckets"`
	Count   uint64   `json:"count"`
	Sum     float64  `json:"sum"` // in seconds
}

// A Bucket is a part of a [Histogram].
type Bucket struct {
	LE    float64 `json:"le"`
	Count uint64  `json:"count"`
}

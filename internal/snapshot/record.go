package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A file is a header and then records, each
//
//	4 bytes   length of the payload, big endian
//	4 bytes   CRC-32C of the payload
//	payload   a clusterclient.v1.Value, with the time at which it was saved as
//	          the beginning of its freshness
//
// The last record of a key counts. Value, version and checksum are in one
// record, so that a part of one cannot pass for a value.
const (
	magic      = "clusterclient snapshot "
	version    = "1\n"
	headerSize = len(magic) + len(version) + 16 // and the fingerprint
	frameSize  = 8

	// largestRecord is more than a value of the largest size takes.
	largestRecord = 66 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func header(fingerprint [16]byte) []byte {
	return append([]byte(magic+version), fingerprint[:]...)
}

// checkHeader says what is wrong with the first bytes of a file.
func checkHeader(b []byte, fingerprint [16]byte) error {
	switch {
	case len(b) < headerSize && strings.HasPrefix(string(header(fingerprint)), string(b)):
		return errors.New("it ends within its header")
	case !strings.HasPrefix(string(b), magic):
		return errors.New("it is no snapshot")
	case !strings.HasPrefix(string(b[len(magic):]), version):
		return fmt.Errorf("its format is not that of this build, %q", strings.TrimSpace(magic+version))
	case string(b) != string(header(fingerprint)):
		return errors.New("it belongs to another cluster or another upstream")
	}
	return nil
}

// appendRecord appends v as it is in a file.
func appendRecord(b []byte, v *Value) ([]byte, error) {
	at := len(b)
	b = append(b, make([]byte, frameSize)...)
	b, err := proto.MarshalOptions{}.MarshalAppend(b, &clusterclientv1.Value{
		Key: v.Key, Version: []byte(v.Version), Deleted: v.Deleted, Data: v.Data,
		Freshness: &clusterclientv1.Freshness{Since: v.Saved.UnixNano()},
	})
	if err != nil {
		return b[:at], err
	}
	payload := b[at+frameSize:]
	binary.BigEndian.PutUint32(b[at:], uint32(len(payload)))
	binary.BigEndian.PutUint32(b[at+4:], crc32.Checksum(payload, castagnoli))
	return b, nil
}

// parseRecord returns the value in a whole record.
func parseRecord(record []byte) (Value, error) {
	payload := record[frameSize:]
	if crc32.Checksum(payload, castagnoli) != binary.BigEndian.Uint32(record[4:]) {
		return Value{}, errors.New("checksum does not match")
	}
	var p clusterclientv1.Value
	if err := proto.Unmarshal(payload, &p); err != nil {
		return Value{}, err
	}
	return Value{
		Key: p.GetKey(), Data: p.GetData(), Version: string(p.GetVersion()), Deleted: p.GetDeleted(),
		Saved: time.Unix(0, p.GetFreshness().GetSince()),
	}, nil
}

// readRecord returns the value that e names.
func readRecord(r io.ReaderAt, e entry) (Value, error) {
	b, err := readWhole(r, e)
	if err != nil {
		return Value{}, err
	}
	return parseRecord(b)
}

func readWhole(r io.ReaderAt, e entry) ([]byte, error) {
	b := make([]byte, e.size)
	if _, err := r.ReadAt(b, e.at); err != nil {
		return nil, err
	}
	return b, nil
}

// scan calls found with each record of a file, up to the end or to the first
// one that is not whole. It returns where that begins and, unless the file
// simply ends there, what is wrong.
func scan(r io.Reader, found func(v Value, at, size int64)) (end int64, err error) {
	end = int64(headerSize)
	var record []byte
	for {
		var frame [frameSize]byte
		switch _, err := io.ReadFull(r, frame[:]); {
		case errors.Is(err, io.EOF):
			return end, nil
		case err != nil:
			return end, fmt.Errorf("record at byte %d: %w", end, err)
		}
		size := int64(binary.BigEndian.Uint32(frame[:]))
		if size > largestRecord {
			return end, fmt.Errorf("record at byte %d: %d bytes are more than any value has", end, size)
		}
		if record, err = readBody(r, append(record[:0], frame[:]...), size); err != nil {
			return end, fmt.Errorf("record at byte %d: %w", end, err)
		}
		v, err := parseRecord(record)
		if err != nil {
			return end, fmt.Errorf("record at byte %d: %w", end, err)
		}
		found(v, end, frameSize+size)
		end += frameSize + size
	}
}

// readBody appends size bytes. What is only announced takes no memory.
func readBody(r io.Reader, b []byte, size int64) ([]byte, error) {
	const step = 1 << 20
	for size > 0 {
		n := min(size, step)
		at := len(b)
		b = append(b, make([]byte, n)...)
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			return b, io.ErrUnexpectedEOF
		}
		size -= n
	}
	return b, nil
}

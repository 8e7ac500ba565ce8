package snapshot

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

// crashEnv makes the test binary write into the directory that it names, until
// it is killed.
const crashEnv = "CLUSTERCLIENT_SNAPSHOT_CRASH"

const crashKeys = 20

// replaced is what a process says that has put a new file in place.
const replaced = "replaced"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashEnv); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// crashStore writes as often as it can.
func crashStore(dir string, log hclog.Logger) *Store {
	return open(Config{Dir: dir, Name: "crash", Logger: log}, crashSystem())
}

func crashSystem() system {
	os := osSystem()
	os.pace = 0
	return os
}

func writeUntilKilled(dir string) {
	sys := crashSystem()
	rename := sys.rename
	sys.rename = func(from, to string) error {
		err := rename(from, to)
		fmt.Println(replaced)
		return err
	}
	s := open(Config{Dir: dir, Name: "crash", Logger: hclog.NewNullLogger()}, sys)
	fmt.Println("ready")
	next := 0
	for i := range crashKeys {
		next = max(next, number(s, i)+1)
	}
	for ; ; next++ {
		size := rand.IntN(20_000)
		if next%50 == 0 {
			size = 3 << 20 // makes the file be replaced, now and then
		}
		s.Put(crashValue(next%crashKeys, next, size))
		time.Sleep(100 * time.Microsecond)
	}
}

// crashValue can be told from any that was not written as a whole.
func crashValue(key, n, size int) Value {
	data := fmt.Sprintf("%d %d %s", key, n, strings.Repeat(string(rune('a'+n%26)), size))
	sum := sha256.Sum256([]byte(data))
	return Value{Key: fmt.Sprint("key", key), Data: []byte(data), Version: hex.EncodeToString(sum[:])}
}

// number returns what number the value of a key has, -1 when there is none.
func number(s *Store, key int) int {
	v, ok := s.Get(fmt.Sprint("key", key))
	if !ok {
		return -1
	}
	sum := sha256.Sum256(v.Data)
	var k, n int
	if _, err := fmt.Sscanf(string(v.Data), "%d %d ", &k, &n); err != nil || k != key || v.Version != hex.EncodeToString(sum[:]) {
		panic(fmt.Sprintf("the value of key %d was never written: %.60q…, version %s", key, v.Data, v.Version))
	}
	return n
}

func TestKilledWhileWriting(t *testing.T) {
	lives := 500
	if testing.Short() {
		lives = 50
	}
	dir := filepath.Join(t.TempDir(), "s")
	newest := make([]int, crashKeys)
	for key := range newest {
		newest[key] = -1
	}
	grew, torn := 0, 0
	for life := range lives {
		// However slow the disk is, some live until the file was replaced.
		liveAndDie(t, dir, life%25 == 0)
		log := new(logbook)
		s := crashStore(dir, hclog.New(&hclog.LoggerOptions{Output: log}))
		for key := range newest {
			n := number(s, key)
			require.GreaterOrEqual(t, n, newest[key], "key %d went back", key)
			if n > newest[key] {
				grew++
			}
			newest[key] = max(newest[key], n)
		}
		require.LessOrEqual(t, log.warnings(), 1, log)
		torn += log.warnings()
		s.Close()
	}
	t.Logf("%d lives: %d values had grown, %d files were torn", lives, grew, torn)
	require.Positive(t, grew, "nothing was written")
}

// liveAndDie starts a process that writes and kills it; if whole, not before
// it has replaced the file.
func liveAndDie(t *testing.T, dir string, whole bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said := bufio.NewScanner(out)
	require.True(t, said.Scan())
	for whole && said.Text() != replaced {
		require.True(t, said.Scan())
	}
	time.Sleep(time.Duration(rand.Int64N(int64(30 * time.Millisecond)))) // to die at any moment
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
}

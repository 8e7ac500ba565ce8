//go:build !unix

package processtest

// userEnv tells the test binary which user to become.
const userEnv = "CLUSTERCLIENT_TEST_USER"

// become does nothing: users have no numbers here.
func become(string) {}

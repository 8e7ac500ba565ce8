//go:build !linux

package processtest

// apartEnv tells the test binary to leave the host's network.
const apartEnv = "CLUSTERCLIENT_TEST_APART"

// depart does nothing: there is one network here.
func depart(string) {}

package processtest

import (
	"bufio"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
)

// childEnv tells the test binary that it was started again, and as what.
const childEnv = "CLUSTERCLIENT_TEST_CHILD"

// What a Program can be.
const (
	AsClient = "client" // does what a [Command] says, and tells what it sees, each an [Event]
	AsCentre = "centre" // a [Centre]; see [CentreCommand] and [CentreEvent]
)

// A Program is the test binary, started again to be one process of a test. It
// ends when its stdin does.
type Program struct {
	PID int

	cmd  *exec.Cmd
	in   io.WriteCloser
	log  *tail
	gone chan struct{}
}

// StartProgram starts the test binary, whose TestMain calls [Main], with env
// beside its own environment. line is called with each line of its stdout, and
// then ended, once.
func StartProgram(as string, env []string, line func([]byte), ended func()) (*Program, error) {
	return startBinary(os.Args[0], as, env, line, ended)
}

// startBinary is StartProgram for any build of the test binary.
func startBinary(path, as string, env []string, line func([]byte), ended func()) (*Program, error) {
	p := &Program{cmd: exec.Command(path), log: &tail{}, gone: make(chan struct{})} //nolint:noctx // its owner kills it
	// A race detector that reports at the end would hold the port meanwhile.
	p.cmd.Env = append(append(os.Environ(), childEnv+"="+as, "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE")), env...)
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr = diesWithParent()
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.PID = p.cmd.Process.Pid
	go p.listen(out, line, ended)
	return p, nil
}

func (p *Program) listen(out io.Reader, line func([]byte), ended func()) {
	lines := bufio.NewReader(out)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			break // half a line is that of a process that was killed
		}
		line(text)
	}
	_ = p.cmd.Wait()
	ended()
	close(p.gone)
}

// Send writes v to the process's stdin, a JSON line. A process that is gone
// does not get it.
func (p *Program) Send(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, _ = p.in.Write(append(line, '\n'))
	return nil
}

// Signal sends a signal to the process.
func (p *Program) Signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) }

// EndInput closes the process's stdin, at which it ends by itself.
func (p *Program) EndInput() { _ = p.in.Close() }

// Gone is closed when the process has ended and all it said was taken.
func (p *Program) Gone() <-chan struct{} { return p.gone }

// ExitCode is what the process ended with, once it has; -1 for a signal.
func (p *Program) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Log is the end of what the process wrote to its stderr.
func (p *Program) Log() string { return p.log.String() }

// ports from which FreePort takes: below those that the system gives to
// whoever dials. A dial to a free port of that range might connect to itself.
const firstPort, lastPort = 18000, 32000

// FreePort returns a port of the loopback interface that nobody listens on,
// most likely another one each time.
func FreePort() (int, error) {
	const ports = lastPort - firstPort
	var err error
	begin := rand.IntN(ports)
	for i := range ports {
		port := firstPort + (begin+i)%ports
		var lis net.Listener
		lis, err = net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(port)) //nolint:noctx // it does not block
		if err == nil {
			return port, lis.Close()
		}
	}
	return 0, err
}

package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// A machine is what the figures depend on.
type machine struct {
	System  string            `json:"system"`
	CPU     string            `json:"cpu,omitempty"` // "" where the system does not tell
	Cores   int               `json:"cores"`
	Load    string            `json:"load,omitempty"` // averages when the run began
	Go      string            `json:"go"`
	Modules map[string]string `json:"modules"` // versions of what was measured
}

func thisMachine() machine {
	m := machine{
		System: runtime.GOOS + "/" + runtime.GOARCH, CPU: processorName(), Cores: runtime.NumCPU(),
		Load: loadAverage(), Go: runtime.Version(), Modules: map[string]string{},
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return m
	}
	for _, dep := range info.Deps {
		switch dep.Path {
		case "google.golang.org/grpc", "google.golang.org/protobuf", "github.com/nats-io/nats.go",
			"github.com/nats-io/nats-server/v2", "go.etcd.io/etcd/server/v3":
			m.Modules[dep.Path] = dep.Version
		}
	}
	return m
}

// String is the machine in one line.
func (m machine) String() string {
	s := fmt.Sprintf("%s, %d cores", m.System, m.Cores)
	if m.CPU != "" {
		s += " of " + m.CPU
	}
	s += ", " + m.Go + ", grpc-go " + m.Modules["google.golang.org/grpc"]
	if m.Load != "" {
		s += ", load before " + m.Load
	}
	return s
}

func processorName() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return ""
}

func loadAverage() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(data))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

package main

import (
	"context"
	_ "embed" // the JavaScript of the peer
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

const (
	nodePackage    = "cluster-client"
	nodeVersion    = "3.7.0"
	nodeInstalling = 2 * time.Minute
)

//go:embed node.js
var nodeProgram []byte

// nodeScenario compares with the library that the idea comes from. It needs
// node, and npm to install that into a temporary directory.
func nodeScenario(l *lab) error {
	dir, err := installNode(l.ctx)
	if err != nil {
		l.report.skip(fmt.Sprintf("Node %s: %v", nodePackage, err))
		return nil
	}
	return errors.Join(l.besideNode(dir), l.stop(), os.RemoveAll(dir))
}

func (l *lab) besideNode(dir string) error {
	node := nodePair{lab: l, dir: dir}
	theirs, err := node.start()
	if err != nil {
		return fmt.Errorf("%s: %w", nodePeer, err)
	}
	own, err := l.startPair(oursJSON, 1)
	if err != nil {
		return fmt.Errorf("%s: %w", oursJSON, err)
	}
	if err := l.interleave(callVariants(l, []*callPair{own, theirs})); err != nil {
		return err
	}
	if err := l.stop(); err != nil {
		return err
	}
	if err := l.takeovers(nodePeer, l.size.takeover[0], node.member); err != nil {
		return err
	}
	return l.takeovers(ours, l.size.takeover[0], l.startMember)
}

// installNode puts the package, and the program that uses it, into a new
// directory.
func installNode(ctx context.Context) (_ string, err error) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("there is no %s", tool)
		}
	}
	dir, err := os.MkdirTemp("", "clusterclient-bench-node-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := os.WriteFile(filepath.Join(dir, "node.js"), nodeProgram, 0o600); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, nodeInstalling)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir, nodePackage+"@"+nodeVersion)
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm install: %w: %s", err, out)
	}
	return dir, nil
}

// A nodePair starts processes of Node.
type nodePair struct {
	lab *lab
	dir string
}

// start starts a leader and one caller.
func (n nodePair) start() (*callPair, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	pair := &callPair{name: nodePeer}
	if pair.server, err = n.member(port); err != nil {
		return nil, err
	}
	caller, err := n.member(port)
	pair.callers = append(pair.callers, caller)
	return pair, err
}

// member starts one process, which leads when it is the first.
func (n nodePair) member(port int) (*process, error) {
	cmd := exec.CommandContext(n.lab.ctx, "node", filepath.Join(n.dir, "node.js"), strconv.Itoa(port))
	cmd.Dir = n.dir
	return n.lab.run("node", cmd, nil)
}

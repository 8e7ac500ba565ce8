package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/inspect"
)

// keyValue is what get and watch print as JSON, watch one for each line.
type keyValue struct {
	Name     string           `json:"name"`
	Key      string           `json:"key"`
	Revision inspect.Revision `json:"revision"`
	Version  string           `json:"version,omitempty"`
	Deleted  bool             `json:"deleted,omitempty"`
	State    string           `json:"state"`
	Since    time.Time        `json:"since"`
	Reason   string           `json:"reason,omitempty"`
	Text     *string          `json:"text,omitempty"`  // the value, when it is UTF-8
	Bytes    []byte           `json:"bytes,omitempty"` // and in base64 when it is not
}

// join makes this process a follower of the one cluster that was chosen.
func (a *app) join(ctx context.Context) (*clusterclient.Client, error) {
	p, err := a.place(ctx)
	if err != nil {
		return nil, err
	}
	identity, err := hex.DecodeString(p.Identity)
	if err != nil {
		return nil, err
	}
	opts := append(a.options(), clusterclient.WithRole(clusterclient.FollowerOnly), clusterclient.WithMaxWait(a.timeout))
	if len(identity) > 0 {
		opts = append(opts, clusterclient.WithFingerprint(identity))
	}
	c, err := clusterclient.CreateContext(ctx, p.Name.Name, p.port, opts...)
	if err != nil && p.hangs() {
		return nil, &exitError{exitNobody, fmt.Errorf("%w; clusterctl doctor says what to do", p.silence())}
	}
	if errors.Is(err, clusterclient.ErrNoLeader) {
		return nil, &exitError{exitNobody, err}
	}
	return c, err
}

// within joins the cluster for what do does, which may take as long as an answer.
func (a *app) within(ctx context.Context, do func(context.Context, *clusterclient.Client) error) error {
	cl, err := a.join(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return do(ctx, cl)
}

func (a *app) get(ctx context.Context, args []string) error {
	return a.within(ctx, func(ctx context.Context, cl *clusterclient.Client) error { return a.getFrom(ctx, cl, args[0]) })
}

func (a *app) getFrom(ctx context.Context, cl *clusterclient.Client, key string) error {
	v, err := cl.Get(ctx, key)
	if errors.Is(err, context.DeadlineExceeded) {
		return &exitError{exitMissing, err}
	}
	if err != nil {
		return err
	}
	if err := a.show(cl, v, false); err != nil {
		return err
	}
	switch {
	case v.Deleted && a.json:
		return &exitError{code: exitMissing}
	case v.Deleted:
		return &exitError{exitMissing, fmt.Errorf("%s: the key does not exist", v.Key)}
	case v.Stale:
		return &exitError{exitUnwell, fmt.Errorf("%s: stale for %s: %w", v.Key, age(v.Since, time.Now()), v.Reason)}
	}
	return nil
}

func (a *app) watch(ctx context.Context, args []string) error {
	cl, err := a.join(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	sub, err := cl.Subscribe(ctx, args[0])
	if err != nil {
		return err
	}
	shown := 0
	for v, err := range sub.Values(ctx) {
		if ctx.Err() != nil {
			return nil // interrupted
		}
		if err != nil {
			return err
		}
		if err := a.show(cl, v, true); err != nil {
			return err
		}
		if shown++; shown == a.count {
			return nil
		}
	}
	return nil
}

// show prints a value, one of several or the only one.
func (a *app) show(cl *clusterclient.Client, v follower.Value, several bool) error {
	switch {
	case a.json && several:
		return a.line(shown(cl, v))
	case a.json:
		return a.document(shown(cl, v))
	case several:
		state := cell{inspect.Fresh, good}
		if v.Stale {
			state = cell{inspect.Stale, bad}
		}
		text := string(v.Data)
		if v.Deleted {
			text = a.style.set("(deleted)", faint)
		}
		a.print("%s %s %s %s\n", time.Now().Format("15:04:05.000"), a.styled(state), v.Revision, text)
	case !v.Deleted:
		_, err := a.out.Write(append(v.Data, '\n'))
		return err
	}
	return nil
}

func shown(cl *clusterclient.Client, v follower.Value) keyValue {
	k := keyValue{
		Name: cl.Status().Name, Key: v.Key, Version: v.Version, Deleted: v.Deleted, State: inspect.Fresh, Since: v.Since,
		Revision: inspect.Revision{Term: v.Revision.Term, Seq: v.Revision.Seq},
	}
	if v.Stale {
		k.State, k.Reason = inspect.Stale, v.Reason.Error()
	}
	switch text := string(v.Data); {
	case v.Deleted:
	case utf8.ValidString(text):
		k.Text = &text
	default:
		k.Bytes = v.Data
	}
	return k
}

func (a *app) invoke(ctx context.Context, args []string) error {
	arg := json.RawMessage("null")
	if len(args) > 1 {
		arg = json.RawMessage(args[1])
	}
	if !json.Valid(arg) {
		return usage("%q is no JSON", arg)
	}
	return a.within(ctx, func(ctx context.Context, cl *clusterclient.Client) error {
		var result json.RawMessage
		if err := cl.Invoke(ctx, args[0], arg, &result); err != nil {
			return offered(ctx, cl, err)
		}
		a.print("%s\n", result)
		return nil
	})
}

// offered adds to an error that there is no such method those that there are.
func offered(ctx context.Context, cl *clusterclient.Client, err error) error {
	if status.Code(err) != codes.Unimplemented {
		return err
	}
	n, failed := cl.Inspect(ctx, inspect.Query{})
	if failed != nil || n.Leadership == nil || len(n.Leadership.Methods) == 0 {
		return err
	}
	var all []string
	for _, m := range n.Leadership.Methods {
		all = append(all, m.Method)
	}
	return fmt.Errorf("%w; it has %s", err, strings.Join(all, ", "))
}

// publishReport is what publish prints as JSON.
type publishReport struct {
	Name      string `json:"name"`
	Key       string `json:"key"`
	Published bool   `json:"published"`
}

func (a *app) publish(ctx context.Context, args []string) error {
	var data []byte
	if len(args) > 1 {
		data = []byte(args[1])
	} else {
		var err error
		if data, err = io.ReadAll(os.Stdin); err != nil {
			return err
		}
	}
	return a.within(ctx, func(ctx context.Context, cl *clusterclient.Client) error {
		if err := cl.Publish(ctx, args[0], append([]byte{}, data...)); err != nil {
			return err
		}
		if a.json {
			return a.document(publishReport{cl.Status().Name, args[0], true})
		}
		return nil
	})
}

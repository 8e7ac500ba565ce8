package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A key can have anything in it. It breaks no line, and gives no terminal an order.
func TestTableOfStrangeKeys(t *testing.T) {
	var out strings.Builder
	a := &app{out: &out, style: style{colour: true}}
	a.table([]string{"KEY", "STATE"}, [][]cell{{c("a\x1b[2J\nb"), {"fresh", good}}, {c("ключ"), c("stale")}})
	lines := strings.Split(out.String(), "\n")
	require.Len(t, lines, 1+2+1)
	require.Equal(t, "a\ufffd[2J\ufffdb  \x1b[32mfresh\x1b[0m", lines[1])
	require.Equal(t, "ключ     stale", lines[2])
}

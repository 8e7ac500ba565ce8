package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const schemaFile = "../../docs/clusterctl.schema.json"

// The documented schema is that of the types that are printed.
func TestSchema(t *testing.T) {
	var out bytes.Buffer
	require.Equal(t, exitOK, run(t.Context(), []string{"schema"}, &out, &out))
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(schemaFile, out.Bytes(), 0o600))
	}
	want, err := os.ReadFile(schemaFile)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String(), "%s; UPDATE=1 writes it anew", schemaFile)
}

// checkSchema checks documents, one a line or one alone, against the
// definition called name in the documented schema.
func checkSchema(t *testing.T, _ *tool, name string, text []byte) {
	t.Helper()
	file, err := os.ReadFile(schemaFile)
	require.NoError(t, err)
	var s struct {
		Defs map[string]map[string]any `json:"$defs"`
	}
	require.NoError(t, json.Unmarshal(file, &s))
	require.Contains(t, s.Defs, name)
	for in := json.NewDecoder(bytes.NewReader(text)); in.More(); {
		var doc any
		require.NoError(t, in.Decode(&doc))
		for _, wrong := range (validator{s.Defs}).check(name, doc, s.Defs[name]) {
			t.Errorf("-o json of %s: %s", name, wrong)
		}
	}
}

// A validator knows as much of JSON Schema as our schema uses, and forbids
// properties that are not in it.
type validator struct{ defs map[string]map[string]any }

func (v validator) check(path string, doc any, s map[string]any) []string {
	if ref, ok := s["$ref"].(string); ok {
		return v.check(path, doc, v.defs[strings.TrimPrefix(ref, "#/$defs/")])
	}
	switch s["type"] {
	case "object":
		return v.object(path, doc, s)
	case "array":
		all, ok := doc.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, want an array", path, doc)}
		}
		var wrong []string
		for i, item := range all {
			wrong = append(wrong, v.check(fmt.Sprintf("%s[%d]", path, i), item, s["items"].(map[string]any))...)
		}
		return wrong
	}
	if ok := scalar(doc, s["type"]); !ok {
		return []string{fmt.Sprintf("%s is %T, want %v", path, doc, s["type"])}
	}
	return nil
}

func scalar(doc, want any) (ok bool) {
	switch want {
	case "string":
		_, ok = doc.(string)
	case "boolean":
		_, ok = doc.(bool)
	case "integer", "number":
		var f float64
		f, ok = doc.(float64)
		ok = ok && (want == "number" || f == float64(int64(f)))
	}
	return ok
}

func (v validator) object(path string, doc any, s map[string]any) (wrong []string) {
	o, ok := doc.(map[string]any)
	if !ok {
		return []string{fmt.Sprintf("%s is %T, want an object", path, doc)}
	}
	properties, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, ok := o[name.(string)]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s lacks %s", path, name))
		}
	}
	for name, value := range o {
		sub, ok := properties[name].(map[string]any)
		if !ok {
			sub, ok = s["additionalProperties"].(map[string]any)
		}
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s.%s is not in the schema", path, name))
			continue
		}
		wrong = append(wrong, v.check(path+"."+name, value, sub)...)
	}
	return wrong
}

// The validator is not one that finds everything right.
func TestValidator(t *testing.T) {
	v := validator{map[string]map[string]any{"P": {
		"type": "object", "required": []any{"pid"},
		"properties": map[string]any{"pid": map[string]any{"type": "integer"}},
	}}}
	s := map[string]any{"type": "array", "items": map[string]any{"$ref": "#/$defs/P"}}
	require.Empty(t, v.check("x", []any{map[string]any{"pid": 1.0}}, s))
	for _, doc := range []any{
		"text",
		[]any{1.0},
		[]any{map[string]any{}},
		[]any{map[string]any{"pid": 1.5}},
		[]any{map[string]any{"pid": "1"}},
		[]any{map[string]any{"pid": 1.0, "more": 1.0}},
	} {
		require.NotEmpty(t, v.check("x", doc, s), "%v", doc)
	}
}

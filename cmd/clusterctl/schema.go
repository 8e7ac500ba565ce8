package main

import (
	"context"
	"reflect"
	"strings"
	"time"

	"github.com/clusterclient/clusterclient/inspect"
)

// documents returns, by command, what -o json prints. The commands that print
// several documents, watch and top, print one a line.
func documents() map[string]any {
	return map[string]any{
		"status":    statusReport{},
		"keys":      keysReport{},
		"get":       keyValue{},
		"watch":     keyValue{},
		"followers": followersReport{},
		"explain":   inspect.Explanation{},
		"top":       topReport{},
		"doctor":    doctorReport{},
		"publish":   publishReport{},
		"resign":    resignReport{},
		"depose":    resignReport{},
	}
}

// schema prints a JSON Schema whose definitions have the names of commands. It
// is derived from the very types that are printed.
func (a *app) schema(context.Context, []string) error {
	s := schema{types: map[string]any{}}
	all := map[string]any{}
	for name, doc := range documents() {
		all[name] = s.of(reflect.TypeOf(doc))
	}
	for name, def := range s.types {
		all[name] = def
	}
	return a.document(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "What clusterctl -o json prints, by command",
		"$defs":   all,
	})
}

// A schema collects the definitions of struct types by name.
type schema struct{ types map[string]any }

func (s *schema) of(t reflect.Type) any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[[]byte]():
		return map[string]any{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Struct:
		return s.reference(t)
	case reflect.Slice:
		return map[string]any{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Uint64, reflect.Uint32:
		return map[string]any{"type": "integer", "minimum": 0}
	}
	return map[string]any{"type": "integer"}
}

func (s *schema) reference(t reflect.Type) any {
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	if s.types[name] == nil {
		s.types[name] = true // it may contain itself
		o := object{properties: map[string]any{}, required: []string{}}
		s.fields(t, &o)
		s.types[name] = map[string]any{"type": "object", "properties": o.properties, "required": o.required}
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}

// An object is a struct type in the making.
type object struct {
	properties map[string]any
	required   []string
}

func (s *schema) fields(t reflect.Type, o *object) {
	for f := range t.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			s.fields(f.Type, o)
		case f.IsExported() && name != "-":
			o.properties[name] = s.of(f.Type)
			if !strings.Contains(opts, "omit") {
				o.required = append(o.required, name)
			}
		}
	}
}

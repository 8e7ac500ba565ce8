package wire

import (
	"errors"
	"unicode/utf8"
)

// MaxKey is the longest key, and name of a method or queue group, in bytes.
const MaxKey = 4096

// CheckKey says what is wrong with what cannot be a key.
func CheckKey(key string) error {
	switch {
	case key == "":
		return errors.New("a key of 0 bytes")
	case !utf8.ValidString(key):
		return errors.New("the key is not UTF-8")
	case len(key) > MaxKey:
		return errors.New("the key is longer than 4096 bytes")
	}
	return nil
}

// CheckMethod says what is wrong with what cannot be the name of a method.
func CheckMethod(name string) error {
	switch {
	case name == "" || !utf8.ValidString(name):
		return errors.New("a method needs a name in UTF-8")
	case len(name) > MaxKey:
		return errors.New("the method's name is longer than 4096 bytes")
	}
	return nil
}

// Package browsertest tests the page of package debugpage in a real browser. It
// is a module of its own, for what drives the browser is not for programs that
// mount the page.
package browsertest

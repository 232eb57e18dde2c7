//go:build neighbours

// Package neighbours names the command that the trace tests run, so that
// go.mod and go.sum pin it. It is never compiled: `tests/tools/install`
// builds the command by its import path.
package neighbours

import (
	_ "github.com/jaegertracing/jaeger/cmd/all-in-one"
)

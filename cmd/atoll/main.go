// Command atoll is a community server for the AT Protocol.
package main

import (
	"os"

	"github.com/atoll-social/atoll/internal/cli"
)

// version is set by the build.
var version = "dev"

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Process{
		Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: version,
	}))
}

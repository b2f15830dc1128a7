package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/lexicons"
)

// maxLexicon is the largest lexicon file that is read, in bytes.
const maxLexicon = 1 << 20

type lexiconCommand struct {
	Check lexiconCheck `cmd:"" help:"Check lexicon files: well-formed, version 1, definitions by the rules. What they refer to in other files is not followed."`
}

type lexiconCheck struct {
	Files []string `arg:"" name:"file" help:"Lexicon files; - is standard input."`
}

// Run checks every file and says what is wrong with each.
func (c lexiconCheck) Run(r *run) error {
	wrong := 0
	for _, name := range c.Files {
		verdict := "ok"
		if err := checkLexicon(name, r.process.Stdin); err != nil {
			wrong++
			verdict = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		fmt.Fprintf(r.process.Stdout, "%s: %s\n", name, verdict)
	}
	if wrong > 0 {
		return fault.New(fault.Invalid, fmt.Sprintf("%d of %d files are no valid lexicons", wrong, len(c.Files)))
	}
	return nil
}

func checkLexicon(name string, stdin io.Reader) error {
	from := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, maxLexicon+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxLexicon:
		return fmt.Errorf("larger than %d bytes", maxLexicon)
	}
	return lexicons.Check(text)
}

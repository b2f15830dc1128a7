package lexicons

import (
	"encoding/json"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/lexicon"
)

// Check reads one lexicon file and reports what is wrong with it: no JSON, no
// lexicon of version 1, or a definition that breaks the rules of lexicons.
// What it refers to in other files is not followed.
func Check(text []byte) error {
	var file lexicon.SchemaFile
	if err := json.Unmarshal(text, &file); err != nil {
		return fmt.Errorf("read lexicon: %w", err)
	}
	if err := file.FinishParse(); err != nil {
		return fmt.Errorf("lexicon %.200q: %w", file.ID, err)
	}
	if err := file.CheckSchema(); err != nil {
		return fmt.Errorf("lexicon %.200q: %w", file.ID, err)
	}
	return nil
}

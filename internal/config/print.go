package config

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Print writes every effective value and where it came from. Secrets are
// hidden; their presence is not.
func (c *Config) Print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range settings() {
		value := s.get(c)
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t(%s)\n", s.key, value, c.origins[s.key])
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the settings: %w", err)
	}
	return nil
}

// Keys lists the keys of all settings with what they are for.
func Keys() (keys, help []string) {
	for _, s := range settings() {
		keys = append(keys, s.key)
		help = append(help, s.help)
	}
	return keys, help
}

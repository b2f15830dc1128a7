package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/atoll-social/atoll/test/network"
)

// settings is the configuration file of the demo's Atoll.
func settings(o options, n *network.Network) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, "# Written anew by every `make run`. The keys are explained in docs/config.md.")
	fmt.Fprintf(&b, "listen = %q\ndata_dir = %q\ndev = true\nplc_url = %q\n", o.listen, o.data, n.PLC)
	var handles []string
	for _, pds := range n.PDS {
		handles = append(handles, fmt.Sprintf("%q = %q", pds.HandleDomain, pds.URL))
	}
	fmt.Fprintf(&b, "dev_handles = { %s }\n", strings.Join(handles, ", "))
	for _, pds := range n.PDS {
		fmt.Fprintf(&b, "\n[[source]]\nkind = \"repos\"\nurl = %q\n", pds.URL)
	}
	home := n.PDS[0] // where communities get their accounts
	// All founders sign in from one address within seconds.
	b.WriteString("\n[limits]\nsign_ins_per_minute = 600\n")
	fmt.Fprintf(&b, "\n[hosting]\npds_url = %q\npds_admin_password = %q\nhandle_domain = %q\n", home.URL, n.AdminPassword, home.HandleDomain)
	return b.Bytes()
}

// welcomed is how many members are named; the others are on the pages.
const welcomed = 4

// welcome says who may sign in, and where everything is.
func welcome(out io.Writer, o options, n *network.Network, c *content) {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "\n  sign in as\tpassword\tat")
	for _, m := range c.Members[:welcomed] {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", m.Name+n.PDS[m.PDS].HandleDomain, password, n.PDS[m.PDS].URL)
	}
	_ = table.Flush() // to a terminal
	fmt.Fprintf(out, "\n  Atoll      %s\n  directory  %s\n  log        %s/atoll.log\n\n", o.origin(), n.PLC, o.data)
	fmt.Fprintf(out, "Ctrl-C stops everything. Remove %s to begin anew.\n", o.data)
}

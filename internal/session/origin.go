package session

import (
	"net/netip"
	"strings"
)

// Origin is as much of an address as is kept: the /24 of IPv4, the /48 of IPv6.
// It tells a member "at home" from "elsewhere" and nobody's exact address. An
// invalid address gives "".
func Origin(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	prefix, err := addr.Prefix(bits)
	if err != nil || !prefix.IsValid() {
		return ""
	}
	return prefix.String()
}

// hint maps a mark of a User-Agent header to a name.
type hint struct{ mark, name string }

// Order matters: Edge and Opera also say Chrome, Chrome also says Safari.
func browserHints() []hint {
	return []hint{
		{"Edg", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"},
		{"CriOS/", "Chrome"}, {"Chromium/", "Chromium"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"},
	}
}

func systemHints() []hint {
	return []hint{
		{"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"CrOS", "ChromeOS"},
		{"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"Linux", "Linux"},
	}
}

// Summary turns a User-Agent header into words that a member recognises, such
// as "Firefox on Linux". Nothing of the header itself is kept.
func Summary(userAgent string) string {
	browser, system := match(userAgent, browserHints()), match(userAgent, systemHints())
	switch {
	case browser == "" && system == "":
		return "Unknown browser"
	case browser == "":
		return "Unknown browser on " + system
	case system == "":
		return browser
	}
	return browser + " on " + system
}

func match(s string, hints []hint) string {
	for _, h := range hints {
		if strings.Contains(s, h.mark) {
			return h.name
		}
	}
	return ""
}

package main

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/pelletier/go-toml/v2"
)

//go:embed content
var contentFiles embed.FS

// content is what the demo's members say and where. All of them are made up.
type content struct {
	Members     []member
	Communities []community
	Replies     replies
}

// member is somebody with an account on one of the two servers.
type member struct {
	Name        string `toml:"name"`
	PDS         int    `toml:"pds"`
	DisplayName string `toml:"display_name"`
	Bio         string `toml:"bio"`
}

type community struct {
	Name        string   `toml:"name"`
	DisplayName string   `toml:"display_name"`
	About       string   `toml:"about"`
	Founder     string   `toml:"founder"` // name of a member
	Posts       []post   `toml:"posts"`
	Log         *daybook `toml:"log"`
}

type post struct {
	Author  string `toml:"author"`
	Age     age    `toml:"age"` // when the demo is made for the first time
	Title   string `toml:"title"`
	Text    string `toml:"text"`
	Picture string `toml:"picture"` // a scene of picture.go; empty for none
	Quotes  string `toml:"quotes"`  // title of an earlier post of the same community
	Thread  thread `toml:"thread"`
}

// thread says how a post is answered: like most of them when empty.
type thread string

const (
	wide     thread = "wide"     // hundreds of answers to the post itself
	deep     thread = "deep"     // hundreds of answers, each to the one before
	argument thread = "argument" // two sides, answer upon answer
)

// daybook makes an entry for every day from its lists.
type daybook struct {
	Days    int      `toml:"days"`
	Keepers []string `toml:"keepers"`
	Wind    []string `toml:"wind"`
	Sky     []string `toml:"sky"`
	Passed  []string `toml:"passed"`
	Remark  []string `toml:"remark"`
}

// replies are texts of comments.
type replies struct {
	Short    []string `toml:"short"`
	Argument []string `toml:"argument"`
	Song     []string `toml:"song"`
	Hello    []string `toml:"hello"`
}

// age is a duration such as "50m", "26h" or "33d".
type age time.Duration

func (a *age) UnmarshalText(text []byte) error {
	var n int
	var unit string
	if _, err := fmt.Sscanf(string(text), "%d%s", &n, &unit); err != nil {
		return fmt.Errorf("age %q: %w", text, err)
	}
	units := map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	if units[unit] == 0 || n < 0 {
		return fmt.Errorf("age %q: want a number and m, h or d", text)
	}
	*a = age(time.Duration(n) * units[unit])
	return nil
}

// loadContent reads the files of the folder content.
func loadContent() (*content, error) {
	var c content
	names, err := fs.Glob(contentFiles, "content/*.toml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		var target any
		var one community
		switch name {
		case "content/members.toml":
			target = &c
		case "content/replies.toml":
			target = &c.Replies
		default:
			target = &one
		}
		text, err := contentFiles.ReadFile(name)
		if err == nil {
			err = toml.Unmarshal(text, target)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if target == any(&one) {
			one.Posts = append(one.Posts, one.Log.entries()...)
			c.Communities = append(c.Communities, one)
		}
	}
	return &c, nil
}

// bound leaves the first communities and members, who say what the others would have said; 0 leaves all.
func (c *content) bound(communities, members int) {
	if communities > 0 {
		c.Communities = c.Communities[:communities]
	}
	if members == 0 {
		return
	}
	c.Members = c.Members[:members]
	known := func(name string) bool {
		return slices.ContainsFunc(c.Members, func(m member) bool { return m.Name == name })
	}
	for i := range c.Communities {
		to := &c.Communities[i]
		if !known(to.Founder) {
			to.Founder = c.Members[0].Name
		}
		for j := range to.Posts {
			if !known(to.Posts[j].Author) {
				to.Posts[j].Author = c.Members[j%members].Name
			}
		}
	}
}

// entries are the posts of a daybook, one for each day; nil has none.
func (d *daybook) entries() []post {
	if d == nil {
		return nil
	}
	posts := make([]post, d.Days)
	for i := range posts {
		day := d.Days - i
		dice := diceFor("log", day)
		pick := func(list []string) string { return list[dice.IntN(len(list))] }
		posts[i] = post{
			Author: d.Keepers[day%len(d.Keepers)],
			Age:    age(time.Duration(day)*24*time.Hour - 5*time.Hour),
			Title:  fmt.Sprintf("Log, day %d", 11_000-day),
			Text:   fmt.Sprintf("%s, %s. %s\n\n%s", pick(d.Wind), pick(d.Sky), pick(d.Passed), pick(d.Remark)),
		}
	}
	return posts
}

package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/atoll-social/atoll/internal/index"
)

// How large the large threads are: wide enough for several pages of answers, deeper than anything fits on one.
const (
	wideAnswers = 300
	deepAnswers = 240
)

// answer writes the comments on a post.
func (p *plan) answer(root said, kind thread, quiet bool, dice *rand.Rand) error {
	switch kind {
	case wide:
		return p.rollCall(root, dice)
	case deep:
		return p.chain(root, p.songLine, deepAnswers)
	case argument:
		return p.chain(root, func(i int) string { return p.content.Replies.Argument[i] }, len(p.content.Replies.Argument))
	}
	answers := dice.IntN(7)
	if quiet {
		answers = dice.IntN(2)
	}
	return p.smallTalk(root, answers, dice)
}

// smallTalk is a few answers, some of them to one another.
func (p *plan) smallTalk(root said, answers int, dice *rand.Rand) error {
	texts := dice.Perm(len(p.content.Replies.Short))
	spoken := []said{root}
	for i := range answers {
		parent := spoken[0]
		if dice.IntN(5) < 2 {
			parent = spoken[dice.IntN(len(spoken))]
		}
		c, err := p.comment(p.other(parent.author, dice), root, parent, p.between(parent.at, dice), p.content.Replies.Short[texts[i]])
		if err != nil {
			return err
		}
		if err := p.vote(c, dice, dice.IntN(6)); err != nil {
			return err
		}
		spoken = append(spoken, c)
	}
	return nil
}

// rollCall lets everybody answer the post itself, again and again.
func (p *plan) rollCall(root said, dice *rand.Rand) error {
	hello := p.content.Replies.Hello
	span := p.began.Sub(root.at)
	for i := range wideAnswers {
		m := p.content.Members[i%len(p.content.Members)]
		at := root.at.Add(span * time.Duration(i+1) / time.Duration(wideAnswers+2))
		c, err := p.comment(m.Name, root, root, at, m.DisplayName+" "+hello[(i*7+i/len(hello))%len(hello)])
		if err != nil {
			return err
		}
		if i%9 == 0 {
			if err := p.vote(c, dice, dice.IntN(9)); err != nil {
				return err
			}
			if _, err := p.comment(root.author, root, c, at.Add(time.Minute), p.content.Replies.Short[i%len(p.content.Replies.Short)]); err != nil {
				return err
			}
		}
	}
	return nil
}

// chain is answer upon answer, by members in turn.
func (p *plan) chain(root said, line func(int) string, length int) error {
	parent := root
	span := p.began.Sub(root.at)
	for i := range length {
		m := p.content.Members[(i*5+3)%len(p.content.Members)]
		c, err := p.comment(m.Name, root, parent, root.at.Add(span*time.Duration(i+1)/time.Duration(length+2)), line(i))
		if err != nil {
			return err
		}
		parent = c
	}
	return nil
}

// songLine is the next line of a song that goes round: from the second time on, each round is counted.
func (p *plan) songLine(i int) string {
	song := p.content.Replies.Song
	if round := i/len(song) + 1; round > 1 && i%len(song) == 0 {
		return fmt.Sprintf("(and round again, for the %s time) %s", []string{"", "first", "second", "third", "fourth", "fifth", "sixth", "seventh"}[min(round, 7)], song[0])
	}
	return song[i%len(song)]
}

func (p *plan) comment(author string, root, parent said, at time.Time, text string) (said, error) {
	return p.say(author, index.CommentCollection, at, map[string]any{
		"reply": map[string]any{"root": root.ref(), "parent": parent.ref()}, "content": text, "langs": []any{"en"},
	})
}

// other is a member who isn't the one named.
func (p *plan) other(name string, dice *rand.Rand) string {
	for {
		if m := p.content.Members[dice.IntN(len(p.content.Members))]; m.Name != name {
			return m.Name
		}
	}
}

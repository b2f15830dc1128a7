package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	cdp "github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/atoll-social/atoll/test/network"
	"github.com/atoll-social/atoll/test/port"
)

// envReadme names the folder of the README's pictures, where somebody wants them
// anew (make screenshots); empty: they are made, judged and thrown away.
const envReadme = "TEST_README_PICTURES"

// maxPicture bounds each of those that are kept, in bytes.
const maxPicture = 200_000

// TestReadmePictures makes the pictures of the README as they were made: of the
// demo, as one of its members sees it. A run of every day is content with a part
// of the demo.
func TestReadmePictures(t *testing.T) {
	t.Parallel()
	dir, part := os.Getenv(envReadme), []string(nil)
	kept := dir != ""
	if !kept {
		dir, part = t.TempDir(), []string{"-communities", "2", "-members", "8"}
	}
	d := startDemo(t, part...)
	w := d.inst.browse().window()
	d.signIn(w)
	for _, p := range []struct {
		name, path, theme string
		width, height     int64
		scale             float64
	}{
		{"discover", "/discover", "light", 1280, 920, 1},
		{"thread", d.thread(), "light", 1280, 1240, 1},
		{"community", d.community(), "dark", 390, 844, 1.5},
	} {
		w.do("size", chromedp.EmulateViewport(p.width, p.height, chromedp.EmulateScale(p.scale)))
		w.theme(p.theme)
		w.open(p.path)
		w.await("all pictures in sight", `[...document.images].filter(i => i.getBoundingClientRect().top < innerHeight).every(i => i.complete && i.naturalWidth > 0)`)
		png, err := chromedp.Run(w.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if kept && len(png) > maxPicture {
			t.Errorf("the picture %s has %d bytes, want at most %d", p.name, len(png), maxPicture)
		}
		if err := os.WriteFile(filepath.Join(dir, p.name+".png"), png, 0o644); err != nil {
			t.Fatal(err)
		}
		look(w, p.name)
	}
}

// demo is what `make run` starts.
type demo struct {
	t      *testing.T
	inst   *instance
	member network.Account
}

// startDemo runs the demo until the test ends, and waits until everything that
// it shows is there.
func startDemo(t *testing.T, args ...string) *demo {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "demo")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/atoll-social/atoll/test/demo").CombinedOutput(); err != nil {
		t.Fatalf("build the demo: %v\n%s", err, out)
	}
	ports, err := port.Row(4)
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{t: t, inst: &instance{t: t, addr: fmt.Sprint("127.0.0.1:", ports)}}
	cmd := exec.Command(program, append(args, "-listen", d.inst.addr, "-network", fmt.Sprint(ports+1), "-data", filepath.Join(dir, "data"), "-binary", filepath.Join(dir, "atoll"))...)
	var trouble bytes.Buffer
	cmd.Stderr = &trouble
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() {
		var text strings.Builder
		for lines := bufio.NewScanner(out); lines.Scan(); {
			text.WriteString(lines.Text() + "\n")
			if strings.HasPrefix(lines.Text(), "Ctrl-C") {
				said <- text.String()
			}
		}
		close(said)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself: the exit code tells
		for range said {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the demo: %v\n%s", err, trouble.String())
		}
	})
	d.meet(<-said)
	return d
}

// welcomes is the line that names the first member who may sign in.
var welcomes = regexp.MustCompile(`(?m)^  (\S+\.one\.test)\s+(\S+)\s+(http://(localhost:\d+))$`)

// meet reads who may sign in out of what the demo says.
func (d *demo) meet(said string) {
	d.t.Helper()
	found := welcomes.FindStringSubmatch(said)
	if found == nil {
		d.t.Fatalf("the demo names nobody who may sign in:\n%s", said)
	}
	n, err := network.Parse(fmt.Sprintf(`{"plc": "none", "control": "none", "pds": [{"url": %q, "listen": %q, "handleDomain": ".one.test"}]}`, found[3], found[4]))
	if err != nil {
		d.t.Fatal(err)
	}
	d.inst.network, d.member = n, network.Account{Handle: found[1], Password: found[2]}
	var who struct{ DID string }
	d.json(found[3]+"/xrpc/com.atproto.identity.resolveHandle?handle="+d.member.Handle, &who)
	d.member.DID = who.DID
	before, still := "", 0 // posts are admitted one after the other
	eventually(d.t, "the posts to be admitted", func() bool {
		body, status := d.get(d.inst.origin() + "/discover?sort=new")
		if posts := strings.Count(body, `class="post"`); status == http.StatusOK && posts == 25 && body == before {
			still++
		} else {
			before, still = body, 0
		}
		return still == 40
	})
}

func (d *demo) get(address string) (body string, status int) {
	d.t.Helper()
	var out bytes.Buffer
	resp, err := d.inst.network.Client().Get(address)
	if err == nil {
		defer resp.Body.Close()
		_, err = out.ReadFrom(resp.Body)
	}
	if err != nil {
		d.t.Fatalf("GET %s: %v", address, err)
	}
	return out.String(), resp.StatusCode
}

func (d *demo) json(address string, into any) {
	d.t.Helper()
	body, status := d.get(address)
	if err := json.Unmarshal([]byte(body), into); err != nil || status != http.StatusOK {
		d.t.Fatalf("GET %s: %d, %v\n%s", address, status, err, body)
	}
}

// signIn makes the window that of the member.
func (d *demo) signIn(w *window) {
	d.t.Helper()
	b := &browser{t: d.t, inst: d.inst, client: d.inst.network.Client(), cookies: map[string]*http.Cookie{}}
	d.inst.seen = &recorder{}
	begun := b.get("/oauth/login?" + url.Values{"handle": {d.member.Handle}, "return_to": {"/discover"}}.Encode())
	back, err := d.inst.network.SignIn(d.t.Context(), begun.location(), d.member)
	if err != nil {
		d.t.Fatal(err)
	}
	b.get(back)
	for _, c := range b.cookies {
		_, err := chromedp.Call(w.ctx, cdp.SetCookie, cdp.SetCookieParams{Name: c.Name, Value: c.Value, URL: d.inst.origin() + "/", Path: "/", HTTPOnly: new(true)})
		if err != nil {
			d.t.Fatal(err)
		}
	}
}

// thread is the page of the post that is most talked about, without being one of
// the very large threads.
func (d *demo) thread() (path string) {
	d.t.Helper()
	most := 0
	for _, community := range d.communities() {
		var out struct {
			Feed []struct {
				Post struct {
					network.Record
					Stats struct{ CommentCount int }
				}
			}
		}
		d.json(d.inst.origin()+"/xrpc/social.coves.communityFeed.getCommunity?sort=new&limit=50&community="+community, &out)
		for _, item := range out.Feed {
			if n := item.Post.Stats.CommentCount; n > most && n <= 60 {
				most = n
				path = pageOf(item.Post.Record)
			}
		}
	}
	if most == 0 {
		d.t.Fatal("nobody has answered anything")
	}
	return path
}

// communities are the handles of all communities, what is followed most first.
func (d *demo) communities() (handles []string) {
	d.t.Helper()
	var out struct{ Communities []struct{ Handle string } }
	d.json(d.inst.origin()+"/xrpc/social.coves.community.list?sort=popular&limit=100", &out)
	if len(out.Communities) == 0 {
		d.t.Fatal("there are no communities")
	}
	for _, c := range out.Communities {
		handles = append(handles, c.Handle)
	}
	return handles
}

// community is the page of a community with pictures, or of another where that
// one was not made.
func (d *demo) community() (path string) {
	d.t.Helper()
	all := d.communities()
	if slices.Contains(all, "foundthings.one.test") {
		return "/c/foundthings.one.test"
	}
	return "/c/" + all[0]
}

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/test/network"
)

// terminal is a run of `atoll login` on a machine of its own.
type terminal struct {
	t      *testing.T
	inst   *instance
	home   string
	cmd    *exec.Cmd
	output bytes.Buffer
	url    string
	code   string
}

// atoll runs the program in somebody's terminal: it knows nothing of the server
// but its address.
func (i *instance) atoll(home string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = []string{"HOME=" + home, "PATH=/nonexistent", envSeams + "=" + plainSeams(i.t)}
	return cmd
}

// login starts `atoll login` and reads what it asks the person to do.
func (i *instance) login(account network.Account, args ...string) *terminal {
	i.t.Helper()
	term := &terminal{t: i.t, inst: i, home: i.t.TempDir()}
	term.cmd = i.atoll(term.home, append([]string{"login", account.Handle, "--server", i.origin(), "--no-browser"}, args...)...)
	term.cmd.Stdout = &term.output
	words, err := term.cmd.StderrPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	if err := term.cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { _ = term.cmd.Process.Kill() })
	lines := bufio.NewScanner(words)
	code := regexp.MustCompile(`^    ([A-Z]{4}-[A-Z]{4})$`)
	for term.code == "" && lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, "    http") {
			term.url = strings.TrimSpace(line)
		} else if m := code.FindStringSubmatch(line); m != nil {
			term.code = m[1]
		}
	}
	if term.url == "" || term.code == "" {
		i.t.Fatalf("atoll login shows neither address nor code (%q, %q)", term.url, term.code)
	}
	go func() { _, _ = io.Copy(io.Discard, words) }()
	return term
}

// done waits for the end of `atoll login`.
func (term *terminal) done(account network.Account) {
	term.t.Helper()
	if err := term.cmd.Wait(); err != nil || !strings.Contains(term.output.String(), "Signed in as @"+account.Handle) {
		term.t.Fatalf("atoll login: %v\n%s", err, term.output.String())
	}
}

func (term *terminal) begun() *authv1.InitiateLoginResponse {
	return &authv1.InitiateLoginResponse{LoginId: term.url[strings.LastIndexByte(term.url, '/')+1:], BrowserUrl: term.url, UserCode: term.code}
}

// TestTerminalWithACode: login, whoami and logout, the browser being elsewhere;
// the sign-in is kept for its owner only (N8).
func TestTerminalWithACode(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{})
	account := inst.network.NewAccount(t, 0)
	term, b := inst.login(account, "--remote"), inst.browser()
	page := b.arrive(term.begun(), account)
	if strings.Contains(page.body, "/here") {
		t.Error("the page offers a way that the terminal did not ask for")
	}
	b.typeCode(page, term.begun(), term.code)
	term.done(account)
	file := filepath.Join(term.home, ".config", "atoll", "session.json")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kept sign-in: %v, %v; want mode 0600", info, err)
	}
	if folder, err := os.Stat(filepath.Dir(file)); err != nil || folder.Mode().Perm() != 0o700 {
		t.Errorf("its folder: %v, %v; want mode 0700", folder, err)
	}
	inst.restart()
	out, err := inst.atoll(term.home, "whoami").CombinedOutput()
	if err != nil || !strings.Contains(string(out), account.DID) {
		t.Errorf("atoll whoami: %v\n%s", err, out)
	}
	copied := t.TempDir()
	if text, err := os.ReadFile(file); err != nil || os.WriteFile(filepath.Join(copied, "stolen.json"), text, 0o600) != nil {
		t.Fatal(err)
	}
	if out, err := inst.atoll(term.home, "logout").CombinedOutput(); err != nil {
		t.Errorf("atoll logout: %v\n%s", err, out)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("after logout the file is there (%v)", err)
	}
	for _, args := range [][]string{{"whoami"}, {"whoami", "--session", filepath.Join(copied, "stolen.json")}} {
		if out, err := inst.atoll(term.home, args...).CombinedOutput(); err == nil || !strings.Contains(string(out), "atoll login") {
			t.Errorf("atoll %v after logout: %v\n%s", args, err, out)
		}
	}
}

// TestTerminalOnTheSameMachine: the browser finds it on 127.0.0.1; no code (N4).
func TestTerminalOnTheSameMachine(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{})
	account := inst.network.NewAccount(t, 1)
	term, b := inst.login(account), inst.browser()
	action := "/app/" + term.begun().GetLoginId() + "/here"
	a := b.post(action, formOf(t, b.arrive(term.begun(), account), action, nil))
	if a.status != http.StatusSeeOther || !strings.HasPrefix(a.location(), "http://127.0.0.1:") {
		t.Fatalf("leads to %d %q, want the terminal", a.status, a.location())
	}
	if got := strings.SplitN(a.location(), "/?", 2)[0]; !strings.Contains(b.get("/app/"+term.begun().GetLoginId()+"/approve").header.Get("Content-Security-Policy"), "form-action 'self' "+got) {
		t.Errorf("the page's policy keeps its form from %s", got)
	}
	if a = b.get(a.location()); a.location() != term.url+"/approve" {
		t.Fatalf("the terminal answers %d to %q\n%s", a.status, a.location(), a.body)
	}
	if page := b.get(a.location()); !strings.Contains(page.body, "The app is signed in") {
		t.Errorf("in the end: %d\n%s", page.status, page.body)
	}
	term.done(account)
	if out, err := inst.atoll(term.home, "whoami").CombinedOutput(); err != nil || !strings.Contains(string(out), account.DID) {
		t.Errorf("atoll whoami: %v\n%s", err, out)
	}
}

// TestTerminalThatGivesUp: Ctrl-C cancels the sign-in.
func TestTerminalThatGivesUp(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{})
	account := inst.network.NewAccount(t, 0)
	term, b := inst.login(account, "--remote"), inst.browser()
	page := b.arrive(term.begun(), account)
	if err := term.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := term.cmd.Wait(); err == nil {
		t.Error("an interrupted atoll login says that all is well")
	}
	if a := b.typeCode(page, term.begun(), term.code); !strings.Contains(b.get(a.location()).body, "has given this sign-in up") {
		t.Errorf("the code afterwards: %d %s", a.status, a.location())
	}
}

// grpcurl is installed by its version; it is a client that others have written.
const grpcurl = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"

// TestGrpcurl: reflection, health and the calls, as docs/app-sign-in.md shows them.
func TestGrpcurl(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{})
	bin := t.TempDir()
	install := exec.Command("go", "install", grpcurl)
	install.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=")
	install.Dir = bin
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("install grpcurl: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	call := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, filepath.Join(bin, "grpcurl"), append([]string{"-plaintext"}, args...)...).CombinedOutput()
		return string(out), err
	}
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{inst.addr, "list"}, "atoll.auth.v1.AuthService"},
		{[]string{inst.addr, "describe", "atoll.auth.v1.AuthService"}, "rpc AwaitLogin"},
		{[]string{inst.addr, "grpc.health.v1.Health/Check"}, "SERVING"},
		{[]string{"-d", `{"identifier":"alice.one.test","app_name":"grpcurl"}`, inst.addr, "atoll.auth.v1.AuthService/InitiateLogin"}, inst.origin() + "/app/"},
	} {
		if out, err := call(step.args...); err != nil || !strings.Contains(out, step.want) {
			t.Errorf("grpcurl %v: %v, want %s in\n%s", step.args, err, step.want, out)
		}
	}
	out, err := call("-d", `{"login_id":"x","secret":"y"}`, inst.addr, "atoll.auth.v1.AuthService/AwaitLogin")
	if err == nil || !strings.Contains(out, "NotFound") || !strings.Contains(out, "REASON_NOT_FOUND") {
		t.Errorf("AwaitLogin of nothing: %v, want NotFound with its reason in\n%s", err, out)
	}
}

// TestTheExample: the client that docs/app-sign-in.md shows does what it says.
func TestTheExample(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{})
	account := inst.network.NewAccount(t, 0)
	program := filepath.Join(t.TempDir(), "example")
	if out, err := exec.Command("go", "build", "-o", program, "../../example").CombinedOutput(); err != nil {
		t.Fatalf("build the example: %v\n%s", err, out)
	}
	cmd := exec.Command(program, inst.origin(), account.Handle)
	words, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(words)
	lines.Scan()
	url := strings.TrimPrefix(lines.Text(), "Open ")
	lines.Scan()
	code := strings.TrimSuffix(strings.TrimPrefix(lines.Text(), "and type "), " there.")
	term := &terminal{url: url, code: code}
	b := inst.browser()
	b.typeCode(b.arrive(term.begun(), account), term.begun(), code)
	if !lines.Scan() || !strings.Contains(lines.Text(), "Signed in as "+account.Handle) {
		t.Errorf("the example says %q", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the example ended with %v", err)
	}
}

// A server, a client and a reader of documents on go-spiffe, for the programs in ../src/bin/peers.
//
//	go-peer server --folder F --admit ID
//	go-peer client --folder F --admit ID --to ADDRESS
//	go-peer verify --folder F --domain D --audience A
//	go-peer mint --folder F --domain D --audience A
//
// A folder has identity.pem, a chain with its key, and bundle.DOMAIN.json; they are read for each
// handshake, so what is moved there counts from the next one. Server and client end when their
// standard input does.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"crypto/tls"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// How long a request may take, and a handshake.
const limit = 10 * time.Second

var (
	folder   = flag.String("folder", "", "where the files are")
	admit    = flag.String("admit", "", "the SPIFFE ID that may be at the other end")
	to       = flag.String("to", "", "the address to call")
	domain   = flag.String("domain", "", "the trust domain of documents")
	audience = flag.String("audience", "", "the audience of tokens")
)

func main() {
	log.SetOutput(io.Discard)
	if len(os.Args) < 2 {
		fail(fmt.Errorf("which program?"))
	}
	must(flag.CommandLine.Parse(os.Args[2:]))
	switch os.Args[1] {
	case "server":
		server()
	case "client":
		client()
	case "verify":
		verify()
	case "mint":
		mint()
	default:
		fail(fmt.Errorf("no program %q", os.Args[1]))
	}
}

// files is a source of identity and bundles that reads them anew for each handshake.
type files struct{ folder string }

func (f files) GetX509SVID() (*x509svid.SVID, error) {
	return x509svid.Load(f.identity(), f.identity())
}

func (f files) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	bundle, err := spiffebundle.Load(td, f.bundle(td.Name()))
	if err != nil {
		return nil, err
	}
	return bundle.X509Bundle(), nil
}

func (f files) bundle(domain string) string {
	return filepath.Join(f.folder, "bundle."+domain+".json")
}

func (f files) identity() string {
	return filepath.Join(f.folder, "identity.pem")
}

func (f files) hasIdentity() bool {
	_, err := os.Stat(f.identity())
	return err == nil
}

func server() {
	source := files{*folder}
	config := tlsconfig.MTLSServerConfig(source, source, admits())
	config.NextProtos = []string{"http/1.1"}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	must(err)
	answer := func(w http.ResponseWriter, r *http.Request) {
		id, err := x509svid.IDFromCert(r.TLS.PeerCertificates[0])
		must(err)
		w.Header().Set("x-peer", id.String())
		w.Header().Set("x-resumed", fmt.Sprint(r.TLS.DidResume))
	}
	say(map[string]any{"address": listener.Addr().String()})
	go func() {
		server := http.Server{Handler: http.HandlerFunc(answer), ReadHeaderTimeout: limit}
		must(server.Serve(listener))
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// client asks once for each line of its input, on a connection of its own.
func client() {
	source := files{*folder}
	config := tlsconfig.TLSClientConfig(source, admits())
	if source.hasIdentity() {
		config = tlsconfig.MTLSClientConfig(source, source, admits())
	}
	config.NextProtos = []string{"http/1.1"}
	config.ServerName = "localhost"
	config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		dialer := tls.Dialer{Config: config}
		return dialer.DialContext(ctx, network, address)
	}
	transport := &http.Transport{DialTLSContext: dial, DisableKeepAlives: true}
	http := http.Client{Transport: transport, Timeout: limit}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		response, err := http.Get("https://" + *to + "/")
		if err != nil {
			say(map[string]any{"error": err.Error()})
			continue
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			say(map[string]any{"error": err.Error()})
			continue
		}
		say(map[string]any{
			"status":  response.StatusCode,
			"body":    string(body),
			"resumed": response.TLS != nil && response.TLS.DidResume,
		})
	}
}

func admits() tlsconfig.Authorizer {
	id, err := spiffeid.FromString(*admit)
	must(err)
	return tlsconfig.AuthorizeID(id)
}

func say(line map[string]any) {
	text, err := json.Marshal(line)
	must(err)
	_, err = fmt.Println(string(text))
	must(err)
}

func read(name string) string {
	text, err := os.ReadFile(filepath.Join(*folder, name))
	must(err)
	return strings.TrimSpace(string(text))
}

func write(name string, text []byte) {
	must(os.WriteFile(filepath.Join(*folder, name), text, 0o600))
}

func must(err error) {
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

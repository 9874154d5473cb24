package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// verify says of each document in the folder what go-spiffe makes of it: of *.pem as an X.509-SVID,
// of *.jwt as a JWT-SVID, by bundle.DOMAIN.json.
func verify() {
	td, err := spiffeid.TrustDomainFromString(*domain)
	must(err)
	bundle, err := spiffebundle.Load(td, files{*folder}.bundle(*domain))
	must(err)
	sequence, _ := bundle.SequenceNumber()
	hint, _ := bundle.RefreshHint()
	say(map[string]any{
		"x509":     len(bundle.X509Authorities()),
		"jwt":      len(bundle.JWTAuthorities()),
		"sequence": sequence,
		"hint":     hint.Seconds(),
	})
	entries, err := os.ReadDir(*folder)
	must(err)
	for _, entry := range entries {
		name := entry.Name()
		switch filepath.Ext(name) {
		case ".pem":
			id, err := verifyChain(bundle, name)
			say(outcome(name, id, err))
		case ".jwt":
			svid, err := jwtsvid.ParseAndValidate(read(name), bundle, []string{*audience})
			if err != nil {
				say(outcome(name, "", err))
			} else {
				say(outcome(name, svid.ID.String(), nil))
			}
		}
	}
}

func verifyChain(bundle *spiffebundle.Bundle, name string) (string, error) {
	var chain [][]byte
	for rest := []byte(read(name)); ; {
		block, more := pem.Decode(rest)
		if block == nil {
			break
		}
		chain, rest = append(chain, block.Bytes), more
	}
	id, _, err := x509svid.ParseAndVerify(chain, bundle)
	return id.String(), err
}

func outcome(name, id string, err error) map[string]any {
	if err != nil {
		return map[string]any{"name": name, "error": err.Error()}
	}
	return map[string]any{"name": name, "id": id}
}

// mint writes documents of an authority of its own: the bundle as go-spiffe marshals it, an
// X.509-SVID, and JWT-SVIDs for the audience, for another one, and one that has expired.
func mint() {
	td, err := spiffeid.TrustDomainFromString(*domain)
	must(err)
	root, rootKey := certificate(td.ID(), nil, nil)
	id, err := spiffeid.FromPath(td, "/ns/shop/sa/cart")
	must(err)
	leaf, leafKey := certificate(id, root, rootKey)
	jwtKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)

	bundle := spiffebundle.New(td)
	bundle.AddX509Authority(root)
	must(bundle.AddJWTAuthority("key-1", jwtKey.Public()))
	bundle.SetSequenceNumber(7)
	bundle.SetRefreshHint(10 * time.Minute)
	document, err := bundle.Marshal()
	must(err)
	write("bundle."+*domain+".json", document)

	svid := x509svid.SVID{ID: id, Certificates: []*x509.Certificate{leaf}, PrivateKey: leafKey}
	chain, key, err := svid.Marshal()
	must(err)
	write("svid.pem", chain)
	write("key.pem", key)

	write("good.jwt", token(jwtKey, id, *audience, time.Now().Add(time.Minute)))
	write("audience.jwt", token(jwtKey, id, "somebody-else", time.Now().Add(time.Minute)))
	write("expired.jwt", token(jwtKey, id, *audience, time.Now().Add(-time.Hour)))
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	write("forged.jwt", token(other, id, *audience, time.Now().Add(time.Minute)))
}

func token(key *ecdsa.PrivateKey, id spiffeid.ID, audience string, expires time.Time) []byte {
	signing := jose.SigningKey{
		Algorithm: jose.ES256,
		Key:       jose.JSONWebKey{Key: key, KeyID: "key-1"},
	}
	signer, err := jose.NewSigner(signing, (&jose.SignerOptions{}).WithType("JWT"))
	must(err)
	claims := jwt.Claims{
		Subject:  id.String(),
		Audience: jwt.Audience{audience},
		IssuedAt: jwt.NewNumericDate(time.Now().Add(-2 * time.Hour)),
		Expiry:   jwt.NewNumericDate(expires),
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	must(err)
	return []byte(strings.TrimSpace(token))
}

// certificate issues one for an ID; its own root where there is no issuer.
func certificate(
	id spiffeid.ID, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey,
) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	must(err)
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"go"}},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(time.Hour),
		URIs:                  []*url.URL{id.URL()},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if issuer == nil {
		template.IsCA = true
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		template.ExtKeyUsage = nil
		issuer, issuerKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), issuerKey)
	must(err)
	certificate, err := x509.ParseCertificate(der)
	must(err)
	return certificate, key
}

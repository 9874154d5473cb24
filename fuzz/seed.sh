#!/usr/bin/env bash
# Fills corpus/<target>/ from the conformance data, and with a few lines of our own where there is
# none. Seeds are named by their content, so that it can be run again.
set -euo pipefail
cd "$(dirname "$0")"
python3 - "${ZT_CONFORMANCE_DIR:-../../shared/conformance}" <<'PYTHON'
import base64, gzip, hashlib, json, pathlib, sys

data = pathlib.Path(sys.argv[1])
if not data.is_dir():
    sys.exit(f"there is no conformance data at {data}")

def seed(target, content):
    content = content.encode() if isinstance(content, str) else content
    folder = pathlib.Path("corpus", target)
    folder.mkdir(parents=True, exist_ok=True)
    if len(content) <= 16 * 1024:
        (folder / hashlib.sha256(content).hexdigest()[:20]).write_bytes(content)

def load(path):
    return json.loads((data / path).read_text())

def compact(value):
    return json.dumps(value, separators=(",", ":"))

# SPIFFE IDs, and what may stand in a path.
for case in load("spiffe/spiffe_id_cases.json")["cases"]:
    hexed = case.get("input_utf8_hex")
    seed("spiffe_id", bytes.fromhex(hexed) if hexed else case["input"].encode("utf-8", "replace"))
for path in [
    "/", "/orders/42", "/files/a%c3%a4", "/a/../b", "/a/%2e%2e/b", "//a", "/%61", "/a;v=1/b",
    "/a%2Fb", "/a\\b", "/a%00", "/%f0%9f%a6%80", "/a/;/b", "/%25%32%65", "/a/.", "/a/b/",
]:
    seed("normal_path", path)

# What Envoy says of its clients.
for text in [
    "By=spiffe://example.org/gateway;Hash=" + "ab" * 32 + ";URI=spiffe://example.org/cart",
    "Subject=\"CN=cart,O=a\\\"b\";URI=spiffe://example.org/cart;DNS=a;DNS=b",
    "URI=spiffe://example.org/a,URI=spiffe://example.org/b", "uri=\"spiffe://example.org/cart\"",
]:
    seed("forwarded_client_cert", text)

# What a browser brings: to return to, to end a login with; and what was stored of one.
for text in [
    "/orders/42?tab=items", "//evil.test", "/\\evil.test", "/\t/evil.test", "/.//evil.test",
    "code=c&state=kT7qJ&iss=http%3A%2F%2Flocalhost%3A1", "error=access_denied&state=kT7qJ",
    "state=a&state=b", "code=%ff&c%6fde=+", "&&=&code",
    compact({
        "issuer": "http://localhost:1", "client_id": "c", "state": "s", "nonce": "n",
        "verifier": "v", "until": 1, "return_to": "/a", "acr_values": ["mfa"], "max_age": 300,
        "subject": "alice",
    }),
]:
    seed("login", text)

# Where the Workload API is, and what it sends: bundles of a trust domain, and one SVID.
for case in load("spiffe/endpoint_addr_cases.json")["cases"]:
    seed("endpoint_address", case["input"])

def field(number, value):
    value = value.encode() if isinstance(value, str) else value
    length, rest = b"", len(value)
    while rest > 0x7F:
        length, rest = length + bytes([rest & 0x7F | 0x80]), rest >> 7
    return bytes([number << 3 | 2]) + length + bytes([rest]) + value

domain, jwks = "spiffe://example.org", '{"keys":[]}'
seed("workload_api", field(1, field(1, domain) + field(2, jwks)))
for der in list(data.glob("**/*.der"))[:40]:
    der = der.read_bytes()
    seed("workload_api", field(2, field(1, domain) + field(2, der)))
    svid = field(1, domain + "/a") + field(2, der) + field(3, der) + field(4, der) + field(5, "h")
    seed("workload_api", field(1, svid) + field(3, field(1, "spiffe://b.test") + field(2, der)))

# Where requests come from.
for header in [
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings",
    "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "00-00000000000000000000000000000000-00f067aa0ba902b7-00",
]:
    seed("traceparent", header)

# Certificates.
for der in data.glob("**/*.der"):
    seed("certificate", der.read_bytes())
    seed("der", der.read_bytes())
def certificates(pem):
    for part in pem.split("-----BEGIN CERTIFICATE-----")[1:]:
        yield base64.b64decode(part.split("-----END")[0])
for case in load("x509/limbo-relevant.json")["testcases"]:
    seed("bundle_pem", "".join(case["trusted_certs"]))
    for pem in [case["peer_certificate"], *case["trusted_certs"], *case["untrusted_intermediates"]]:
        try:
            for der in certificates(pem):
                seed("certificate", der)
        except ValueError:
            seed("bundle_pem", pem)
for pem in data.glob("**/*.pem"):
    seed("bundle_pem", pem.read_bytes())
    for der in certificates(pem.read_text(errors="replace")):
        seed("certificate", der)

for case in load("x509/limbo-relevant.json")["testcases"]:
    for pem in case.get("crls") or []:
        seed("revocation_list", pem)
        body = "".join(pem.split("-----")[2].split())
        seed("revocation_list", base64.b64decode(body))

# Tokens, their keys, their claims.
for token in data.glob("tokens/rfc/**/*.jwsc"):
    seed("access_token", token.read_text().strip())
for keys in [*data.glob("tokens/rfc/**/*.jwk*"), *data.glob("spiffe/bundles/*.json")]:
    seed("jwk_set", keys.read_bytes())
    seed("json", keys.read_bytes())
for name in ["json_web_signature_test", "json_web_key_test", "json_web_crypto_test"]:
    for group in load(f"tokens/wycheproof/{name}.json")["testGroups"]:
        for key in [group.get("public"), group.get("private")]:
            if isinstance(key, dict):
                seed("jwk_set", compact(key if "keys" in key else {"keys": [key]}))
        for case in group["tests"]:
            seed("access_token", case["jws"] if isinstance(case.get("jws"), str) else compact(case))
claims = {
    "iss": "https://login.example.com", "aud": "orders", "sub": "alice", "client_id": "shop",
    "iat": 1799999700, "nbf": 1799999700, "exp": 1800000300.5, "jti": "1", "scope": "read write",
    "roles": ["clerk"], "groups": ["eu"], "acr": "silver", "amr": ["pwd", "otp"],
    "auth_time": 1799999000, "email": "alice@example.com", "email_verified": True,
    "cnf": {"x5t#S256": "A" * 43},
}
for without in [None, *claims]:
    seed("access_token_claims", compact({k: v for k, v in claims.items() if k != without}))
    seed("json", compact({k: v for k, v in claims.items() if k != without}))

# Tokens and bundles of workloads.
def base64url(text):
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
for case in load("spiffe/jwt_svid_cases.json")["cases"]:
    header = case.get("header_json") or compact(case.get("header"))
    payload = case.get("claims_json") or compact(case.get("claims"))
    seed("jwt_svid", case.get("token") or f"{base64url(header)}.{base64url(payload)}.AA")
for document in data.glob("spiffe/bundles/*.json"):
    seed("jwt_bundle", document.read_bytes())
    seed("spiffe_bundle", document.read_bytes())
for document in data.glob("spiffe/bundles/map-*.json"):
    seed("bundle_map", document.read_bytes())
for document in data.glob("spiffe/bundles/go-spiffebundle_*.json"):
    seed("bundle_map", '{"trust_domains":{"example.org":%s}}' % document.read_text())
key = {"kty": "EC", "crv": "P-256", "alg": "ES256",
       "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
       "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
claims = {"sub": "spiffe://example.org/cart", "exp": 1_800_000_060, "nbf": 1_800_000_000,
          "iat": 1_800_000_000, "jti": "1", "cnf": {"jwk": key}}
for without in [None, *claims]:
    seed("wit_svid", compact({k: v for k, v in claims.items() if k != without}))
for without in key:
    own = {k: v for k, v in key.items() if k != without}
    seed("wit_svid", compact(claims | {"cnf": {"jwk": own}}))
extra = "authentication.kubernetes.io/"
user = {"username": "system:serviceaccount:shop:cart", "uid": "1", "groups": ["g"], "extra": {
    f"{extra}pod-name": ["p"], f"{extra}pod-uid": ["2"],
    f"{extra}node-name": ["n"], f"{extra}node-uid": ["3"]}}
status = {"authenticated": True, "audiences": ["orders"], "user": user, "error": ""}
for without in [None, *status]:
    status_of = {k: v for k, v in status.items() if k != without}
    seed("token_review", compact({"apiVersion": "authentication.k8s.io/v1",
                                  "kind": "TokenReview", "status": status_of}))
claims = load("spiffe/k8s_token_cases.json")["doc_example"]
for without in [None, *claims]:
    seed("service_account", compact({k: v for k, v in claims.items() if k != without}))

# ID tokens, logout tokens, security event tokens.
common = {"iss": "https://i.test", "aud": "c", "sub": "s", "iat": 1_800_000_000, "exp": 1_800_000_060}
logout = {"http://schemas.openid.net/event/backchannel-logout": {}}
for own in [{"nonce": "n", "azp": "c"}, {"jti": "1", "sid": "2", "events": logout}, {"events": {}}]:
    seed("oidc_tokens", compact(common | own))

# Issuers: what they publish, what is configured for them, what their tokens say.
for uri in ["https://keys.example.com/jwks", "http://keys.example.com", "https://u@keys.example.com"]:
    seed("discovery", compact({
        "issuer": "https://login.example.com", "jwks_uri": uri, "scopes_supported": ["openid"],
        "authorization_endpoint": "https://login.example.com/authorize",
    }))
configuration = """apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://a.test
    discoveryURL: https://d.test/.well-known/openid-configuration
    audiences: [orders, "orders-admin"]
    audienceMatchPolicy: MatchAny
    signingAlgorithms: [ES256]
    tokenTypes: [at+jwt, JWT]
    leewaySeconds: 5
    maxLifetimeSeconds: 600
  claimValidationRules:
  - {claim: hd, requiredValue: example.com}
  claimMappings:
    username: {claim: email, prefix: "a:"}
    groups: {claim: [realm, groups], prefix: "a:"}
    roles: {claim: roles, prefix: "a:"}
    scopes: {claim: scp}
    uid: {claim: sub}
    extra:
    - {key: tenant, claim: tid}
  userValidationRules:
  - {field: groups, forbiddenPrefix: "a:system"}
"""
lines = configuration.splitlines(keepends=True)
seed("issuer_configuration", configuration)
for number in range(len(lines)):
    seed("issuer_configuration", "".join(lines[:number] + lines[number + 1:]))
for issuer in ["https://a.test", "https://b.test", "https://c.test"]:
    claims = {
        "iss": issuer, "aud": "orders", "sub": "alice", "exp": 1800000300, "hd": "example.com",
        "email": "alice@example.com", "email_verified": True, "realm": {"groups": ["g"]},
        "roles": ["r"], "scp": ["read"], "tid": "acme",
    }
    for without in [None, *claims]:
        seed("several_issuers", compact({k: v for k, v in claims.items() if k != without}))

# What is said about tokens, and what tokens are given out.
said = {"active": True, "token_type": "Bearer", "iss": "https://i.test", "aud": "c", "sub": "s",
        "client_id": "a", "scope": "read", "iat": 1_800_000_000, "exp": 1_800_000_060,
        "cnf": {"jkt": "A" * 43}, "jti": "1"}
given = {"access_token": "t", "token_type": "Bearer", "expires_in": 60, "scope": "read",
         "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
for target, answer in [("introspection", said), ("token_endpoint", given)]:
    for without in [None, *answer]:
        seed(target, compact({k: v for k, v in answer.items() if k != without}))
    for kind in ["DPoP", "bearer", "N_A"]:
        seed(target, compact(answer | {"token_type": kind}))

# Proofs, URLs, events.
proof = {"jti": "1", "htm": "GET", "htu": "https://a.test/", "iat": 0, "nonce": "n",
         "ath": "4-PCuH12i3pTCtl0h6riWdBq9q-xUFNDmyl9l-ee5oU"}
for without in [None, *proof]:
    seed("dpop_proof", compact({k: v for k, v in proof.items() if k != without}))
seed("dpop_proof", ".".join([base64url('{"typ":"dpop+jwt","alg":"ES256","jwk":{}}'), "e30", "AA"]))
for url in ["/", "?q#f", "/%61/../b%2f", ":443/a", "/./", "//"]:
    seed("target_url", "https://a.test/b" + url)
    seed("target_url", "HTTPS://A.test:443/b" + url)
for url in [
    "https://a.test", "https://a.test:8443/b?c=d@e", "https://127.0.0.1:1/%2e", "https://[::1]:443/",
    "/path", "//b.test/", "http://a.test/", "https://u:p@a.test/", "https://a.test/#f",
    "https://127.1/", "https://0x7f.1/", "https://a.test./", "https://xn--fiqs8s.test/",
]:
    seed("endpoint_url", url)
caep = "https://schemas.openid.net/secevent/caep/event-type/"
user = {"format": "iss_sub", "iss": "https://i.test", "sub": "s"}
for subject in [user, {"format": "complex", "user": user, "session": {"format": "opaque", "id": "x"}}]:
    for event in ["session-revoked", "credential-change", "device-compliance-change"]:
        told = {caep + event: {"current_status": "not-compliant"}}
        seed("event_requests", compact(common | {"jti": "1", "sub_id": subject, "events": told}))
seed("event_requests", "logout_token=a.b.c&x=%41+")

# Cedar.
def corpus():
    with open(data / "policy/cedar/handwritten.jsonl") as lines:
        yield from map(json.loads, lines)
    with gzip.open(data / "policy/cedar/full.jsonl.gz", "rt") as lines:
        for number, line in enumerate(lines):
            if number % 20 == 0:
                yield json.loads(line)
for case in corpus():
    seed("cedar_text", case["policies_cedar"])
    seed("cedar_json", compact(case["policies_est"]))
    seed("cedar_entities", compact(case["entities"]))
    for request in case["requests"]:
        seed("cedar_entities", compact(request["context"]))
PYTHON

"""A client of the Workload API that this project did not write: PyPI spiffe.

    workload_api.py ADDRESS     fetches everything, verifies it, and says in JSON what it is; then
                                says the path of each identity that comes, until its input ends
"""

import json
import sys

from cryptography.hazmat.primitives.asymmetric import ec
from spiffe import JwtSvid, TrustDomain, WorkloadApiClient

PATIENCE = 30


def verified(client):
    context = client.fetch_x509_context(timeout=PATIENCE)
    svid = context.default_svid
    domain = svid.spiffe_id.trust_domain
    roots = context.x509_bundle_set.get_bundle_for_trust_domain(domain).x509_authorities
    [root] = roots
    svid.leaf.verify_directly_issued_by(root)
    message = b"a handshake"
    signature = svid.private_key.sign(message, ec.ECDSA(svid.leaf.signature_hash_algorithm))
    public_key = svid.leaf.public_key()
    public_key.verify(signature, message, ec.ECDSA(svid.leaf.signature_hash_algorithm))

    bundles = client.fetch_jwt_bundles(timeout=PATIENCE)
    fetched = client.fetch_jwt_svid({"orders", "stock"}, timeout=PATIENCE)
    ours = bundles.get_bundle_for_trust_domain(domain)
    offline = JwtSvid.parse_and_validate(fetched.token, ours, {"orders"})
    online = client.validate_jwt_svid(fetched.token, "stock", timeout=PATIENCE)
    assert offline.spiffe_id == online.spiffe_id == fetched.spiffe_id
    try:
        client.validate_jwt_svid(fetched.token, "somebody else", timeout=PATIENCE)
        refused = False
    except Exception:
        refused = True

    x509_bundles = client.fetch_x509_bundles(timeout=PATIENCE)
    partner = TrustDomain("partner.test")
    return {
        "x509": str(svid.spiffe_id),
        "all": [str(each.spiffe_id) for each in context.x509_svids],
        "jwt": str(offline.spiffe_id),
        "audience": sorted(fetched.audience),
        "refused": refused,
        "x509_bundles": sorted(str(each.trust_domain) for each in x509_bundles.bundles),
        "jwt_bundles": sorted(str(each.trust_domain) for each in bundles.bundles),
        "partner": len(context.x509_bundle_set.get_bundle_for_trust_domain(partner).x509_authorities),
    }


def say(text):
    print(text, flush=True)


client = WorkloadApiClient(sys.argv[1])
say(json.dumps(verified(client)))
client.stream_x509_contexts(
    lambda context: say(context.default_svid.spiffe_id.path),
    lambda error: say(f"error: {error}"),
)
sys.stdin.read()

"""An issuer of access tokens that this project did not write: PyPI joserfc.

    issuer.py keys DIR          makes a key per algorithm: DIR/<alg>.pem and DIR/jwks.json
    issuer.py mint DIR ALG      claims on standard input, a token on standard output
"""

import json
import pathlib
import sys

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

MAKE = {
    "ES256": lambda about: ECKey.generate_key("P-256", about),
    "RS256": lambda about: RSAKey.generate_key(2048, about),
    "EdDSA": lambda about: OKPKey.generate_key("Ed25519", about),
}
LOAD = {"ES256": ECKey, "RS256": RSAKey, "EdDSA": OKPKey}


def keys(folder):
    public = []
    for alg, make in MAKE.items():
        key = make({"kid": alg.lower(), "use": "sig", "alg": alg})
        (folder / f"{alg}.pem").write_bytes(key.as_pem(private=True))
        public.append(key.as_dict(private=False))
    (folder / "jwks.json").write_text(json.dumps({"keys": public}))


def mint(folder, alg):
    key = LOAD[alg].import_key((folder / f"{alg}.pem").read_bytes())
    header = {"typ": "at+jwt", "alg": alg, "kid": alg.lower()}
    print(jwt.encode(header, json.load(sys.stdin), key, algorithms=[alg]), end="")


command, folder, *rest = sys.argv[1:]
{"keys": keys, "mint": mint}[command](pathlib.Path(folder), *rest)

//! Signed tokens, keys and raw signatures against `conformance/tokens`.

use serde_json::Value;
use zt_identity::algorithm::{Algorithm, PublicKey};
use zt_identity::jwk::{Jwk, JwkError, JwkSet};
use zt_identity::jws::{Jws, Profile};
use zt_tests::conformance::{Tally, json, path};

/// Whatever the type: what a profile expects is not what these cases are about.
const ANY: Profile<'_> = Profile::new(Algorithm::ALL, &["JWT", "JOSE"]).or_untyped();

/// Whether there is ES512 in this build.
const ES512: bool = cfg!(feature = "aws-lc-rs");

/// The key, without what makes it private; a secret stays one.
fn public_half(mut jwk: Value) -> Value {
    if jwk["kty"] != "oct" {
        for member in ["d", "p", "q", "dp", "dq", "qi"] {
            jwk.as_object_mut().expect("a key").remove(member);
        }
    }
    jwk
}

fn verify(token: &str, key: &Value) -> Result<Vec<u8>, String> {
    let key = Jwk::parse(key.to_string().as_bytes()).map_err(|error| error.to_string())?;
    let jws = Jws::parse(token, &ANY).map_err(|error| error.to_string())?;
    jws.verify(&key).map_err(|error| error.to_string())
}

fn verify_with_set(token: &str, keys: &Value) -> Result<Vec<u8>, String> {
    let set = JwkSet::parse(keys.to_string().as_bytes()).map_err(|error| error.to_string())?;
    let jws = Jws::parse(token, &ANY).map_err(|error| error.to_string())?;
    let key = jws.kid().and_then(|kid| set.key(kid)).ok_or("no such key")?;
    jws.verify(key).map_err(|error| error.to_string())
}

fn compare<T, E: std::fmt::Debug>(expected: bool, ours: Result<T, E>) -> Result<(), String> {
    match ours {
        Ok(_) if !expected => Err("accepted, expected a refusal".into()),
        Err(error) if expected => Err(format!("refused: {error:?}")),
        _ => Ok(()),
    }
}

/// Runs the groups of a Wycheproof file of JWS. A shared secret verifies nothing here and nothing
/// is decrypted, so all cases of those have to be refused, the valid ones too.
fn wycheproof(
    set: &'static str,
    file: &str,
    deviations: &'static [(&'static str, &'static str)],
    verify: impl Fn(&str, &Value) -> Result<Vec<u8>, String>,
) {
    let Some(data) = json(file) else { return };
    let mut tally = Tally::new(set, deviations);
    let mut refused = Tally::new("tokens/wycheproof, shared secrets and encryption", &[]);
    for group in data["testGroups"].as_array().expect("groups") {
        let keys = group.get("public").unwrap_or(&group["private"]).clone();
        let all = keys["keys"].as_array().cloned().unwrap_or_else(|| vec![keys.clone()]);
        let asymmetric = all.iter().any(|key| key["kty"] != "oct");
        let encryption = group["comment"].as_str().is_some_and(|name| name.starts_with("jwe"));
        let keys = match keys.get("keys") {
            None => public_half(keys),
            Some(_) => {
                serde_json::json!({"keys": all.into_iter().map(public_half).collect::<Vec<_>>()})
            }
        };
        for case in group["tests"].as_array().expect("tests") {
            // Some are in the JSON form, and stay that when they are written down.
            let token = case.get("jws").unwrap_or(&case["jwe"]);
            let token = token.as_str().map_or_else(|| token.to_string(), str::to_owned);
            let name = case["tcId"].to_string();
            let ours = verify(&token, &keys);
            if asymmetric && !encryption {
                tally.case(name, compare(case["result"] == "valid", ours));
            } else {
                refused.case(name, compare(false, ours));
            }
        }
    }
    tally.finish();
    refused.finish();
}

#[test]
fn wycheproof_signatures() {
    wycheproof(
        "tokens/wycheproof-jws",
        "tokens/wycheproof/json_web_signature_test.json",
        &[
            ("346", "signed PS384 under a key whose alg is PS256"),
            ("350", "signed PS384 under a key whose alg is PS256"),
            ("347", "P-521, under a key whose alg is ES521, which is no algorithm"),
            ("351", "P-521, under a key whose alg is ES521, which is no algorithm"),
        ],
        verify,
    );
}

#[test]
fn wycheproof_keys() {
    wycheproof(
        "tokens/wycheproof-jwk",
        "tokens/wycheproof/json_web_key_test.json",
        &[],
        verify_with_set,
    );
}

#[test]
fn wycheproof_mixed() {
    wycheproof("tokens/wycheproof-crypto", "tokens/wycheproof/json_web_crypto_test.json", &[], {
        |token, keys| match keys.get("keys") {
            None => verify(token, keys),
            Some(_) => verify_with_set(token, keys),
        }
    });
}

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("hex");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn raw(
    set: &'static str,
    file: &str,
    algorithm: Algorithm,
    key: impl Fn(&Value) -> Result<PublicKey, String>,
) {
    let Some(data) = json(file) else { return };
    let mut tally = Tally::new(set, &[]);
    for group in data["testGroups"].as_array().expect("groups") {
        let key = key(&group["publicKey"]);
        for case in group["tests"].as_array().expect("tests") {
            let ours = key.clone().and_then(|key| {
                key.verify(algorithm, &hex(&case["msg"]), &hex(&case["sig"]))
                    .map_err(|error| error.to_string())
            });
            tally.case(case["tcId"].to_string(), compare(case["result"] == "valid", ours));
        }
    }
    tally.finish();
}

#[test]
fn wycheproof_p256() {
    raw(
        "tokens/wycheproof-p256",
        "tokens/wycheproof/ecdsa_secp256r1_sha256_p1363_test.json",
        Algorithm::Es256,
        |key| {
            let point = hex(&key["uncompressed"]);
            PublicKey::p256(&point[1..33], &point[33..]).map_err(|error| error.to_string())
        },
    );
}

#[test]
fn wycheproof_p384() {
    raw(
        "tokens/wycheproof-p384",
        "tokens/wycheproof/ecdsa_secp384r1_sha384_p1363_test.json",
        Algorithm::Es384,
        |key| {
            let point = hex(&key["uncompressed"]);
            PublicKey::p384(&point[1..49], &point[49..]).map_err(|error| error.to_string())
        },
    );
}

#[test]
fn wycheproof_ed25519() {
    raw(
        "tokens/wycheproof-ed25519",
        "tokens/wycheproof/ed25519_test.json",
        Algorithm::EdDsa,
        |key| PublicKey::ed25519(&hex(&key["pk"])).map_err(|error| error.to_string()),
    );
}

fn read(file: &str) -> Option<String> {
    Some(std::fs::read_to_string(path(&format!("tokens/rfc/{file}"))?).expect("readable"))
}

/// RFC 7515, appendix A: what of it verifies.
#[test]
fn rfc_7515_examples() {
    if path("tokens/rfc").is_none() {
        return;
    }
    let mut tally = Tally::new("tokens/rfc7515", &[]);
    for (name, accepted) in
        [("A.1", false), ("A.2", true), ("A.3", true), ("A.4", ES512), ("A.5", false)]
    {
        let token = read(&format!("rfc7515_{name}.jwsc")).unwrap();
        // The example without a signature has no key either.
        let key = if name == "A.5" { "A.3" } else { name };
        let key = public_half(
            serde_json::from_str(&read(&format!("rfc7515_{key}.jwk")).unwrap()).unwrap(),
        );
        tally.case(name, compare(accepted, verify(token.trim(), &key)));
    }
    for serialized in ["A.6.jwsg", "A.7.jwsf"] {
        let token = read(&format!("rfc7515_{serialized}")).unwrap();
        tally.case(serialized, compare(false, Jws::parse(&token, &ANY)));
    }
    for (file, expected) in [("A.6.1.jwk", true), ("A.6.2.jwk", true)] {
        let key =
            public_half(serde_json::from_str(&read(&format!("rfc7515_{file}")).unwrap()).unwrap());
        tally.case(file, compare(expected, Jwk::parse(key.to_string().as_bytes())));
    }
    tally.finish();
}

/// RFC 7517, appendix A: public keys, private keys, secrets.
#[test]
fn rfc_7517_examples() {
    let Some(public) = read("rfc7517_A.1.jwkset") else { return };
    let set = |text: &str| JwkSet::parse(text.as_bytes()).expect("a key set");
    let public = set(&public);
    assert_eq!(public.key("2011-04-29").unwrap().algorithm(), Some(Algorithm::Rs256));
    assert!(matches!(&public.skipped()[0].reason, JwkError::Use { found } if found == "enc"));
    for file in ["rfc7517_A.2.jwkset", "rfc7517_A.3.jwkset"] {
        let secret = set(&read(file).unwrap());
        assert!(secret.is_empty());
        assert_eq!(secret.skipped().len(), 2);
    }
}

/// RFC 7520, RFC 7797 and RFC 8037: what of them verifies.
#[test]
fn rfc_7520_examples() {
    let Some(folder) = path("tokens/rfc/rfc7520") else { return };
    let mut accepted = vec![
        "curve25519_jws.json",
        "jws_4_1.rsa_v15_signature.json",
        "jws_4_2.rsa-pss_signature.json",
    ];
    let mut usable = vec!["jwk_3_3.rsa_public_key.json"];
    if ES512 {
        accepted.push("jws_4_3.ecdsa_signature.json");
        usable.push("jwk_3_1.ec_public_key.json");
    }
    let mut tally = Tally::new("tokens/rfc7520", &[]);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let data: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        if name.starts_with("jwk_") {
            let ours = Jwk::parse(data.to_string().as_bytes());
            tally.case(&*name, compare(usable.contains(&&*name), ours));
            continue;
        }
        let key = data["input"]["key"]
            .as_object()
            .map_or(Value::Null, |key| public_half(key.clone().into()));
        if let Some(compact) = data["output"]["compact"].as_str() {
            let ours = verify(compact, &key);
            tally.case(&*name, compare(accepted.contains(&&*name), ours));
        }
        for form in ["json", "json_flat"] {
            if let Some(serialized) = data["output"].get(form) {
                let ours = Jws::parse(&serialized.to_string(), &ANY).map(|_| ());
                tally.case(format!("{name} as {form}"), compare(false, ours));
            }
        }
    }
    tally.finish();
}

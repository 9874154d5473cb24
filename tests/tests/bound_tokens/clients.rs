//! Clients that nobody here wrote, and what each of their requests comes to.

use std::collections::BTreeSet;

use serde_json::json;

use crate::service::{World, is_present};

/// What is expected of a request: the status, what follows the realm in the challenge, and the
/// reason that is recorded.
struct Expected {
    status: u64,
    challenge: Option<String>,
    reason: Option<&'static str>,
}

const PROOFS: &str = "DPoP realm=\"zero-trust\", algs=\"ES256 EdDSA Ed25519\"";
const BEARERS: &str = "Bearer realm=\"zero-trust\"";

fn good() -> Expected {
    Expected { status: 200, challenge: None, reason: None }
}

fn refused(status: u64, scheme: &str, error: &str, reason: &'static str) -> Expected {
    let error = if error.is_empty() { String::new() } else { format!(", error=\"{error}\"") };
    Expected { status, challenge: Some(format!("{scheme}{error}")), reason: Some(reason) }
}

fn invalid_proof(reason: &'static str) -> Expected {
    refused(401, PROOFS, "invalid_dpop_proof", reason)
}

/// Of a token that is bound to a key.
fn expected_of_proofs(what: &str) -> Expected {
    match what {
        "with the nonce"
        | "once more"
        | "with POST"
        | "over another connection"
        | "to be replayed"
        | "after all that" => good(),
        "before there is a nonce" | "without a nonce" => {
            refused(401, PROOFS, "use_dpop_nonce", "proof_without_nonce")
        }
        "with a nonce of nobody" => refused(401, PROOFS, "use_dpop_nonce", "proof_nonce_stale"),
        "replayed" => invalid_proof("proof_replayed"),
        "for another path" | "for another host" | "for another scheme" => {
            invalid_proof("proof_of_another_url")
        }
        "for another method" | "sent with another method" => {
            invalid_proof("proof_of_another_method")
        }
        "too old" => invalid_proof("proof_too_old"),
        "from the future" => invalid_proof("proof_not_yet_valid"),
        "without ath" | "without jti" => invalid_proof("proof_claims"),
        "with the ath of another token" => invalid_proof("proof_of_another_token"),
        "without a proof" => invalid_proof("proof_missing"),
        "with the proof twice" | "with a second proof" => invalid_proof("two_proofs"),
        "with two proofs in one header" => invalid_proof("proof_malformed"),
        "with the token twice" | "with a second authorization" => {
            refused(400, PROOFS, "invalid_request", "two_credentials")
        }
        "as bearer" => refused(401, PROOFS, "", "unsupported_scheme"),
        "without a token" => refused(401, PROOFS, "", "no_credential"),
        "by another key" => refused(401, PROOFS, "invalid_token", "proof_of_another_key"),
        "by another key that claims to be this one" => invalid_proof("proof_bad_signature"),
        "with its private key" | "without its key" => invalid_proof("proof_key"),
        "as a token of another kind" => invalid_proof("proof_of_another_kind"),
        "with a secret" => invalid_proof("proof_algorithm"),
        "where a certificate is wanted" | "where bearers are believed" => {
            refused(401, BEARERS, "", "unsupported_scheme")
        }
        "as bearer where bearers are believed" => {
            refused(401, BEARERS, "invalid_token", "token_bound")
        }
        other => panic!("what is expected {other}?"),
    }
}

/// Of a token that is bound to a certificate, to a key, or to nothing.
fn expected_of_certificates(what: &str) -> Expected {
    let invalid = |scheme, reason| refused(401, scheme, "invalid_token", reason);
    match what {
        "of cart over its connection"
        | "of batch over its connection"
        | "of nobody where bearers are believed" => good(),
        "of cart over another connection" | "of batch over another connection" => {
            invalid(BEARERS, "token_of_another_connection")
        }
        "of cart with a proof" => refused(401, BEARERS, "", "unsupported_scheme"),
        "of cart where bearers are believed" => invalid(BEARERS, "token_bound"),
        "of a key where a certificate is wanted" => invalid(BEARERS, "token_key_not_proven"),
        "of nobody where a certificate is wanted" => invalid(BEARERS, "token_unbound"),
        "of cart where proofs are wanted" | "of nobody where proofs are wanted" => {
            invalid(PROOFS, "token_unbound")
        }
        other => panic!("what is expected {other}?"),
    }
}

#[test]
fn bound_tokens_of_a_provider_belong_to_their_clients_and_to_nobody_else() {
    if !is_present() {
        return;
    }
    let world = World::start();
    let requests = world.requests();

    // The connection that proves nobody ends before there is a request.
    let (answered, broken): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request["status"] != 0);
    let broken: Vec<_> = broken.iter().map(|request| request["what"].as_str().unwrap()).collect();
    assert_eq!(broken, ["of cart over no proven connection"; 2]);

    let reasons = world.reasons();
    assert_eq!(reasons.len(), answered.len());
    let mut good = Vec::new();
    for (request, reason) in answered.iter().zip(&reasons) {
        let (client, what) =
            (request["client"].as_str().unwrap(), request["what"].as_str().unwrap());
        let expected = if client.starts_with("certificates") {
            expected_of_certificates(what)
        } else {
            expected_of_proofs(what)
        };
        let what = format!("{client}: {what}");
        assert_eq!(request["status"], expected.status, "{what}: {request} {reason:?}");
        assert_eq!(request["challenge"], json!(expected.challenge), "{what}");
        assert_eq!(reason.as_deref(), expected.reason, "{what}");
        // Whoever is told what is wrong with a proof is handed the nonce for the next.
        let demands_proofs = expected.challenge.is_some_and(|it| it.starts_with("DPoP"));
        assert_eq!(request["nonce"], demands_proofs, "{what}");
        if request["status"] == 200 {
            good.push(request["what"].as_str().unwrap().to_owned());
        }
    }

    // The handler was reached by those that got through, and by nothing else.
    let served = world.served.lock().unwrap();
    let cases: Vec<_> = served
        .iter()
        .map(|(case, ..)| case.trim_start_matches("case=").replace("%20", " "))
        .collect();
    assert_eq!(cases, good);
    let by_what: BTreeSet<_> = served
        .iter()
        .map(|(_, user, by)| (user.as_str(), by.rsplit('/').next().unwrap()))
        .collect();
    let expected = [("batch", "batch"), ("cart", "cart"), ("web", "batch"), ("web", "cart")];
    // The provider names no subject of a token that it does not sign for a client itself.
    let asked = expected.map(|(user, by)| (format!("client:{user}"), by));
    let asked = asked.iter().map(|(user, by)| (user.as_str(), *by));
    assert_eq!(by_what, expected.into_iter().chain(asked).collect());
    assert_eq!((answered.len(), good.len()), (182, 32));
}

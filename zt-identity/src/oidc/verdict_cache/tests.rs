//! Each rule of remembered verdicts, and all of them against models that are plainer.

use std::collections::HashMap;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::jwk::JwkSet;
use crate::jws::MAX_LEN;
use crate::minted;
use crate::oidc::keys::{IssuerKeys, KeysUnavailable};
use crate::verdicts::{DEFAULT_MAX_AGE, Moment, Verdict, VerdictCache, WAYS};

const START: i64 = 1_800_000_000;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(START.saturating_add(secs))
}

fn key_set(kid: &str) -> JwkSet {
    let jwks = format!(r#"{{"keys":[{}]}}"#, minted::Issuer::new().jwk(kid));
    JwkSet::parse(jwks.as_bytes()).unwrap()
}

/// A verifier whose keys are usable for ever, until they are replaced.
fn verifier() -> AccessTokenVerifier {
    AccessTokenVerifier::builder("https://issuer.example")
        .unwrap()
        .audience("orders")
        .keys(IssuerKeys::fixed(key_set("k1")))
        .build()
        .unwrap()
}

/// A token of this number that counts from 10 s before the start until so many seconds after it.
fn token(number: usize, expires: i64) -> String {
    let (begins, expires) = (START - 10, START.saturating_add(expires));
    let claims = format!(
        r#"{{"iss":"https://issuer.example","aud":"orders","sub":"user-{number}",
            "nbf":{begins},"exp":{expires}}}"#
    );
    minted::Issuer::new().sign(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}"#, claims)
}

fn keys_of(cached: &CachedAccessTokenVerifier) -> &IssuerKeys {
    cached.issuers().iter().next().unwrap().keys()
}

fn is_known(cached: &CachedAccessTokenVerifier, token: &str, now: Timestamp) -> bool {
    cached.remembered(token, now).is_some()
}

#[test]
fn a_good_token_is_remembered_and_nothing_of_it_is_shown() {
    let cached = verifier().cached(16).unwrap();
    let token = token(1, 600);
    assert!(!is_known(&cached, &token, at(0)));
    let first = cached.verify(&token, at(0)).unwrap();
    assert!(is_known(&cached, &token, at(0)));
    assert_eq!(cached.verify(&token, at(0)).unwrap(), first);
    assert!(format!("{:?}", cached.verdicts).len() < 128);
}

#[test]
fn a_verdict_ends_with_the_token_without_its_leeway() {
    let cached = verifier().cached(16).unwrap();
    let token = token(1, 100);
    assert!(cached.verify(&token, at(0)).is_ok());
    assert!(is_known(&cached, &token, at(99)));
    assert!(!is_known(&cached, &token, at(100)));
    assert!(cached.verify(&token, at(159)).is_ok()); // within the leeway, and verified again
    assert_eq!(cached.verify(&token, at(160)).unwrap_err().reason(), "token_expired");
}

#[test]
fn a_verdict_ends_at_its_maximum_age() {
    let cached = verifier().cached(16).unwrap().with_max_age(Duration::from_secs(30));
    let token = token(1, 600);
    assert!(cached.verify(&token, at(0)).is_ok());
    assert!(is_known(&cached, &token, at(29)));
    assert!(!is_known(&cached, &token, at(30)));
    assert!(is_known(&cached.clone().with_max_age(DEFAULT_MAX_AGE), &token, at(30)));
    assert!(!is_known(&cached.with_max_age(Duration::from_secs(9)), &token, at(9)));
}

#[test]
fn a_verdict_says_nothing_about_the_time_before_it() {
    let cached = verifier().cached(16).unwrap();
    let token = token(1, 600);
    assert!(cached.verify(&token, at(0)).is_ok());
    assert!(!is_known(&cached, &token, at(-1)));
    assert!(cached.verify(&token, at(-71)).is_err());
}

#[test]
fn a_refusal_is_not_remembered() {
    let cached = verifier().cached(4).unwrap();
    keys_of(&cached).replace(key_set("k2"), Timestamp::MAX);
    let token = token(1, 600);
    assert_eq!(cached.verify(&token, at(0)).unwrap_err().reason(), "token_key_unknown");
    assert_eq!(cached.verdicts.cache().len(), 0);
    keys_of(&cached).replace(key_set("k1"), Timestamp::MAX);
    assert!(cached.verify(&token, at(0)).is_ok());
}

#[test]
fn a_change_of_keys_ends_every_verdict() {
    let cached = verifier().cached(16).unwrap();
    let token = token(1, 600);
    assert!(cached.verify(&token, at(0)).is_ok());
    keys_of(&cached).replace(key_set("k2"), Timestamp::MAX);
    assert_eq!(cached.verify(&token, at(0)).unwrap_err().reason(), "token_key_unknown");
}

#[test]
fn keys_that_are_too_old_vouch_for_no_verdict() {
    let cached = verifier().cached(16).unwrap();
    keys_of(&cached).replace(key_set("k1"), at(50));
    let token = token(1, 600);
    assert!(cached.verify(&token, at(50)).is_ok());
    let refused = cached.verify(&token, at(51)).unwrap_err();
    let stale = KeysUnavailable::Stale { now: at(51), usable_until: at(50) };
    assert_eq!(refused, stale.into());
}

#[test]
fn a_verdict_of_another_verifier_is_never_found() {
    let (one, other) = (verifier().cached(4).unwrap(), verifier().cached(4).unwrap());
    let token = token(1, 600);
    assert!(one.verify(&token, at(0)).is_ok());
    let names = [&one, &other].map(|cached| cached.verdicts.cache().name(token.as_bytes()));
    assert_ne!(names[0], names[1]);
    assert!(!is_known(&other, &token, at(0)));
    assert!(is_known(&one.clone(), &token, at(0)));
}

#[test]
fn a_verdict_is_on_all_bytes_of_its_token_and_on_no_other() {
    let cached = verifier().cached(4).unwrap();
    let [good, other] = [1, 2].map(|number| token(number, 600));
    assert!(cached.verify(&good, at(0)).is_ok());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (of_other, signature_of_other) = other.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    for forged in [
        format!("{of_other}.{signature}"),
        format!("{signed}.{signature_of_other}"),
        format!("{header}.{claims}x.{signature}"),
        format!("{header}.{claims}.{signature}="),
        format!("{header}.{claims}..{signature}"),
        format!(".{signed}.{signature}"),
        format!("{signed}.{signature}."),
        format!(".{signature}"),
        signature.to_owned(),
        signed.to_owned(),
        format!("{signed}."),
        good.replacen('.', "", 1),
        String::new(),
        ".".to_owned(),
    ] {
        assert!(!is_known(&cached, &forged, at(0)), "{forged}");
        assert!(cached.verify(&forged, at(0)).is_err(), "{forged}");
    }
    for at_byte in 0..good.len() {
        let mut forged = good.clone().into_bytes();
        forged[at_byte] ^= 1;
        assert!(cached.remembered(forged, at(0)).is_none(), "byte {at_byte}");
    }
    assert!(is_known(&cached, &good, at(0)));
}

#[test]
fn a_token_that_is_too_long_is_refused_before_it_is_read() {
    let cached = verifier().cached(4).unwrap();
    let refused = cached.verify(&"a".repeat(MAX_LEN + 1), at(0)).unwrap_err();
    assert_eq!(refused.reason(), "token_malformed");
}

#[test]
fn there_is_room_for_what_was_asked_for_and_for_no_more() {
    for (capacity, room) in [(0, 4), (1, 4), (4, 4), (5, 8), (1000, 1000), (usize::MAX, 1 << 20)] {
        assert_eq!(VerdictCache::<()>::new(capacity).unwrap().capacity(), room, "{capacity}");
    }
}

#[test]
fn the_token_that_expires_first_makes_room() {
    let cached = verifier().cached(WAYS).unwrap();
    let tokens = [300, 100, 200, 250, 150].map(|expires| token(0, expires));
    for token in &tokens {
        assert!(cached.verify(token, at(0)).is_ok());
    }
    let known = tokens.map(|token| is_known(&cached, &token, at(0)));
    assert_eq!(known, [true, false, true, true, true]);
}

#[test]
fn threads_that_read_and_write_at_once_see_whole_verdicts_of_their_own_token() {
    let cached = verifier().cached(8).unwrap();
    let tokens: Vec<_> = (0..16).map(|number| token(number, 600)).collect();
    thread::scope(|scope| {
        for begin in 0..4 {
            let (cached, tokens) = (&cached, &tokens);
            scope.spawn(move || {
                for round in 0..200 {
                    let number = (begin * 5 + round * 3) % tokens.len();
                    let token = cached.verify(&tokens[number], at(0)).unwrap();
                    assert_eq!(token.subject(), format!("user-{number}"));
                }
            });
        }
    });
}

/// What may happen between two requests.
#[derive(Clone, Debug)]
enum Step {
    Verify(usize),
    Move(i64),
    Rotate(&'static str, i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..6usize).prop_map(Step::Verify),
        2 => (-40..90i64).prop_map(Step::Move),
        1 => (prop_oneof![Just("k1"), Just("k1"), Just("k2")], 0..900i64)
            .prop_map(|(kid, usable)| Step::Rotate(kid, usable)),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens to clock, keys and room, the answer is that of the verifier itself.
    #[test]
    fn a_cached_verifier_answers_as_the_verifier_does(steps in steps(), capacity in 0..12usize) {
        let cached = verifier().cached(capacity).unwrap().with_max_age(Duration::from_secs(120));
        // Some expire soon, one has expired, and one is signed by nobody.
        let mut tokens: Vec<_> = [600, 300, 120, 30, -100].map(|expires| token(0, expires)).into();
        tokens.push(format!("{}AA", token(5, 600)));
        let mut now = 0i64;
        for step in steps {
            match step {
                Step::Move(by) => now = now.saturating_add(by),
                Step::Rotate(kid, usable) => {
                    let until = at(now.saturating_add(usable));
                    keys_of(&cached).replace(key_set(kid), until);
                }
                Step::Verify(number) => {
                    let answer = cached.verify(&tokens[number], at(now));
                    prop_assert_eq!(answer, cached.issuers().verify(&tokens[number], at(now)));
                }
            }
        }
    }

    /// With room for every token, the cache is a map without bounds; with less, it knows nothing
    /// that such a map does not know.
    #[test]
    fn a_cache_is_a_map_that_may_forget(
        steps in prop::collection::vec((any::<bool>(), 0..10usize, 0..100i64, 1..60i64), 1..80),
        tokens in 1..10usize,
    ) {
        let cache = VerdictCache::new(WAYS).unwrap();
        let mut map: HashMap<usize, (i64, i64)> = HashMap::new();
        let verified = verifier().verify(&token(0, 6000), at(0)).unwrap();
        for (insert, number, now, lasting) in steps {
            let number = number.checked_rem(tokens).unwrap();
            let name = cache.name(number.to_string().as_bytes());
            if insert {
                let until = now.saturating_add(lasting);
                let (since, end) = (at(now), at(until));
                cache.insert(Verdict { name, value: verified.clone(), since, until: end });
                map.insert(number, (now, until));
            }
            let moment = Moment { now: at(now), max_age: Duration::MAX };
            let found = cache.find(&name, &moment, |_| Some(())).is_some();
            let expected =
                map.get(&number).is_some_and(|(since, until)| *since <= now && now < *until);
            if tokens <= WAYS {
                prop_assert_eq!(found, expected);
            } else {
                prop_assert!(!found || expected);
            }
        }
    }
}

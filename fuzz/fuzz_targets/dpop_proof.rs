#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_core::time::Timestamp;
use zt_fuzz::{confirmation_token, proof};
use zt_identity::possession::dpop::{DpopVerifier, ProvenRequest, the_one_proof};
use zt_identity::possession::target::PublicBase;

fuzz_target!(|bytes: &[u8]| {
    let (now, base) = (Timestamp::from_secs(0), PublicBase::parse("https://a.test").unwrap());
    let token = confirmation_token();
    let request = ProvenRequest::new("GET", &base, "/").with_token("t", token.confirmation());
    let verify = |proof: &str| DpopVerifier::default().verify(proof, &request, now);
    let _ = the_one_proof([bytes]).map(|text| assert!(verify(text).is_err()));
    let _ = verify(&proof(bytes));
});

#![no_main]

use http::{Method, Uri};
use libfuzzer_sys::fuzz_target;
use zt_core::time::Timestamp;
use zt_fuzz::{client, says, waited};
use zt_identity::outgoing::{Destination, OutgoingRequest, OutgoingTokens};

fuzz_target!(|answer: &[u8]| {
    let stock = Destination::of_service("https://a.test").unwrap().audience("a").scope("read");
    let tokens =
        OutgoingTokens::builder("https://i.test").unwrap().token_endpoint("https://i.test/");
    let tokens = tokens.client(client()).capacity(4).transport(says(answer));
    let tokens = tokens.destination(stock.dpop_or_bearer()).build().unwrap();
    let uri = Uri::from_static("https://a.test/b");
    let request = OutgoingRequest::new(&Method::GET, &uri);
    let Ok(headers) = waited(tokens.headers(&request, Timestamp::EPOCH)) else { return };
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap();
    let sent = headers[0].1.to_str().unwrap().split_once(' ').unwrap();
    assert_eq!(Some(sent.1), answer["access_token"].as_str());
    assert!(answer["token_type"].as_str().unwrap().eq_ignore_ascii_case(sent.0));
});

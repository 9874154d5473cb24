//! Each example of a connection ends well, and says what it should.

use std::process::Command;

const CART: &str = "spiffe://example.org/cart";

fn says(program: &str) -> Vec<String> {
    let output = Command::new(program).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn axum_serves_those_who_prove_themselves() {
    let expected = [
        format!("http/1.1: hello, {CART}"),
        format!("h2: hello, {CART}"),
        "another trust domain: refused".into(),
        "revoked: refused".into(),
    ];
    assert_eq!(says(env!("CARGO_BIN_EXE_tls_axum")), expected);
}

#[test]
fn a_stream_of_tonic_ends_with_the_identity_of_its_caller() {
    let expected = [
        format!("tick for {CART}"),
        "revoked: the stream ends, its identity is not supported any more".into(),
    ];
    assert_eq!(says(env!("CARGO_BIN_EXE_tls_tonic")), expected);
}

#[test]
fn a_client_of_hyper_leaves_connections_that_have_ended() {
    let expected = [
        "orders: answered",
        "orders in the place of payments: refused",
        "an unknown host: refused",
        "revoked: the connection is left, and a new one answers",
    ];
    assert_eq!(says(env!("CARGO_BIN_EXE_tls_hyper")), expected);
}

#[test]
fn a_client_of_hyper_rustls_judges_servers_in_each_handshake_and_not_after_it() {
    let expected = [
        "orders: 200 OK",
        "orders in the place of payments: refused",
        "revoked, on a connection that is kept: 200 OK",
        "revoked, on a new connection: refused",
    ];
    assert_eq!(says(env!("CARGO_BIN_EXE_tls_hyper_rustls")), expected);
}

#[test]
fn a_client_of_reqwest_that_keeps_no_connection_judges_servers_at_each_request() {
    let expected =
        ["orders: 42 orders", "orders in the place of payments: refused", "revoked: refused"];
    assert_eq!(says(env!("CARGO_BIN_EXE_tls_reqwest")), expected);
}

#[test]
fn a_protocol_of_lines_ends_with_its_lease() {
    let expected = [
        format!("{CART} says hello"),
        format!("goodbye, {CART}: its identity is not supported any more"),
    ];
    assert_eq!(says(env!("CARGO_BIN_EXE_tls_tokio")), expected);
}

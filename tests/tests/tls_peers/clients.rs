//! curl, openssl and nginx call a service of ours.

use std::process::{Command, Output};

use zt_tests::nginx::Nginx;
use zt_tests::peers::{SvidFiles, present, run, try_run};
use zt_tls::events::Reason;

use crate::support::{CALLERS, HELLO, Service, Wrong, flag, service};

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

fn curl(service: &Service, caller: Option<&SvidFiles>, version: &str) -> Output {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "30", version]);
    flag(&mut curl, "--cacert", &service.domain.bundle());
    if let Some(caller) = caller {
        flag(&mut curl, "--cert", &caller.cert);
        flag(&mut curl, "--key", &caller.key);
    }
    try_run(curl.arg(format!("https://localhost:{}/", service.address.port())), "")
}

fn s_client(service: &Service, caller: Option<&SvidFiles>, more: &[&str]) -> Output {
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-quiet", "-verify_return_error", "-servername", "localhost"]);
    openssl.arg("-connect").arg(service.address.to_string());
    flag(&mut openssl, "-CAfile", &service.domain.bundle());
    if let Some(caller) = caller {
        flag(&mut openssl, "-cert", &caller.cert);
        flag(&mut openssl, "-key", &caller.key);
    }
    try_run(openssl.args(more), REQUEST)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether the service answered this caller, and refused it for what was to be, if it was.
fn check(service: &Service, wrong: Wrong, reason: Option<Reason>, output: &Output) {
    let refused = service.refused(reason);
    assert_eq!(refused.first().copied(), reason, "{wrong:?}: {output:?}");
    assert_eq!(said(output).ends_with(HELLO), reason.is_none(), "{wrong:?}: {output:?}");
    if reason.is_some() {
        assert!(said(output).is_empty(), "{wrong:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("alert"), "{wrong:?}: {output:?}");
    }
}

#[test]
fn curl_gets_in_with_a_certificate_that_is_good_and_with_no_other() {
    if !present(&[&["curl", "--version"]]) {
        return;
    }
    let service = service();
    for version in ["--http1.1", "--http2"] {
        for (wrong, reason) in CALLERS {
            let caller = service.caller(wrong);
            check(&service, wrong, reason, &curl(&service, caller.as_ref(), version));
        }
    }
}

#[test]
fn openssl_gets_in_with_a_certificate_that_is_good_and_with_no_other() {
    if !present(&[&["openssl", "version"]]) {
        return;
    }
    let service = service();
    for (wrong, reason) in CALLERS {
        let caller = service.caller(wrong);
        check(&service, wrong, reason, &s_client(&service, caller.as_ref(), &[]));
    }
    // TLS 1.2 is not spoken, whatever the certificate.
    let caller = service.caller(Wrong::Nothing);
    let output = s_client(&service, caller.as_ref(), &["-tls1_2"]);
    check(&service, Wrong::Nothing, Some(Reason::Protocol), &output);
}

#[test]
fn nginx_in_front_of_a_service_gets_in_with_a_certificate_that_is_good_and_with_no_other() {
    if !present(&[&["nginx", "-v"], &["curl", "--version"]]) {
        return;
    }
    let service = service();
    for (wrong, reason) in CALLERS {
        let own = service.caller(wrong).map_or_else(String::new, |caller| {
            let (cert, key) = (caller.cert.display(), caller.key.display());
            format!("proxy_ssl_certificate {cert}; proxy_ssl_certificate_key {key};")
        });
        let block = format!(
            "server {{ listen unix:nginx.sock; location / {{\n\
             proxy_pass https://{}; {own}\n\
             proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on; proxy_ssl_verify_depth 2;\n\
             proxy_ssl_trusted_certificate {}; proxy_ssl_name localhost; proxy_ssl_server_name on;\n\
             }} }}",
            service.address,
            service.domain.bundle().display(),
        );
        let folder = service.domain.folder.path().join(format!("nginx-{wrong:?}"));
        let nginx = Nginx::start(
            &folder,
            &block.replace("nginx.sock", &format!("{}/nginx.sock", folder.display())),
            None,
        );
        // Twice, as nginx keeps sessions and tries to resume them.
        for _ in 0..2 {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--max-time", "30", "--write-out", " %{http_code}"]);
            flag(&mut curl, "--unix-socket", &nginx.socket());
            let answer = String::from_utf8(run(curl.arg("http://localhost/"), "")).unwrap();
            let refused = service.refused(reason);
            assert_eq!(refused.first().copied(), reason, "{wrong:?}: {answer}: {}", nginx.log());
            let expected = if reason.is_none() { format!("{HELLO} 200") } else { " 502".into() };
            assert!(answer.ends_with(&expected), "{wrong:?}: {answer}: {}", nginx.log());
        }
    }
}

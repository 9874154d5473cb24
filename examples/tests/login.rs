//! The login example in Chromium, with users of a certified provider.

#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use zt_tests::chromium::{self, Chromium, Page};
use zt_tests::oidc_provider::{self, OidcProvider};

/// The example, until it is dropped.
struct App {
    child: Child,
    url: String,
}

impl App {
    fn start(provider: &OidcProvider, listen: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_login"))
            .args(["--issuer", provider.url(), "--listen", &listen.to_string()])
            .env("CLIENT_SECRET", "web-secret")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("up at "), "{line}");
        Self { child, url: format!("http://{listen}") }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An application, its provider and a browser.
fn scene(profile: &Path) -> Option<(App, OidcProvider, Chromium)> {
    if !oidc_provider::is_present() || !chromium::is_present() {
        return None;
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let provider = OidcProvider::start(&json!({
        "algorithms": ["ES256"],
        "redirect_uris": [format!("http://{free}/signed-in")],
        "post_logout_redirect_uris": [format!("http://{free}/signed-out")],
    }));
    let app = App::start(&provider, free);
    Some((app, provider, Chromium::start(profile)))
}

fn is_at(page: &Page, url: &str, title: &str) {
    assert_eq!((page.url.as_str(), page.title.as_str()), (url, title), "{}", page.text);
}

#[test]
fn a_user_signs_in_confirms_who_they_are_and_signs_out() {
    let profile = tempfile::tempdir().unwrap();
    let Some((app, provider, mut browser)) = scene(profile.path()) else { return };
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let picture = |browser: &mut Chromium, name: &str| {
        browser.screenshot(&pictures.join(format!("login-{name}.png")));
    };
    is_at(&browser.go(&app.at("/")), &app.at("/"), "A small shop");
    picture(&mut browser, "1-nobody");

    // Who is not signed in goes to the provider, and comes back to the page that was asked for.
    let page = browser.go(&app.at("/orders?year=2026"));
    assert!(page.url.starts_with(provider.url()), "{page:?}");
    browser.fill("input[name=login]", "alice");
    is_at(&browser.click("button"), &app.at("/orders?year=2026"), "Your orders");
    picture(&mut browser, "2-orders");

    // The sensitive page wants more, from the same user.
    is_at(&browser.go(&app.at("/payout")), &app.at("/payout"), "Confirm that it is you");
    picture(&mut browser, "3-confirm");
    let page = browser.click("main a.deed");
    assert!(page.url.starts_with(provider.url()) && page.text.contains("code"), "{page:?}");
    browser.fill("input[name=code]", "123456");
    let page = browser.click("button");
    is_at(&page, &app.at("/payout"), "Your payout account");
    assert!(page.text.contains("DE89"));
    picture(&mut browser, "4-payout");
    let page = browser.go(&app.at("/"));
    assert!(page.text.contains("urn:example:mfa") && page.text.contains("alice@example.com"));
    picture(&mut browser, "5-home");

    // Signed out here and there: the next visit asks for a name again.
    let page = browser.click("header button");
    assert!(page.url.starts_with(provider.url()), "{page:?}");
    let page = browser.click("button[name=logout]");
    assert!(page.text.contains("Here, and at your provider."), "{page:?}");
    picture(&mut browser, "6-signed-out");
    let page = browser.go(&app.at("/payout"));
    assert!(page.text.contains("Your name"), "{page:?}");
}

#[test]
fn nobody_is_signed_in_by_a_link_or_as_somebody_else() {
    let profile = tempfile::tempdir().unwrap();
    let Some((app, _provider, mut browser)) = scene(profile.path()) else { return };
    // A link with somebody's code, in a browser that began nothing.
    let page = browser.go(&app.at("/signed-in?code=c0de&state=x"));
    assert_eq!(page.title, "Signing in did not work");
    browser.screenshot(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("login-7-failure.png"));

    // A link that would lead elsewhere after the login leads to the beginning.
    for elsewhere in ["https://evil.example", "//evil.example", "/%5Cevil.example/%09"] {
        let page = browser.go(&app.at(&format!("/sign-in?return_to={elsewhere}")));
        if page.text.contains("Your name") {
            browser.fill("input[name=login]", "alice");
            is_at(&browser.click("button"), &app.at("/"), "Hello, alice");
        } else {
            is_at(&page, &app.at("/"), "Hello, alice");
        }
    }

    // Somebody else confirms in the place of the user.
    browser.go(&app.at("/confirm"));
    browser.fill("input[name=login]", "mallory");
    browser.fill("input[name=code]", "123456");
    let page = browser.click("button");
    assert_eq!(page.title, "Signing in did not work", "{page:?}");
    let page = browser.go(&app.at("/payout"));
    assert_eq!(page.title, "Confirm that it is you", "{page:?}");
    assert!(page.text.contains("alice"));
}

#[test]
fn cookies_are_for_this_application_alone_and_pages_load_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    if !oidc_provider::is_present() {
        return;
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let provider = OidcProvider::start(&json!({"algorithms": ["ES256"]}));
    let app = App::start(&provider, free);
    let headers = |path: &str, more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-D", "-", "-o"]).arg(folder.path().join("body")).args(more);
        let output = curl.arg(app.at(path)).output().unwrap();
        String::from_utf8(output.stdout).unwrap().to_lowercase()
    };
    let answer = headers("/sign-in", &[]);
    let (_, cookie) = answer.split_once("set-cookie: ").unwrap();
    let cookie = cookie.lines().next().unwrap();
    assert!(cookie.starts_with("__host-login="), "{cookie}");
    for part in ["; path=/", "; secure", "; httponly", "; samesite=lax", "; max-age=600"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("domain"), "{cookie}");

    let answer = headers("/", &[]);
    for header in [
        "content-security-policy: default-src 'none'; style-src 'self'; form-action 'self' http://",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
    ] {
        assert!(answer.contains(header), "{answer}");
    }
    // A session that nobody gave out is none, and neither is one beside another.
    for cookies in ["__Host-session=x", "__Host-session=x; __Host-session=y"] {
        let answer = headers("/orders", &["-b", cookies]);
        assert!(answer.contains("location: /sign-in?return_to=/orders\r\n"), "{answer}");
    }
    // A link signs nobody out.
    assert!(headers("/sign-out", &[]).starts_with("http/1.1 405 "));
}

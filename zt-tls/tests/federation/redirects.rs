//! Where redirects lead, and where they do not.

use zt_tls::connection::Refused;
use zt_tls::federation::{EndpointUrlError, FetchError, MAX_REDIRECTS};

use crate::support::{
    ENDPOINT, Endpoint, Say, answer, authority, document, id, ok, run, spiffe, svid_config, to,
    world,
};

#[test]
fn a_redirect_is_followed_to_the_same_identity_and_forgotten() {
    run(async {
        let (partner, mut world) = (authority("partner.test"), world());
        let svid = partner.svid(ENDPOINT).unwrap();
        let there = Endpoint::serving(&svid, &document(&[&partner], 7)).await;
        let far = there.url("/far");
        let here = Endpoint::start(svid_config(&svid), move |path| match path {
            "/bundle" => answer("301 Moved Permanently", "location: /near\r\n", "moved"),
            _ => answer("308 Permanent Redirect", &format!("location: {far}\r\n"), ""),
        })
        .await;
        world.establish(spiffe(&partner, &here));
        assert_eq!(world.told().await, "partner.test new 7");
        assert_eq!(world.refreshed("partner.test").await, "partner.test same 7");
        // However permanent they are said to be.
        assert_eq!(here.paths(), ["/bundle", "/near", "/bundle", "/near"]);
        assert_eq!(there.paths(), ["/far", "/far"]);
        for status in ["302 Found", "303 See Other", "307 Temporary Redirect"] {
            let far = there.url("/far");
            here.says(move |_| answer(status, &format!("location: {far}\r\n"), ""));
            assert_eq!(world.refreshed("partner.test").await, "partner.test same 7", "{status}");
        }
    });
}

#[test]
fn a_redirect_to_a_server_with_another_identity_is_refused_by_that_server_s_certificate() {
    run(async {
        let partner = authority("partner.test");
        let stranger = authority("partner.test");
        for there in [partner.svid("/other").unwrap(), stranger.svid(ENDPOINT).unwrap()] {
            let mut world = world();
            let there = Endpoint::serving(&there, &document(&[&stranger], 8)).await;
            let url = there.url("/");
            let svid = partner.svid(ENDPOINT).unwrap();
            let here = Endpoint::start(svid_config(&svid), move |_| to(&url)).await;
            world.establish(spiffe(&partner, &here));
            world.told().await;
            assert!(matches!(world.refused(), Refused::NotAdmitted { .. } | Refused::Svid(_)));
            assert_eq!((here.seen().len(), there.seen().len()), (1, 0));
            assert!(!world.believes(&stranger), "{}", id(&partner, ENDPOINT));
        }
    });
}

#[test]
fn a_redirect_to_where_no_endpoint_may_be_is_not_followed() {
    run(async {
        let (partner, mut world) = (authority("partner.test"), world());
        let svid = partner.svid(ENDPOINT).unwrap();
        let elsewhere = Endpoint::serving(&svid, &document(&[&partner], 7)).await;
        let here = Endpoint::start(svid_config(&svid), |_| Say::Nothing).await;
        let port = elsewhere.port;
        let long = format!("/{}", "a".repeat(2048));
        for (n, (location, expected)) in [
            (format!("http://localhost:{port}/"), EndpointUrlError::NotHttps),
            (format!("//localhost:{port}/"), EndpointUrlError::NotHttps),
            (format!("https://user@localhost:{port}/"), EndpointUrlError::UserInfo),
            (format!("https://u:p@localhost:{port}/"), EndpointUrlError::UserInfo),
            (format!("https://localhost:{port}/#x"), EndpointUrlError::Fragment),
            ("https://:1/".into(), EndpointUrlError::Host),
            ("file:///etc/passwd".into(), EndpointUrlError::NotHttps),
            ("bundle".into(), EndpointUrlError::NotHttps),
            (long, EndpointUrlError::TooLong { len: here.url("/").len() + 2048 }),
        ]
        .into_iter()
        .enumerate()
        {
            let said = location.clone();
            here.says(move |_| to(&said));
            if n == 0 {
                world.establish(spiffe(&partner, &here));
                world.told().await;
            } else {
                world.refreshed("partner.test").await;
            }
            let failure = world.failure();
            let FetchError::Redirect { source, .. } = failure else { panic!("{failure:?}") };
            assert_eq!(source, expected, "{location}");
        }
        for headers in ["", "location: /a\r\nlocation: /b\r\n", "location: /\u{e9}\r\n"] {
            here.says(move |_| answer("302 Found", headers, ""));
            world.refreshed("partner.test").await;
            assert!(matches!(world.failure(), FetchError::NoLocation), "{headers:?}");
        }
        // 300 and 304 are no redirects.
        for status in ["300 Multiple Choices", "304 Not Modified"] {
            let location = format!("location: {}\r\n", elsewhere.url("/"));
            here.says(move |_| answer(status, &location, ""));
            world.refreshed("partner.test").await;
            assert!(matches!(world.failure(), FetchError::Status { .. }), "{status}");
        }
        assert_eq!(elsewhere.connections(), 0);
    });
}

#[test]
fn a_row_of_redirects_has_an_end() {
    run(async {
        let (partner, mut world) = (authority("partner.test"), world());
        let svid = partner.svid(ENDPOINT).unwrap();
        let json = document(&[&partner], 7).to_json();
        let here = Endpoint::start(svid_config(&svid), move |path| match path {
            "/bundle" | "/loop" => to("/loop"),
            "/0" => ok(&json),
            other => {
                let left: usize = other.trim_start_matches('/').parse().unwrap();
                to(&format!("/{}", left - 1))
            }
        })
        .await;
        world.establish(spiffe(&partner, &here));
        world.told().await;
        assert!(matches!(world.failure(), FetchError::TooManyRedirects));
        assert_eq!(here.connections(), MAX_REDIRECTS + 1);
        // As many as there may be, and one more.
        for (length, followed) in [(MAX_REDIRECTS, true), (MAX_REDIRECTS + 1, false)] {
            let mut world = crate::support::world();
            let url = here.url(&format!("/{length}"));
            world.establish(crate::support::spiffe_at(&partner, &url));
            assert_eq!(world.told().await.ends_with("new 7"), followed, "{length}");
        }
    });
}

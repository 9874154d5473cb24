//! The story: one scene for each thing that can be wrong, and some that are right.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use rustls::AlertDescription;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, ManualClock, SystemClock};
use zt_examples::client::{Answer, Client};
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::oidc::refresh::RefreshOptions;
use zt_identity::source::X509Source;
use zt_identity::x509_identity::X509Identity;
use zt_policy::live::LivePolicies;
use zt_tls::Connector;

use crate::Outcome;
use crate::issuer::{Issuer, base64url};
use crate::observe::{Seen, Watcher, refusals};
use crate::service::{self, DecidingTime, MFA, Parts};
use crate::show::{self, Line, Screen};

/// The policies, as they are shipped.
pub const POLICIES: &str = include_str!("policies/orders.cedar");
pub const POLICIES_FILE: &str = "orders.cedar";
pub const AUDIENCE: &str = "orders";
pub const SERVICE: &str = "/ns/shop/sa/orders";

/// Longer than anything here takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the service looks at its policies: more often than it would have to.
const LOOK: Duration = Duration::from_millis(20);

const FORBID: &str = "\n@id(\"stocktaking\")\nforbid (principal is User, action, resource);\n";

/// Plays it, and says whether everything went as expected.
pub async fn play() -> Outcome<bool> {
    let begun = Instant::now();
    let mut stage = Stage::set().await?;
    stage.open();
    stage.channel().await?;
    stage.user().await?;
    stage.decision().await?;
    let edited = stage.edits().await?;
    let rotated = stage.rotation().await?;
    Ok(stage.close(begun, edited, rotated))
}

/// Everything, started.
struct Stage {
    screen: Screen,
    folder: tempfile::TempDir,
    authority: Authority,
    issuer: Issuer,
    policies: LivePolicies,
    service: SocketAddr,
    seen: UnboundedReceiver<Seen>,
    deciding: DecidingTime,
    cart: Client,
    scenes: u32,
    surprises: u32,
}

/// What a scene asks for.
#[derive(Clone, Copy)]
struct Ask<'a> {
    method: &'a Method,
    path: &'a str,
    /// A user and a token.
    user: Option<(&'a str, &'a str)>,
}

/// What a scene is to end with.
struct Expected {
    /// As it is shown.
    answer: String,
    why: String,
}

impl Stage {
    async fn set() -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("zt-quickstart-").tempdir()?;
        let policies_folder = folder.path().join("policies");
        write_policies(&policies_folder)?;

        let domain = TrustDomain::from_name("example.org")?;
        let authority = Authority::new(domain.clone(), SystemClock.now())?;
        let issuer = Issuer::start().await?;
        let policies = service::policies(&policies_folder, LOOK)?;
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let service = listener.local_addr()?;
        // The default is 30 s, to spare the issuer; nobody wants to watch that.
        let refresh = RefreshOptions::default().unknown_key_interval(Duration::from_millis(200));
        let (send, seen) = unbounded_channel();
        let parts = Parts {
            source: authority.source(SERVICE)?,
            domain,
            tokens: service::tokens(issuer.url(), AUDIENCE, refresh).await?,
            policies: policies.clone(),
            listener,
        };
        let deciding = service::start(parts, Watcher(send.clone()), refusals(send))?;
        let cart =
            Client::new("cart", &connector(&authority, authority.svid("/ns/shop/sa/cart")?)?);
        Ok(Self {
            screen: Screen::stdout(),
            folder,
            authority,
            issuer,
            policies,
            service,
            seen,
            deciding,
            cart,
            scenes: 0,
            surprises: 0,
        })
    }

    fn open(&self) {
        let screen = self.screen;
        screen.text("Every request proves itself: an authority, an issuer and a service, all in this program.\n");
        screen.dim(&format!("  service   https://{}  spiffe://example.org{SERVICE}", self.service));
        screen.dim(&format!("  issuer    {}", self.issuer.url()));
        screen.dim(&format!("  policies  {}", self.policies_file().display()));
        screen.columns("scene");
    }

    /// Who may connect at all.
    async fn channel(&mut self) -> Outcome<()> {
        self.screen.heading("The connection");
        let token = self.token(json!({}))?;
        let read = reading(("alice", &token));
        let cart = self.cart.clone();
        self.scene("everything in place", &cart, read, allowed("clerks-read")).await?;

        let evil = Authority::new(TrustDomain::from_name("evil.test")?, SystemClock.now())?;
        let evil = connector(&self.authority, evil.svid("/ns/shop/sa/cart")?)?;
        let evil = Client::new("cart@evil.test", &evil);
        let refused = alert(AlertDescription::CertificateUnknown, "no bundle for \"evil.test\"");
        self.scene("another trust domain", &evil, read, refused).await?;

        let nobody = connector(&self.authority, self.authority.svid("/ns/shop/sa/cart")?)?;
        let nobody = Client::without_certificate("nobody", &nobody);
        let refused = alert(AlertDescription::CertificateRequired, "peer sent no certificates");
        self.scene("no certificate", &nobody, read, refused).await?;

        let (late, expired) = self.expired()?;
        let refused = alert(AlertDescription::CertificateUnknown, &format!("expired at {expired}"));
        self.scene("expired certificate", &late, read, refused).await
    }

    /// On whose behalf.
    async fn user(&mut self) -> Outcome<()> {
        self.screen.heading("The user");
        let cart = self.cart.clone();
        let nobody = Ask { method: &Method::GET, path: "/orders/42", user: None };
        self.scene("no token", &cart, nobody, refused("no credential")).await?;

        let hour_ago = SystemClock.now().as_secs() - 3600;
        let expired = self.token(json!({ "iat": hour_ago, "exp": hour_ago + 300 }))?;
        let read = reading(("alice", &expired));
        self.scene("expired token", &cart, read, refused("token expired")).await?;

        let billing = self.token(json!({ "aud": "billing" }))?;
        let read = reading(("alice", &billing));
        self.scene("token for billing", &cart, read, refused("token of another audience")).await?;

        let unsigned = unsigned(&self.token(json!({ "sub": "admin" }))?)?;
        let read = reading(("admin", &unsigned));
        self.scene("alg: none", &cart, read, refused("token algorithm")).await?;

        let password = self.token(json!({ "sub": "carol", "roles": ["manager"], "acr": "pwd" }))?;
        let challenge = expected("401 step up", "step up needed");
        self.scene("refund without MFA", &cart, refunding(("carol", &password)), challenge).await?;

        let mfa = self.token(json!({ "sub": "carol", "roles": ["manager"], "acr": MFA }))?;
        let expected = allowed("managers-refund");
        self.scene("refund with MFA", &cart, refunding(("carol", &mfa)), expected).await
    }

    /// Whether policy lets them.
    async fn decision(&mut self) -> Outcome<()> {
        self.screen.heading("The decision");
        let cart = self.cart.clone();
        let guest = self.token(json!({ "sub": "bob", "roles": ["guest"] }))?;
        let expected = forbidden("user: no policy permits it");
        self.scene("wrong role", &cart, reading(("bob", &guest)), expected).await?;

        let alice = self.token(json!({}))?;
        let mailer = connector(&self.authority, self.authority.svid("/ns/mail/sa/mailer")?)?;
        let mailer = Client::new("mailer", &mailer);
        let expected = forbidden("workload: no policy permits it");
        self.scene("wrong workload", &mailer, reading(("alice", &alice)), expected).await
    }

    /// Edits on disk; yields how long the first took to be in force.
    async fn edits(&mut self) -> Outcome<Duration> {
        self.screen.heading("Policies change while it runs");
        let cart = self.cart.clone();
        let alice = self.token(json!({}))?;
        let read = reading(("alice", &alice));

        fs::write(self.policies_file(), format!("{POLICIES}{FORBID}"))?;
        let edited = until(|| self.policies.version().generation == 2).await?;
        let expected = forbidden("user: forbidden by stocktaking");
        self.scene("a forbid is added", &cart, read, expected).await?;

        fs::write(self.policies_file(), "permit (principal, action, resource")?;
        until(|| self.policies.failures() == 1).await?;
        let expected = forbidden("user: forbidden by stocktaking");
        self.scene("broken edit: no change", &cart, read, expected).await?;

        fs::write(self.policies_file(), POLICIES)?;
        until(|| self.policies.version().generation == 3).await?;
        self.scene("the forbid is removed", &cart, read, allowed("clerks-read")).await?;
        Ok(edited)
    }

    /// A new key of the issuer; yields how long its tokens were refused.
    async fn rotation(&mut self) -> Outcome<Duration> {
        self.screen.heading("The issuer rotates its key");
        let cart = self.cart.clone();
        let before = self.token(json!({}))?;
        self.issuer.rotate("key-2")?;
        let after = self.token(json!({}))?;
        let read = reading(("alice", &after));

        let begun = Instant::now();
        let expected = refused("token key unknown");
        self.scene("new key: not yet known", &cart, read, expected).await?;
        // The service fetches in the background; whoever calls tries again.
        let fetched = loop {
            let (answer, _) = self.call(&cart, read).await?;
            let refused = matches!(answer, Answer::Http { status: StatusCode::UNAUTHORIZED, .. });
            if !refused || begun.elapsed() > PATIENCE {
                break begun.elapsed();
            }
            sleep(LOOK).await;
        };
        let later = format!("new key, {} ms later", fetched.as_millis());
        self.scene(&later, &cart, read, allowed("clerks-read")).await?;

        let read = reading(("alice", &before));
        self.scene("old key: withdrawn", &cart, read, refused("token key unknown")).await?;
        Ok(fetched)
    }

    fn close(&self, begun: Instant, edited: Duration, rotated: Duration) -> bool {
        let well = self.surprises == 0;
        let seconds = begun.elapsed().as_secs_f64();
        self.screen.verdict(
            well,
            &format!(
                "{} scenes, {} as expected, {} not. {seconds:.1} s in all.",
                self.scenes,
                self.scenes - self.surprises,
                self.surprises
            ),
        );
        self.screen.dim(&format!(
            "The added forbid was in force after {} ms, the new key after {} ms. TLS alert 46 is \
             certificate_unknown, and 116\ncertificate_required: a caller learns its answer and \
             nothing else, the rest is from the service's own records.",
            edited.as_millis(),
            rotated.as_millis()
        ));
        if cfg!(debug_assertions) {
            self.screen
                .dim("This build is not optimised: with --release a decision is far quicker.");
        }
        self.screen.dim(
            "\nNext: cargo run -p zt-examples --bin quickstart -- serve, and call it with curl.",
        );
        well
    }

    async fn scene(
        &mut self,
        title: &str,
        client: &Client,
        ask: Ask<'_>,
        expected: Expected,
    ) -> Outcome<()> {
        let (answer, seen) = self.call(client, ask).await?;
        let deciding = self.deciding.take();
        let why = seen.why();
        let shown = show::answer(&answer);
        let as_expected = shown == expected.answer && why == expected.why;
        let refused_connection = matches!(answer, Answer::Alert(_));
        let caller = match ask.user {
            Some((user, _)) if !refused_connection => format!("{} for {user}", client.name),
            _ => client.name.to_owned(),
        };
        self.screen.line(&Line {
            expected: Some(as_expected),
            title,
            caller: &caller,
            request: &format!("{} {}", ask.method, ask.path),
            answer: &shown,
            allowed: matches!(answer, Answer::Http { status: StatusCode::OK, .. }),
            why: &why,
            deciding: (!deciding.is_zero()).then_some(deciding),
        });
        self.scenes += 1;
        if !as_expected {
            self.surprises += 1;
            let Expected { answer, why: wanted } = expected;
            self.screen.text(&format!("  expected {answer}: {wanted}"));
            self.screen.text(&format!("  found    {shown}: {why}"));
        }
        Ok(())
    }

    /// Calls the service, and reads what it wrote down about it.
    async fn call(&mut self, client: &Client, ask: Ask<'_>) -> Outcome<(Answer, Seen)> {
        self.deciding.take();
        let token = ask.user.map(|(_, token)| token);
        let call = client.call(self.service, ask.method, ask.path, token, None);
        let answer = timeout(PATIENCE, call).await.map_err(|_| "the service did not answer")??;
        let seen = timeout(PATIENCE, self.seen.recv()).await.ok().flatten();
        Ok((answer, seen.ok_or("the service wrote nothing down")?))
    }

    /// A token for alice, a clerk, except for these claims.
    fn token(&self, claims: Value) -> Outcome<String> {
        self.issuer.mint(with(claims_of("alice", "clerk"), claims))
    }

    /// A workload with a certificate that expired half a minute ago, and a clock that does not
    /// know.
    fn expired(&self) -> Outcome<(Client, String)> {
        let now = SystemClock.now();
        let second = Duration::from_secs(1);
        let issued = now.saturating_sub(3600 * second);
        let svid = self.authority.request("/ns/shop/sa/cart");
        let svid = svid.at(issued).lasting(3570 * second).identity()?;
        let expired = svid.validity().not_after().to_string();
        let slow = ManualClock::at(now.saturating_sub(40 * second));
        let bundles = BundleSet::new().with(self.authority.bundle());
        let connector =
            Connector::builder(X509Source::new(svid, bundles), only_orders(&self.authority)?);
        Ok((Client::new("cart", &connector.clock(slow).build()?), expired))
    }

    fn policies_file(&self) -> PathBuf {
        self.folder.path().join("policies").join(POLICIES_FILE)
    }
}

/// Copies the policies into a folder, unless it has them.
pub fn write_policies(folder: &Path) -> Outcome<()> {
    fs::create_dir_all(folder)?;
    let file = folder.join(POLICIES_FILE);
    if !file.exists() {
        fs::write(file, POLICIES)?;
    }
    Ok(())
}

/// The claims of a token that lives for an hour.
pub fn claims_of(subject: &str, role: &str) -> Value {
    let (id, now) = (SystemClock.now().as_micros(), SystemClock.now().as_secs());
    json!({
        "sub": subject, "aud": AUDIENCE, "jti": format!("{subject}-{id}"),
        "iat": now, "exp": now + 3600, "roles": [role], "acr": "pwd",
    })
}

/// These claims, and those of them changed.
pub fn with(mut claims: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    claims
}

/// Presents `identity`, and talks to the service of orders alone.
fn connector(authority: &Authority, identity: X509Identity) -> Outcome<Connector> {
    let bundles = BundleSet::new().with(authority.bundle());
    Ok(Connector::new(X509Source::new(identity, bundles), only_orders(authority)?)?)
}

fn only_orders(authority: &Authority) -> Outcome<Authorizer> {
    Ok(Authorizer::id(authority.svid(SERVICE)?.id().clone()))
}

/// The same claims under `alg: none`, without a signature (RFC 8725 §2.1).
fn unsigned(token: &str) -> Outcome<String> {
    let claims = token.split('.').nth(1).ok_or("a token has three parts")?;
    let header = json!({ "alg": "none", "typ": "at+jwt", "kid": "key-1" }).to_string();
    Ok(format!("{}.{claims}.", base64url(header.as_bytes())))
}

fn reading<'a>(user: (&'a str, &'a str)) -> Ask<'a> {
    Ask { method: &Method::GET, path: "/orders/42", user: Some(user) }
}

fn refunding<'a>(user: (&'a str, &'a str)) -> Ask<'a> {
    Ask { method: &Method::POST, path: "/orders/42/refund", user: Some(user) }
}

fn expected(answer: impl Into<String>, why: &str) -> Expected {
    Expected { answer: answer.into(), why: why.into() }
}

fn allowed(policy: &str) -> Expected {
    expected("200", &format!("shop-may-call, {policy}"))
}

fn refused(why: &str) -> Expected {
    expected("401", why)
}

fn forbidden(why: &str) -> Expected {
    expected("403", why)
}

fn alert(alert: AlertDescription, why: &str) -> Expected {
    expected(show::answer(&Answer::Alert(alert)), why)
}

/// Waits until this holds, and says for how long.
async fn until(holds: impl Fn() -> bool) -> Outcome<Duration> {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > PATIENCE {
            return Err("the service did not notice a change of its policies".into());
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(begun.elapsed())
}

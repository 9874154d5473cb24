//! What the command line asks for.

use std::net::SocketAddr;
use std::path::PathBuf;

use zt_core::spiffe::TrustDomain;

pub const USAGE: &str = "\
usage: quickstart                                play the story and exit, 0 when it went as expected
       quickstart serve [FOLDER] [OPTION ...]    keep the service up and print commands that call it

FOLDER holds certificates, tokens, policies and records; without one it is a new temporary folder,
which is removed on Ctrl-C.

  --listen ADDRESS       where to listen; 127.0.0.1:8443 by default, port 0 for any
  --trust-domain NAME    the trust domain; example.org by default
  --svid FILE            the service's own certificate chain, its key, and the bundle of the trust
  --key FILE             domain, in PEM: all three, or none for a development authority. curl wants
  --bundle FILE          the DNS name localhost in the certificate
  --issuer URL           the issuer of tokens, https or on this machine; without one, one is started
  --audience NAME        the audience of its tokens; orders by default
  --policies FOLDER      *.cedar files; without one, FOLDER/policies is filled and used";

/// What to do.
#[derive(Debug)]
pub enum Run {
    Help,
    Story,
    Serve(Box<Options>),
}

/// What `serve` is told.
#[derive(Debug)]
pub struct Options {
    pub folder: Option<PathBuf>,
    pub listen: SocketAddr,
    pub domain: TrustDomain,
    pub identity: Option<IdentityFiles>,
    pub issuer: Option<String>,
    pub audience: String,
    pub policies: Option<PathBuf>,
}

/// The service's own identity, and whom it trusts.
#[derive(Clone, Debug)]
pub struct IdentityFiles {
    pub svid: PathBuf,
    pub key: PathBuf,
    pub bundle: PathBuf,
}

const FLAGS: [&str; 8] = [
    "--listen",
    "--trust-domain",
    "--svid",
    "--key",
    "--bundle",
    "--issuer",
    "--audience",
    "--policies",
];

/// Reads the arguments after the program's name.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Run, String> {
    let arguments: Vec<String> = arguments.into_iter().collect();
    if arguments.iter().any(|argument| matches!(argument.as_str(), "--help" | "-h")) {
        return Ok(Run::Help);
    }
    match arguments.split_first() {
        None => Ok(Run::Story),
        Some((command, rest)) if command == "serve" => {
            options(rest).map(|options| Run::Serve(Box::new(options)))
        }
        Some((command, _)) => Err(format!("{command:?} is not a command")),
    }
}

fn options(arguments: &[String]) -> Result<Options, String> {
    let mut folder = None;
    let mut given: Vec<(&str, &str)> = Vec::new();
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        if !argument.starts_with('-') {
            if folder.replace(PathBuf::from(argument)).is_some() {
                return Err(format!("{argument:?} is a second folder"));
            }
            continue;
        }
        if !FLAGS.contains(&argument) {
            return Err(format!("{argument:?} is not an option; a value follows its option"));
        }
        if given.iter().any(|(flag, _)| *flag == argument) {
            return Err(format!("{argument} is given twice"));
        }
        let value = rest.next().filter(|value| !value.is_empty() && !value.starts_with("--"));
        given.push((argument, value.ok_or_else(|| format!("{argument} needs a value"))?));
    }
    let value = |flag| given.iter().find(|(name, _)| *name == flag).map(|(_, value)| *value);
    let domain = value("--trust-domain").unwrap_or("example.org");
    let listen = value("--listen").unwrap_or("127.0.0.1:8443");
    Ok(Options {
        folder,
        listen: listen.parse().map_err(|_| {
            format!("--listen {listen:?} is not an address with a port, such as 127.0.0.1:8443")
        })?,
        domain: TrustDomain::from_name(domain)
            .map_err(|error| format!("--trust-domain {domain:?}: {error}"))?,
        identity: identity(value("--svid"), value("--key"), value("--bundle"))?,
        issuer: value("--issuer").map(str::to_owned),
        audience: value("--audience").unwrap_or("orders").to_owned(),
        policies: value("--policies").map(PathBuf::from),
    })
}

fn identity(
    svid: Option<&str>,
    key: Option<&str>,
    bundle: Option<&str>,
) -> Result<Option<IdentityFiles>, String> {
    match (svid, key, bundle) {
        (None, None, None) => Ok(None),
        (Some(svid), Some(key), Some(bundle)) => {
            Ok(Some(IdentityFiles { svid: svid.into(), key: key.into(), bundle: bundle.into() }))
        }
        _ => Err("--svid, --key and --bundle go together".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(arguments: &str) -> Result<Options, String> {
        let all = std::iter::once("serve").chain(arguments.split_whitespace());
        match parse(all.map(String::from))? {
            Run::Serve(options) => Ok(*options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_the_story_and_help_is_help_wherever_it_stands() {
        assert!(matches!(parse([]), Ok(Run::Story)));
        assert!(matches!(parse(["serve".into(), "-h".into()]), Ok(Run::Help)));
        assert_eq!(parse(["play".into()]).unwrap_err(), "\"play\" is not a command");
    }

    #[test]
    fn serve_has_defaults_for_everything() {
        let options = serve("").unwrap();
        assert_eq!(options.listen.port(), 8443);
        assert_eq!(options.domain.as_str(), "example.org");
        assert_eq!(options.audience, "orders");
        assert!(options.folder.is_none() && options.identity.is_none());
        assert!(options.issuer.is_none() && options.policies.is_none());
    }

    #[test]
    fn everything_can_come_from_outside() {
        let options = serve(
            "here --listen [::1]:0 --trust-domain a.test --svid s --key k --bundle b \
             --issuer https://i.test --audience x --policies p",
        )
        .unwrap();
        assert_eq!(options.folder, Some("here".into()));
        assert_eq!(options.listen, "[::1]:0".parse().unwrap());
        assert_eq!(options.domain.as_str(), "a.test");
        assert_eq!(options.identity.unwrap().bundle, PathBuf::from("b"));
        assert_eq!(options.issuer.as_deref(), Some("https://i.test"));
        assert_eq!((options.audience.as_str(), options.policies), ("x", Some("p".into())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (arguments, wrong) in [
            ("a b", "\"b\" is a second folder"),
            ("--port 1", "\"--port\" is not an option; a value follows its option"),
            ("--key=k", "\"--key=k\" is not an option; a value follows its option"),
            ("--key k", "--svid, --key and --bundle go together"),
            ("--issuer", "--issuer needs a value"),
            ("--issuer --audience x", "--issuer needs a value"),
            ("--audience x --audience y", "--audience is given twice"),
        ] {
            assert_eq!(serve(arguments).unwrap_err(), wrong);
        }
        assert!(serve("--listen 8443").unwrap_err().starts_with("--listen \"8443\" is not"));
        assert!(serve("--trust-domain A").unwrap_err().starts_with("--trust-domain \"A\": "));
    }
}

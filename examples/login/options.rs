//! What the command line says.

use std::net::SocketAddr;

use zt_identity::oidc::issuer::Issuer;

pub const USAGE: &str = "\
usage: login --issuer URL [--client-id ID] [--listen ADDRESS] [--url URL] [--acr VALUE]

  --issuer     the OpenID provider; plain http for one on this machine
  --client-id  the name of this application there (web)
  --listen     where to listen (127.0.0.1:8080)
  --url        where browsers find this application, when that is elsewhere: the https URL of the
               proxy in front of it
  --acr        what the provider calls a second factor (urn:example:mfa)

The secret of the client is taken from the environment, CLIENT_SECRET.";

#[derive(Debug)]
pub struct Options {
    pub issuer: Issuer,
    pub client_id: String,
    pub client_secret: Option<String>,
    pub listen: SocketAddr,
    pub url: Option<String>,
    pub acr: String,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut issuer = None;
        let mut options = Self {
            issuer: Issuer::loopback("http://localhost").map_err(|error| error.to_string())?,
            client_id: "web".into(),
            client_secret: std::env::var("CLIENT_SECRET").ok(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            url: None,
            acr: "urn:example:mfa".into(),
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
            let wrong = |error: &dyn std::fmt::Display| format!("{name} {value}: {error}");
            match &*name {
                "--issuer" => {
                    let plain = |_| Issuer::loopback(&value);
                    let parsed = Issuer::parse(&value).or_else(plain);
                    issuer = Some(parsed.map_err(|error| wrong(&error))?);
                }
                "--client-id" => options.client_id = value,
                "--listen" => options.listen = value.parse().map_err(|error| wrong(&error))?,
                "--url" => options.url = Some(value.trim_end_matches('/').to_owned()),
                "--acr" => options.acr = value,
                _ => return Err(format!("{name} is not known")),
            }
        }
        options.issuer = issuer.ok_or_else(|| "--issuer is missing".to_owned())?;
        Ok(options)
    }
}

//! What the service writes down, which is where names of policies and reasons come from: a caller
//! never learns them.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use zt_core::record::{Record, RecordSink};
use zt_core::time::{Clock, SystemClock};
use zt_tls::serve::ConnectionRefused;

use crate::show;

/// One thing that happened at the service.
#[derive(Debug)]
pub enum Seen {
    /// A request was decided, or refused.
    Record(Value),
    /// A connection was refused, for this reason.
    Refused(String),
}

impl Seen {
    /// Why it was decided so: the policies that allowed, else the answer or the reason that denied.
    pub fn why(&self) -> String {
        let record = match self {
            Self::Refused(why) => return why.clone(),
            Self::Record(record) => record,
        };
        if let Some(reason) = record["reason"].as_str() {
            return reason.replace('_', " ");
        }
        let mut policies: Vec<&str> = Vec::new();
        for subject in ["workload", "user"] {
            let answer = &record["answers"][subject];
            let policy = answer["policy"].as_str();
            if answer["effect"] == "deny" {
                return match (answer["reason"].as_str().unwrap_or_default(), policy) {
                    ("forbidden", Some(policy)) => format!("{subject}: forbidden by {policy}"),
                    ("not_permitted", _) => format!("{subject}: no policy permits it"),
                    (reason, _) => format!("{subject}: {}", reason.replace('_', " ")),
                };
            }
            policies.extend(policy);
        }
        policies.join(", ")
    }

    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Record(record) if record["effect"] == "allow")
    }

    pub fn is_refused_connection(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// The time of the day, in seconds.
    pub fn time(&self) -> String {
        let time = match self {
            Self::Record(record) => record["context"]["time"].as_str().unwrap_or_default().into(),
            Self::Refused(_) => SystemClock.now().to_string(),
        };
        time.chars().skip("2026-11-21T".len()).take("00:00:00".len()).collect()
    }

    /// What was asked for, where it came to a decision.
    pub fn request(&self) -> String {
        let Self::Record(record) = self else { return String::from("-") };
        match (record["action"].as_str(), record["resource"]["id"].as_str()) {
            (Some(action), Some(resource)) => format!("{action} {resource}"),
            _ => String::from("-"),
        }
    }

    /// Who called, as far as it was proven, and on whose behalf.
    pub fn caller(&self) -> String {
        let Self::Record(record) = self else { return String::from("nobody") };
        let workload = record["principal"]["workload"].to_string();
        let name = workload.rsplit('/').next().unwrap_or_default();
        let name: String = name.chars().take_while(|c| !"\"}".contains(*c)).collect();
        match record["principal"]["user"]["subject"].as_str() {
            Some(user) => format!("{name} for {user}"),
            None => name,
        }
    }
}

/// Sends records to whoever watches.
pub struct Watcher(pub UnboundedSender<Seen>);

impl RecordSink for Watcher {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        for record in records {
            // Nobody watches any more: the program ends.
            let _ = self.0.send(Seen::Record(serde_json::to_value(record)?));
        }
        Ok(())
    }
}

/// Sends refused connections there too.
pub fn refusals(
    to: UnboundedSender<Seen>,
) -> impl Fn(SocketAddr, &ConnectionRefused) + Send + Sync + 'static {
    move |_from, refused| {
        let _ = to.send(Seen::Refused(why_refused(refused)));
    }
}

/// The innermost reason, in few words.
fn why_refused(refused: &ConnectionRefused) -> String {
    let inner = match refused {
        ConnectionRefused::Handshake(error) => match error.refused() {
            Some(refused) => show::innermost(refused),
            None => show::innermost(error),
        },
        other => other.to_string(),
    };
    let inner = inner.replace("there is no bundle for trust domain", "no bundle for");
    inner.split(", and it is").next().unwrap_or_default().to_owned()
}

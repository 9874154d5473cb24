//! What the examples share, so that each of them shows what it is about.

pub mod client;
pub mod kept;
pub mod options;

use zt_tls::connection::HandshakeError;
use zt_tls::listen::ConnectionRefused;

/// What can go wrong goes to whoever started the program, in words.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An error and what is behind it, in one line. Some say what is behind them by themselves.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    // What rustls makes of the reason is its Debug.
    if let Some(refused) = error.downcast_ref::<ConnectionRefused>() {
        return refused.why();
    }
    if let Some(failed) = error.downcast_ref::<HandshakeError>() {
        return failed.why();
    }
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

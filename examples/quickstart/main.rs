//! The quickstart: an authority, an issuer and a service in one program, and a story that calls
//! the service over real sockets; or, with `serve`, the service alone, to be called by others.

mod issuer;
mod observe;
mod options;
mod serve;
mod service;
mod show;
mod story;

use std::process::ExitCode;

use options::Run;

pub use zt_examples::Outcome;

#[tokio::main]
async fn main() -> ExitCode {
    let run = match options::parse(std::env::args().skip(1)) {
        Ok(run) => run,
        Err(wrong) => {
            eprintln!("quickstart: {wrong}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let outcome = match run {
        Run::Help => {
            println!("{}", options::USAGE);
            Ok(true)
        }
        Run::Story => story::play().await,
        Run::Serve(options) => serve::run(*options).await.map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quickstart: {}", show::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

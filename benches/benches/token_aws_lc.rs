//! `token/*` beside `jsonwebtoken` on AWS-LC. What verifies for it is global, so this is a process of
//! its own; ours is measured here once more, in turns with it.

#[path = "all/token.rs"]
mod token;

fn main() {
    jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().expect("the first");
    zt_benches::main(token::beside_jsonwebtoken("jsonwebtoken-aws-lc"));
}

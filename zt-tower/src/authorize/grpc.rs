use http::request::Parts;
use zt_core::request::{Action, Resource};

use super::{Target, Targets};
use crate::denial::{Denial, Refusal, is_grpc};
use crate::path::NormalPath;

/// The method of a gRPC call as the action and its service as the resource:
/// `Action::"/shop.Orders/Cancel"` on `Service::"shop.Orders"`.
///
/// A request is a call when, in this order (gRPC over HTTP/2, *Requests*); what is none is 400, in
/// gRPC `INVALID_ARGUMENT`:
///
/// 1. it is a `POST` with the content type `application/grpc`, alone or followed by `+` or `;`;
/// 2. its path is a service and a method: `/` `shop.Orders` `/` `Cancel`;
/// 3. the service is a row of names with dots between them, the method one name; a name is letters,
///    digits and `_`, and does not begin with a digit, as protobuf has it.
///
/// gRPC-Web has another content type: put what translates it in front.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcTargets;

impl Targets for GrpcTargets {
    fn target(&self, parts: &Parts, path: &NormalPath<'_>) -> Result<Target, Refusal> {
        if !is_grpc(&parts.method, &parts.headers) {
            return Err(Refusal::new(Denial::NotNormal, "not_grpc"));
        }
        let service = service(path.as_str());
        let service = service.ok_or(Refusal::new(Denial::NotNormal, "grpc_method_malformed"))?;
        let action = Action::new(path.as_str());
        Ok(Target::new(action, Resource::of_kind("Service", service)))
    }
}

/// Rules 2 and 3.
fn service(path: &str) -> Option<&str> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (service.split('.').all(is_name) && is_name(method)).then_some(service)
}

fn is_name(text: &str) -> bool {
    let first_is_letter = text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    first_is_letter && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use http::{Method, Request};

    use super::*;

    fn target(method: Method, content_type: &str, path: &str) -> Result<(String, String), Refusal> {
        let request =
            Request::builder().method(method).uri(path).header(CONTENT_TYPE, content_type);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let target = GrpcTargets.target(&parts, &NormalPath::parse(path)?)?;
        Ok((target.action.to_string(), target.resource.to_string()))
    }

    #[test]
    fn a_call_is_its_method_on_its_service() {
        for (path, service) in [
            ("/shop.v1.Orders/Cancel", r#"Service::"shop.v1.Orders""#),
            ("/Orders/Cancel_2", r#"Service::"Orders""#),
        ] {
            let found = target(Method::POST, "application/grpc+proto", path).unwrap();
            assert_eq!(found, (path.into(), service.into()));
        }
    }

    #[test]
    fn what_is_no_call_has_no_target() {
        let grpc = "application/grpc";
        for (method, content_type, path) in [
            (Method::GET, grpc, "/shop.Orders/Cancel"),
            (Method::POST, "application/grpc-web", "/shop.Orders/Cancel"),
            (Method::POST, "application/json", "/shop.Orders/Cancel"),
            (Method::POST, grpc, "/"),
            (Method::POST, grpc, "/shop.Orders"),
            (Method::POST, grpc, "/shop.Orders/"),
            (Method::POST, grpc, "/shop.Orders/Cancel/"),
            (Method::POST, grpc, "/shop.Orders/Cancel/More"),
            (Method::POST, grpc, "/.Orders/Cancel"),
            (Method::POST, grpc, "/shop..Orders/Cancel"),
            (Method::POST, grpc, "/shop.Orders./Cancel"),
            (Method::POST, grpc, "/1shop.Orders/Cancel"),
            (Method::POST, grpc, "/shop.Orders/Can-cel"),
            (Method::POST, grpc, "/shop.Orders/Can%20cel"),
            (Method::POST, grpc, "/shop.Orders/Cancel;x"),
        ] {
            let refused = target(method.clone(), content_type, path).unwrap_err();
            assert_eq!(refused.denial(), &Denial::NotNormal, "{method} {content_type} {path}");
        }
    }
}

//! Those that do the same work. Each is asked once before it is measured, and has to agree.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityId, EntityTypeName, EntityUid, PolicySet,
    Request, RestrictedExpression,
};
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::vm::RegoVM;
use regorus::{Engine, Value};

use super::case::Case;

/// Cedar with everything prepared that it lets one prepare, the types of entities too.
#[derive(Clone)]
pub struct Cedar {
    authorizer: Arc<Authorizer>,
    pub policies: Arc<PolicySet>,
    pub entities: Entities,
    types: Arc<[EntityTypeName; 3]>,
    case: Case,
}

impl Cedar {
    pub fn new(case: &Case) -> Self {
        let name = |kind: &str| EntityTypeName::from_str(kind).unwrap();
        let cedar = Self {
            authorizer: Arc::new(Authorizer::new()),
            policies: Arc::new(PolicySet::from_str(&case.policies).unwrap()),
            entities: Entities::from_json_value(case.entities.clone(), None).unwrap(),
            types: Arc::new([name(&case.principal[0]), name("Action"), name(&case.resource[0])]),
            case: Case { policies: String::new(), ..case.clone() },
        };
        assert_eq!(cedar.decide(), case.is_allowed, "cedar-policy");
        cedar
    }

    /// From strings.
    pub fn request(&self) -> Request {
        let uid = |kind: &EntityTypeName, id: &str| {
            EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
        };
        let [principal, action, resource] = &*self.types;
        let context = if self.case.context.is_empty() {
            Context::empty()
        } else {
            let pairs = self.case.context.iter().map(|(name, text)| {
                ((*name).to_owned(), RestrictedExpression::new_string(text.clone()))
            });
            Context::from_pairs(pairs).unwrap()
        };
        let principal = uid(principal, &self.case.principal[1]);
        let (action, resource) =
            (uid(action, &self.case.action), uid(resource, &self.case.resource[1]));
        Request::new(principal, action, resource, context, None).unwrap()
    }

    pub fn decide(&self) -> bool {
        self.decide_over(&self.request(), &self.entities)
    }

    pub fn decide_over(&self, request: &Request, entities: &Entities) -> bool {
        let answer = self.authorizer.is_authorized(request, &self.policies, entities);
        answer.decision() == Decision::Allow
    }
}

/// Polls what never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()))
        {
            return done;
        }
    }
}

/// Decides by casbin, which takes nothing but strings.
pub fn casbin(case: &Case) -> Result<impl FnMut() -> bool + use<>, &'static str> {
    let casbin = case.casbin.clone()?;
    let roles = if casbin.roles.is_empty() { "" } else { "[role_definition]\ng = _, _\n" };
    let model = format!(
        "[request_definition]\nr = {}\n[policy_definition]\np = {}\n{roles}\
         [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = {}\n",
        casbin.request, casbin.rule, casbin.matcher
    );
    let enforcer = ready(async {
        let model = DefaultModel::from_str(&model).await.unwrap();
        let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).await.unwrap();
        enforcer.add_policies(casbin.rules).await.unwrap();
        if !casbin.roles.is_empty() {
            enforcer.add_grouping_policies(casbin.roles).await.unwrap();
        }
        enforcer
    });
    let asked = casbin.asked;
    let decide = move || enforcer.enforce(asked.clone()).unwrap();
    assert_eq!(decide(), case.is_allowed, "casbin");
    Ok(decide)
}

const RULE: &str = "data.zt.allow";

fn input(fields: &[(&'static str, String)]) -> Value {
    let fields = fields.iter().map(|(name, text)| (Value::from(*name), Value::from(text.as_str())));
    Value::from(fields.collect::<BTreeMap<_, _>>())
}

fn engine(case: &Case) -> Result<Engine, &'static str> {
    let rego = case.rego.clone()?;
    let mut engine = Engine::new();
    engine.clear_policy_length_config();
    engine.add_policy("zt.rego".into(), rego.module).unwrap();
    engine.add_data(Value::from(rego.data)).unwrap();
    Ok(engine)
}

/// Decides by the machine of regorus, from strings or from an input that exists.
pub fn machine(case: &Case, prebuilt: bool) -> Result<impl FnMut() -> bool + use<>, &'static str> {
    let rego = case.rego.clone()?;
    rego.machine?;
    let mut engine = engine(case)?;
    let compiled = engine.compile_with_entrypoint(&RULE.into()).unwrap();
    let program = Compiler::compile_from_policy(&compiled, &[RULE]).unwrap();
    let mut machine = RegoVM::new_with_policy(compiled);
    machine.load_program(program);
    machine.set_data(Value::from(rego.data)).unwrap();
    let exists = input(&rego.input);
    let mut decide = move || {
        machine.set_input(if prebuilt { exists.clone() } else { input(&rego.input) });
        machine.execute().unwrap() == Value::from(true)
    };
    assert_eq!(decide(), case.is_allowed, "regorus");
    Ok(decide)
}

/// Decides by the interpreter of regorus.
pub fn interpreter(
    case: &Case,
    prebuilt: bool,
) -> Result<impl FnMut() -> bool + use<>, &'static str> {
    let rego = case.rego.clone()?;
    let mut engine = engine(case)?;
    let exists = input(&rego.input);
    let mut decide = move || {
        engine.set_input(if prebuilt { exists.clone() } else { input(&rego.input) });
        engine.eval_rule(RULE.into()).unwrap() == Value::from(true)
    };
    assert_eq!(decide(), case.is_allowed, "regorus, interpreted");
    Ok(decide)
}

/// One look into a map of all that is allowed.
pub fn floor(case: &Case) -> Option<impl FnMut() -> bool + use<>> {
    let allowed: Vec<[&'static str; 3]> = case
        .floor
        .clone()?
        .into_iter()
        .map(|ids| ids.map(|id| -> &'static str { id.leak() }))
        .collect();
    let allowed: HashSet<[&'static str; 3], foldhash::fast::RandomState> =
        allowed.into_iter().collect();
    let asked = [&case.principal[1], &case.action, &case.resource[1]]
        .map(|id| -> &'static str { id.clone().leak() });
    assert_eq!(allowed.contains(&asked), case.is_allowed, "a hash map");
    Some(move || allowed.contains(std::hint::black_box(&asked)))
}

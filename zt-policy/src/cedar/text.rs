//! Cedar text.
//!
//! [`policies`] reads a text when, in this order:
//!
//! 1. it is at most [`MAX_LEN`] bytes long;
//! 2. it is a sequence of policies in the grammar of Cedar, whose expressions are nested at most
//!    [`MAX_DEPTH`] deep, parentheses counted;
//! 3. no name that has to be there once is there twice: an annotation of a policy, a key of a
//!    record.
//!
//! A policy with a problem does not hide the problems of those behind it.

#![expect(clippy::wildcard_enum_match_arm, reason = "a token that no arm names is unexpected")]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::MAX_LEN;
use super::lexer::{Lexer, Token, unescape, unescape_pattern};
use super::refusal::{Found, MAX_REFUSALS, NotCedar, Problem, not_cedar};
use crate::expr::{BinaryOp, CallStyle, Expr, Function, HasPath, Literal, MAX_DEPTH, Var};
use crate::name::{EntityType, EntityUid, is_reserved, is_word};
use crate::pattern::Pattern;
use crate::policy::{ActionScope, Condition, ConditionKind, Effect, Policy, Scope, Slot, Target};

/// Reads policies and templates. A policy is named by its annotation `@id("…")`, else
/// `<source>:policy<n>`, counted from 0.
///
/// # Errors
///
/// [`NotCedar`] with the problems of all policies.
///
/// ```
/// let text = r#"permit (principal, action == Action::"read", resource) when { context.mfa };"#;
/// let policies = zt_policy::cedar::text::policies("orders.cedar", text)?;
/// assert_eq!(&*policies[0].id, "orders.cedar:policy0");
///
/// let refused = zt_policy::cedar::text::policies("orders.cedar", "permit (principal);").unwrap_err();
/// assert_eq!(refused.to_string(), "orders.cedar:1:18: expected `,`, found `)`");
/// # Ok::<(), zt_policy::cedar::refusal::NotCedar>(())
/// ```
pub fn policies(source: &str, text: &str) -> Result<Vec<Policy>, NotCedar> {
    check_len(source, text)?;
    let mut parser = Parser::new(text);
    let (mut policies, mut found) = (Vec::new(), Vec::new());
    while parser.token != Token::End && found.len() < MAX_REFUSALS {
        let fallback = || format!("{source}:policy{}", policies.len());
        match parser.policy(fallback) {
            Ok(policy) => policies.push(policy),
            Err(problem) => {
                found.push(problem);
                parser.skip_policy();
            }
        }
    }
    if found.is_empty() { Ok(policies) } else { Err(not_cedar(source, text, found)) }
}

/// Reads one expression.
///
/// # Errors
///
/// [`NotCedar`] with the first problem.
pub fn expression(text: &str) -> Result<Expr, NotCedar> {
    check_len("expression", text)?;
    let mut parser = Parser::new(text);
    let parsed = parser.expr().and_then(|node| match parser.token {
        Token::End => Ok(node.expr),
        _ => Err(parser.unexpected("an operator or the end")),
    });
    parsed.map_err(|found| not_cedar("expression", text, vec![found]))
}

fn check_len(source: &str, text: &str) -> Result<(), NotCedar> {
    if text.len() <= MAX_LEN {
        return Ok(());
    }
    let problem = Problem::TooLong { len: text.len(), limit: MAX_LEN };
    Err(not_cedar(source, text, vec![Found::new(0, problem)]))
}

type Parsed<T> = Result<T, Found>;

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The token that is next, and where it begins.
    token: Token<'t>,
    at: usize,
    /// How many expressions the next token lies in.
    nesting: usize,
}

/// An expression and how deep it is.
struct Node {
    expr: Expr,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        let mut lexer = Lexer::new(text);
        let (at, token) = lexer.next();
        Self { lexer, token, at, nesting: 0 }
    }

    // Tokens.

    fn advance(&mut self) -> Token<'t> {
        let (at, token) = self.lexer.next();
        self.at = at;
        std::mem::replace(&mut self.token, token)
    }

    fn is(&self, mark: &str) -> bool {
        matches!(self.token, Token::Mark(found) if found == mark)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.token, Token::Word(found) if found == word)
    }

    fn eat(&mut self, mark: &str) -> bool {
        let eats = self.is(mark);
        if eats {
            self.advance();
        }
        eats
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let eats = self.is_word(word);
        if eats {
            self.advance();
        }
        eats
    }

    fn expect(&mut self, mark: &str) -> Parsed<()> {
        if self.eat(mark) { Ok(()) } else { Err(self.unexpected(&format!("`{mark}`"))) }
    }

    fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.eat_word(word) { Ok(()) } else { Err(self.unexpected(&format!("`{word}`"))) }
    }

    fn unexpected(&self, expected: &str) -> Found {
        let problem = match &self.token {
            Token::Bad(problem) => problem.clone(),
            found => Problem::expected(expected, &found.shown()),
        };
        Found::new(self.at, problem)
    }

    /// Any word, reserved or not.
    fn word(&mut self, expected: &str) -> Parsed<&'t str> {
        let Token::Word(word) = self.token else {
            return Err(self.unexpected(expected));
        };
        if !is_word(word) {
            return Err(self.unexpected(expected));
        }
        self.advance();
        Ok(word)
    }

    fn identifier(&mut self, expected: &str) -> Parsed<&'t str> {
        let at = self.at;
        let word = self.word(expected)?;
        if is_reserved(word) {
            return Err(Found::new(at, Problem::Reserved { word: word.into() }));
        }
        Ok(word)
    }

    fn string(&mut self, expected: &str) -> Parsed<Arc<str>> {
        let Token::Text(raw) = self.token else {
            return Err(self.unexpected(expected));
        };
        let text = unescape(raw).map_err(|problem| Found::new(self.at, problem))?;
        self.advance();
        Ok(text.into())
    }

    /// Up to the end of this policy: `;` stands nowhere else.
    fn skip_policy(&mut self) {
        while self.token != Token::End && !self.eat(";") {
            self.advance();
        }
        self.nesting = 0;
    }

    // Policies.

    fn policy(&mut self, fallback_id: impl FnOnce() -> String) -> Parsed<Policy> {
        let annotations = self.annotations()?;
        let effect = self.effect()?;
        self.expect("(")?;
        let principal = self.scope(Var::Principal, Slot::Principal)?;
        self.expect(",")?;
        let action = self.action_scope()?;
        self.expect(",")?;
        let resource = self.scope(Var::Resource, Slot::Resource)?;
        self.eat(",");
        self.expect(")")?;
        let mut conditions = Vec::new();
        while !self.eat(";") {
            conditions.push(self.condition()?);
        }
        let named = annotations.get("id").cloned().flatten();
        let id = named.unwrap_or_else(|| fallback_id().into());
        Ok(Policy { id, effect, annotations, principal, action, resource, conditions })
    }

    fn annotations(&mut self) -> Parsed<BTreeMap<Arc<str>, Option<Arc<str>>>> {
        let mut annotations = BTreeMap::new();
        while self.eat("@") {
            let at = self.at;
            let name = self.word("the name of an annotation")?;
            let value = if self.eat("(") {
                let value = self.string("the value of the annotation, a string")?;
                self.expect(")")?;
                Some(value)
            } else {
                None
            };
            if annotations.insert(Arc::from(name), value).is_some() {
                return Err(Found::new(at, duplicate("annotation", name)));
            }
        }
        Ok(annotations)
    }

    fn effect(&mut self) -> Parsed<Effect> {
        for effect in [Effect::Permit, Effect::Forbid] {
            if self.eat_word(&effect.to_string()) {
                return Ok(effect);
            }
        }
        Err(self.unexpected("`permit`, `forbid` or an annotation"))
    }

    fn scope(&mut self, var: Var, slot: Slot) -> Parsed<Scope> {
        self.expect_word(var.name())?;
        if self.eat("==") {
            return self.target(slot).map(Scope::Eq);
        }
        if self.eat_word("in") {
            return self.target(slot).map(Scope::In);
        }
        if self.eat_word("is") {
            let kind = self.entity_type()?;
            return Ok(if self.eat_word("in") {
                Scope::IsIn(kind, self.target(slot)?)
            } else {
                Scope::Is(kind)
            });
        }
        self.no_type_constraint()?;
        Ok(Scope::Any)
    }

    fn no_type_constraint(&self) -> Parsed<()> {
        if !self.is(":") {
            return Ok(());
        }
        let node = String::from("a type constraint with `:`; write `is`");
        Err(Found::new(self.at, Problem::Unsupported { node }))
    }

    fn target(&mut self, slot: Slot) -> Parsed<Target> {
        self.in_parentheses(|parser| match parser.token {
            Token::Slot(found) if found == slot.to_string() => {
                parser.advance();
                Ok(Target::Slot)
            }
            _ => parser.entity().map(Target::Entity),
        })
    }

    fn action_scope(&mut self) -> Parsed<ActionScope> {
        self.expect_word(Var::Action.name())?;
        if self.eat("==") {
            return self.in_parentheses(Self::action).map(ActionScope::Eq);
        }
        if self.eat_word("in") {
            return self.in_parentheses(|parser| {
                if !parser.eat("[") {
                    return parser.action().map(ActionScope::In);
                }
                let item = |parser: &mut Self| parser.in_parentheses(Self::action);
                parser.list("]", item).map(ActionScope::in_any)
            });
        }
        if self.is_word("is") {
            let node = String::from("`is` for actions");
            return Err(Found::new(self.at, Problem::Unsupported { node }));
        }
        self.no_type_constraint()?;
        Ok(ActionScope::Any)
    }

    fn action(&mut self) -> Parsed<EntityUid> {
        let at = self.at;
        let entity = self.entity()?;
        check_action(&entity).map_err(|problem| Found::new(at, problem))?;
        Ok(entity)
    }

    /// Something between any number of parentheses.
    fn in_parentheses<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let mut open: usize = 0;
        while self.eat("(") {
            open = open.saturating_add(1);
        }
        let value = inner(self)?;
        for _ in 0..open {
            self.expect(")")?;
        }
        Ok(value)
    }

    fn condition(&mut self) -> Parsed<Condition> {
        let kind = if self.eat_word("when") {
            ConditionKind::When
        } else if self.eat_word("unless") {
            ConditionKind::Unless
        } else {
            return Err(self.unexpected("`when`, `unless` or `;`"));
        };
        self.expect("{")?;
        let body = self.expr()?.expr;
        self.expect("}")?;
        Ok(Condition { kind, body })
    }

    // Names.

    /// Identifiers joined by `::`, and the ID where one follows.
    fn path(&mut self, expected: &str) -> Parsed<(String, Option<Arc<str>>)> {
        let mut path = String::from(self.identifier(expected)?);
        while self.eat("::") {
            if matches!(self.token, Token::Text(_)) {
                return Ok((path, Some(self.string("the ID of an entity")?)));
            }
            if self.is("{") {
                let node = String::from("an entity with a record as its ID");
                return Err(Found::new(self.at, Problem::Unsupported { node }));
            }
            path.push_str("::");
            path.push_str(self.identifier("an identifier or the ID of an entity, a string")?);
        }
        Ok((path, None))
    }

    fn entity_type(&mut self) -> Parsed<EntityType> {
        let at = self.at;
        let (path, id) = self.path("the name of an entity type")?;
        if id.is_some() {
            let problem = Problem::expected("the name of an entity type", "an entity");
            return Err(Found::new(at, problem));
        }
        EntityType::parse(&path).map_err(|problem| Found::new(at, problem))
    }

    fn entity(&mut self) -> Parsed<EntityUid> {
        if let Token::Slot(slot) = self.token {
            return Err(Found::new(self.at, Problem::MisplacedSlot { slot: slot.into() }));
        }
        let at = self.at;
        let (path, id) = self.path("an entity")?;
        let id = id.ok_or_else(|| self.unexpected("`::` and the ID of an entity"))?;
        let kind = EntityType::parse(&path).map_err(|problem| Found::new(at, problem))?;
        Ok(EntityUid::new(kind, id))
    }

    // Expressions, from the weakest operator to the strongest. All recursion goes through `expr`.

    fn expr(&mut self) -> Parsed<Node> {
        if self.nesting >= MAX_DEPTH {
            return Err(too_deep(self.at));
        }
        self.nesting = self.nesting.saturating_add(1);
        let parsed = if self.is_word("if") { self.if_expr() } else { self.or() };
        self.nesting = self.nesting.saturating_sub(1);
        parsed
    }

    fn if_expr(&mut self) -> Parsed<Node> {
        let at = self.at;
        self.expect_word("if")?;
        let test = self.expr()?;
        self.expect_word("then")?;
        let then = self.expr()?;
        self.expect_word("else")?;
        let otherwise = self.expr()?;
        let depth = test.depth.max(then.depth).max(otherwise.depth);
        let [test, then, otherwise] = [test, then, otherwise].map(|node| Box::new(node.expr));
        self.node(at, depth, Expr::If { test, then, otherwise })
    }

    fn or(&mut self) -> Parsed<Node> {
        let at = self.at;
        let mut left = self.and()?;
        while self.eat("||") {
            let is_flat = matches!(left.expr, Expr::Or(_));
            let right = self.and()?;
            left = self.chain(at, is_flat, left, right, Expr::or)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed<Node> {
        let at = self.at;
        let mut left = self.relation()?;
        while self.eat("&&") {
            let is_flat = matches!(left.expr, Expr::And(_));
            let right = self.relation()?;
            left = self.chain(at, is_flat, left, right, Expr::and)?;
        }
        Ok(left)
    }

    fn chain(
        &self,
        at: usize,
        is_flat: bool,
        left: Node,
        right: Node,
        join: fn(Expr, Expr) -> Expr,
    ) -> Parsed<Node> {
        let left_depth = if is_flat { left.depth.saturating_sub(1) } else { left.depth };
        self.node(at, left_depth.max(right.depth), join(left.expr, right.expr))
    }

    fn relation(&mut self) -> Parsed<Node> {
        let at = self.at;
        let left = self.sum()?;
        let related = match self.token {
            Token::Word("has") => self.has(at, left)?,
            Token::Word("like") => self.like(at, left)?,
            Token::Word("is") => self.is_expr(at, left)?,
            _ => match self.relation_op() {
                Some(op) => {
                    self.advance();
                    let right = self.sum()?;
                    self.binary(at, op, left, right)?
                }
                None => return Ok(left),
            },
        };
        let chained = matches!(self.token, Token::Word("has" | "like" | "is"));
        if chained || self.relation_op().is_some() {
            return Err(self.unexpected("parentheses around one of two comparisons"));
        }
        Ok(related)
    }

    fn relation_op(&self) -> Option<BinaryOp> {
        match self.token {
            Token::Mark(mark @ ("==" | "!=" | "<" | "<=" | ">" | ">=")) => {
                BinaryOp::from_name(mark)
            }
            Token::Word("in") => Some(BinaryOp::In),
            _ => None,
        }
    }

    fn has(&mut self, at: usize, of: Node) -> Parsed<Node> {
        self.expect_word("has")?;
        let path = if matches!(self.token, Token::Text(_)) {
            HasPath::Name(self.string("the name of an attribute")?)
        } else {
            let first = self.identifier("the name of an attribute")?;
            let mut names = vec![Arc::from(first)];
            while self.eat(".") {
                names.push(Arc::from(self.identifier("the name of an attribute")?));
            }
            if names.len() == 1 { HasPath::Name(first.into()) } else { HasPath::Chain(names) }
        };
        self.node(at, of.depth, Expr::Has { of: Box::new(of.expr), path })
    }

    fn like(&mut self, at: usize, text: Node) -> Parsed<Node> {
        self.expect_word("like")?;
        let Token::Text(raw) = self.token else {
            return Err(self.unexpected("a pattern, a string"));
        };
        let elements = unescape_pattern(raw).map_err(|problem| Found::new(self.at, problem))?;
        self.advance();
        let pattern = Pattern::new(elements);
        self.node(at, text.depth, Expr::Like { text: Box::new(text.expr), pattern })
    }

    fn is_expr(&mut self, at: usize, entity: Node) -> Parsed<Node> {
        self.expect_word("is")?;
        let kind = self.entity_type()?;
        let within = if self.eat_word("in") { Some(self.sum()?) } else { None };
        let depth = within.as_ref().map_or(0, |node| node.depth).max(entity.depth);
        let within = within.map(|node| Box::new(node.expr));
        self.node(at, depth, Expr::Is { entity: Box::new(entity.expr), kind, within })
    }

    fn sum(&mut self) -> Parsed<Node> {
        let at = self.at;
        let mut left = self.product()?;
        loop {
            let op = match self.token {
                Token::Mark("+") => BinaryOp::Add,
                Token::Mark("-") => BinaryOp::Sub,
                _ => return Ok(left),
            };
            self.advance();
            let right = self.product()?;
            left = self.binary(at, op, left, right)?;
        }
    }

    fn product(&mut self) -> Parsed<Node> {
        let at = self.at;
        let mut left = self.unary()?;
        while self.eat("*") {
            let right = self.unary()?;
            left = self.binary(at, BinaryOp::Mul, left, right)?;
        }
        if self.is("/") {
            let node = String::from("division");
            return Err(Found::new(self.at, Problem::Unsupported { node }));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Node> {
        let at = self.at;
        let bangs = self.repeated("!")?;
        if bangs > 0 {
            let operand = self.member()?;
            return self.wrap(at, bangs, operand, Expr::Not);
        }
        let dashes = self.repeated("-")?;
        let Token::Number(digits) = self.token else {
            let operand = self.member()?;
            return self.wrap(at, dashes, operand, Expr::Neg);
        };
        let digits_at = self.at;
        self.advance();
        let is_member = self.is(".") || self.is("[");
        if dashes == 0 || is_member {
            let number = self.number(digits_at, digits, 1)?;
            let operand = self.accesses(at, number)?;
            return self.wrap(at, dashes, operand, Expr::Neg);
        }
        // The last `-` belongs to the number: only so can the least one be written.
        let number = self.number(digits_at, digits, -1)?;
        self.wrap(at, dashes.saturating_sub(1), number, Expr::Neg)
    }

    /// How often the mark stands here: four times at most.
    fn repeated(&mut self, mark: &str) -> Parsed<usize> {
        let mut times: usize = 0;
        while self.is(mark) {
            if times == 4 {
                let node = format!("`{mark}` more than four times in a row");
                return Err(Found::new(self.at, Problem::Unsupported { node }));
            }
            self.advance();
            times = times.saturating_add(1);
        }
        Ok(times)
    }

    fn wrap(
        &self,
        at: usize,
        times: usize,
        mut node: Node,
        with: fn(Box<Expr>) -> Expr,
    ) -> Parsed<Node> {
        for _ in 0..times {
            node = self.node(at, node.depth, with(Box::new(node.expr)))?;
        }
        Ok(node)
    }

    fn number(&self, at: usize, digits: &str, sign: i128) -> Parsed<Node> {
        let value = digits.parse::<u64>().ok().and_then(|number| {
            i128::from(number).checked_mul(sign).and_then(|number| i64::try_from(number).ok())
        });
        let number = digits.chars().take(40).collect();
        let value = value.ok_or_else(|| Found::new(at, Problem::NumberTooLarge { number }))?;
        self.node(at, 0, Expr::Literal(Literal::Long(value)))
    }

    fn member(&mut self) -> Parsed<Node> {
        let at = self.at;
        let primary = self.primary()?;
        self.accesses(at, primary)
    }

    fn accesses(&mut self, at: usize, mut node: Node) -> Parsed<Node> {
        loop {
            if self.eat(".") {
                let name_at = self.at;
                let name = self.identifier("the name of an attribute or a method")?;
                node = if self.eat("(") {
                    let arguments = self.list(")", Self::expr)?;
                    self.method(at, name_at, name, node, arguments)?
                } else {
                    let of = Box::new(node.expr);
                    self.node(at, node.depth, Expr::Attribute { of, name: name.into() })?
                };
            } else if self.eat("[") {
                let name = self.string("the name of an attribute, a string")?;
                self.expect("]")?;
                let of = Box::new(node.expr);
                node = self.node(at, node.depth, Expr::Attribute { of, name })?;
            } else {
                return Ok(node);
            }
        }
    }

    fn method(
        &self,
        at: usize,
        name_at: usize,
        name: &str,
        receiver: Node,
        arguments: Vec<Node>,
    ) -> Parsed<Node> {
        let depth = depth_of(&arguments).max(receiver.depth);
        let receiver = receiver.expr;
        let found = arguments.len();
        let mut arguments = arguments.into_iter().map(|node| node.expr);
        let function = Function::from_name(name).filter(|f| f.style() == CallStyle::Method);
        if let Some(function) = function {
            let all = std::iter::once(receiver).chain(arguments).collect();
            return self.node(at, depth, Expr::Call(function, all));
        }
        let arity =
            |name, expected| Err(Found::new(name_at, Problem::Arity { name, expected, found }));
        if name == "isEmpty" {
            if found != 0 {
                return arity("isEmpty", 0);
            }
            return self.node(at, depth, Expr::IsEmpty(Box::new(receiver)));
        }
        let Some(op) = BinaryOp::from_name(name) else {
            let problem = Problem::UnknownFunction { style: "method", name: name.into() };
            return Err(Found::new(name_at, problem));
        };
        match (arguments.next(), arguments.next()) {
            (Some(argument), None) => {
                self.node(at, depth, Expr::Binary(op, Box::new(receiver), Box::new(argument)))
            }
            _ => arity(op.name(), 1),
        }
    }

    fn primary(&mut self) -> Parsed<Node> {
        let at = self.at;
        match self.token {
            Token::Text(_) => {
                let text = self.string("a string")?;
                self.node(at, 0, Expr::Literal(Literal::String(text)))
            }
            Token::Number(digits) => {
                self.advance();
                self.number(at, digits, 1)
            }
            Token::Mark("(") => {
                self.advance();
                let inner = self.expr()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Mark("[") => {
                self.advance();
                let members = self.list("]", Self::expr)?;
                let depth = depth_of(&members);
                let members = members.into_iter().map(|node| node.expr).collect();
                self.node(at, depth, Expr::Set(members))
            }
            Token::Mark("{") => self.record(at),
            Token::Word("true" | "false") => {
                let value = self.is_word("true");
                self.advance();
                self.node(at, 0, Expr::Literal(Literal::Bool(value)))
            }
            Token::Word("if") => {
                Err(Found::new(at, Problem::expected("parentheses around `if`", "`if`")))
            }
            Token::Word(_) => self.named(at),
            Token::Slot(slot) => Err(Found::new(at, Problem::MisplacedSlot { slot: slot.into() })),
            _ => Err(self.unexpected("an expression")),
        }
    }

    /// An entity, a function call or a variable.
    fn named(&mut self, at: usize) -> Parsed<Node> {
        let (path, id) = self.path("an expression")?;
        if let Some(id) = id {
            let kind = EntityType::parse(&path).map_err(|problem| Found::new(at, problem))?;
            let entity = EntityUid::new(kind, id);
            return self.node(at, 0, Expr::Literal(Literal::Entity(entity)));
        }
        if self.eat("(") {
            let function = Function::from_name(&path).filter(|f| f.style() == CallStyle::Function);
            let problem = Problem::UnknownFunction { style: "function", name: path };
            let function = function.ok_or_else(|| Found::new(at, problem))?;
            let arguments = self.list(")", Self::expr)?;
            let depth = depth_of(&arguments);
            let arguments = arguments.into_iter().map(|node| node.expr).collect();
            return self.node(at, depth, Expr::Call(function, arguments));
        }
        match Var::from_name(&path) {
            Some(var) => self.node(at, 0, Expr::Var(var)),
            None => Err(Found::new(at, Problem::UnknownVariable { name: path })),
        }
    }

    fn record(&mut self, at: usize) -> Parsed<Node> {
        self.expect("{")?;
        let fields = self.list("}", |parser| {
            let key_at = parser.at;
            let key = if matches!(parser.token, Token::Text(_)) {
                parser.string("a key")?
            } else {
                parser.identifier("a key: an identifier or a string")?.into()
            };
            parser.expect(":")?;
            Ok((key_at, key, parser.expr()?))
        })?;
        let depth = fields.iter().map(|(_, _, node)| node.depth).max().unwrap_or(0);
        let mut record = BTreeMap::new();
        for (key_at, key, node) in fields {
            if record.insert(key.clone(), node.expr).is_some() {
                return Err(Found::new(key_at, duplicate("key", &key)));
            }
        }
        self.node(at, depth, Expr::Record(record))
    }

    /// Items with commas between them, up to the mark that ends them. One more comma may stand
    /// before it.
    fn list<T>(
        &mut self,
        end: &str,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        while !self.eat(end) {
            items.push(item(self)?);
            if !self.eat(",") && !self.is(end) {
                return Err(self.unexpected(&format!("`,` or `{end}`")));
            }
        }
        Ok(items)
    }

    fn binary(&self, at: usize, op: BinaryOp, left: Node, right: Node) -> Parsed<Node> {
        let depth = left.depth.max(right.depth);
        self.node(at, depth, Expr::Binary(op, Box::new(left.expr), Box::new(right.expr)))
    }

    /// An expression whose deepest part is `depth` deep.
    fn node(&self, at: usize, depth: usize, expr: Expr) -> Parsed<Node> {
        if depth >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        Ok(Node { expr, depth: depth.saturating_add(1) })
    }
}

fn too_deep(at: usize) -> Found {
    Found::new(at, Problem::TooDeep { limit: MAX_DEPTH })
}

fn depth_of(nodes: &[Node]) -> usize {
    nodes.iter().map(|node| node.depth).max().unwrap_or(0)
}

fn duplicate(what: &'static str, name: &str) -> Problem {
    Problem::Duplicate { what, name: name.into() }
}

/// An action in a scope has the type `Action`, in any namespace.
pub(super) fn check_action(entity: &EntityUid) -> Result<(), Problem> {
    if entity.kind().basename() == "Action" {
        return Ok(());
    }
    Err(Problem::NotAnAction { entity: entity.to_string() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        policies("p", text).unwrap_err().to_string()
    }

    fn refused_expression(text: &str) -> Problem {
        expression(text).map(drop).unwrap_err().refusals.remove(0).problem
    }

    #[test]
    fn a_policy_is_named_by_its_annotation_or_its_place() {
        let text = r#"
            permit (principal, action, resource);
            @id("second") @note forbid (principal, action, resource);
            permit (principal, action, resource,);
        "#;
        let read = policies("a.cedar", text).unwrap();
        let ids: Vec<&str> = read.iter().map(|policy| &*policy.id).collect();
        assert_eq!(ids, ["a.cedar:policy0", "second", "a.cedar:policy2"]);
        assert_eq!(read[1].annotations["note"], None);
    }

    #[test]
    fn every_scope_is_read() {
        let text = r#"forbid (
            principal is Shop::User in ?principal,
            action in [Action::"a", (Shop::Action::"b"),],
            resource == (Shop::Order::"1")
        ) when { true } unless { false };"#;
        let read = policies("p", text).unwrap().remove(0);
        assert!(
            matches!(&read.principal, Scope::IsIn(kind, Target::Slot) if kind.as_str() == "Shop::User")
        );
        assert!(matches!(&read.action, ActionScope::InAny(actions) if actions.len() == 2));
        assert!(matches!(&read.resource, Scope::Eq(Target::Entity(uid)) if uid.id() == "1"));
        assert_eq!(read.conditions.len(), 2);
        assert!(read.is_template());
    }

    #[test]
    fn every_problem_is_reported_with_its_place() {
        let text = "permit (principal);\n\npermit (principal, action, resource);\n\
                    forbid (principal, action, resource) when { principl.x };\n  allow ();";
        assert_eq!(
            refused(text),
            "p:1:18: expected `,`, found `)`\n\
             p:4:45: there is no variable \"principl\"; a type is followed by `::\"id\"`\n\
             p:5:3: expected `permit`, `forbid` or an annotation, found \"allow\""
        );
    }

    #[test]
    fn a_policy_has_its_parts_in_order() {
        for (text, expected) in [
            (
                "permit (action, principal, resource);",
                "p:1:9: expected `principal`, found \"action\"",
            ),
            (
                "permit (principal, action, resource)",
                "p:1:37: expected `when`, `unless` or `;`, found the end",
            ),
            (
                "permit (principal, action, resource) where { true };",
                "p:1:38: expected `when`, `unless` or `;`, found \"where\"",
            ),
            (
                "permit (principal, action, resource) when { };",
                "p:1:45: expected an expression, found `}`",
            ),
            (
                "permit (principal : User, action, resource);",
                "p:1:19: a type constraint with `:`; write `is` is not supported",
            ),
            (
                "permit (principal, action is Action, resource);",
                "p:1:27: `is` for actions is not supported",
            ),
            (
                "permit (principal in [User::\"a\"], action, resource);",
                "p:1:22: expected an entity, found `[`",
            ),
            (
                "permit (principal, action == User::\"a\", resource);",
                "p:1:30: User::\"a\" is not an action: its type has to be `Action`, in any namespace",
            ),
            (
                "permit (principal == ?resource, action, resource);",
                "p:1:22: ?resource cannot stand here",
            ),
            (
                "permit (principal, action == ?action, resource);",
                "p:1:30: ?action cannot stand here",
            ),
            (
                "permit (principal, action, resource) when { principal == ?principal };",
                "p:1:58: ?principal cannot stand here",
            ),
            (
                "@id(\"a\") @id(\"b\") permit (principal, action, resource);",
                "p:1:11: annotation \"id\" is there twice",
            ),
            (
                "permit (principal == User, action, resource);",
                "p:1:26: expected `::` and the ID of an entity, found `,`",
            ),
        ] {
            assert_eq!(refused(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cedar_has_no_meaning_for_is_refused() {
        for text in ["1 / 2", "1 % 2", "!!!!!true", "-----5", "a::{b: 1}", "1 # 2", "?principal"] {
            let problem = refused_expression(text);
            let named =
                matches!(problem, Problem::Unsupported { .. } | Problem::MisplacedSlot { .. });
            assert!(named, "{text}: {problem}");
        }
        for text in
            ["1 == 2 == 3", "a < b in c", "principal has x == true", "!-1", "1 +", "[1", "x = 1"]
        {
            expression(text).map(drop).unwrap_err();
        }
        for text in ["foo(1)", "context.foo(1)", "context.ip()", "isIpv4(context)", "a::ip(\"\")"] {
            let problem = refused_expression(text);
            assert!(matches!(problem, Problem::UnknownFunction { .. }), "{text}: {problem}");
        }
        for text in ["[].isEmpty(1)", "[].contains()", "[].contains(1, 2)"] {
            assert!(matches!(refused_expression(text), Problem::Arity { .. }), "{text}");
        }
        for text in ["{a: 1, a: 2}", "{a: 1, \"a\": 2}"] {
            assert!(matches!(refused_expression(text), Problem::Duplicate { .. }), "{text}");
        }
    }

    #[test]
    fn reserved_words_are_names_only_in_quotes() {
        for word in ["true", "false", "if", "then", "else", "in", "like", "has", "is", "__cedar"] {
            for text in [
                format!("principal.{word}"),
                format!("principal has {word}"),
                format!("principal has a.{word}"),
                format!("{{ {word}: 1 }}"),
                format!("foo::{word}::\"bar\""),
                format!("principal is {word}::foo"),
                format!("context.{word}(1)"),
            ] {
                let problem = refused_expression(&text);
                assert!(matches!(problem, Problem::Reserved { .. }), "{text}: {problem}");
            }
            for text in [
                format!("principal[\"{word}\"]"),
                format!("principal has \"{word}\""),
                format!("{{ \"{word}\": 1 }}"),
            ] {
                expression(&text).unwrap();
            }
            let annotated = format!("@{word}(\"\") permit (principal, action, resource);");
            policies("p", &annotated).unwrap();
        }
        for word in ["principal", "action", "context", "permit", "when"] {
            for text in [
                format!("{{ {word}: 1 }}"),
                format!("foo::{word}::\"\""),
                format!("context has {word}"),
            ] {
                expression(&text).unwrap();
            }
        }
    }

    #[test]
    fn a_number_and_its_sign_fit_into_64_bits() {
        assert_eq!(
            expression("-9223372036854775808").unwrap(),
            Expr::Literal(Literal::Long(i64::MIN))
        );
        assert_eq!(expression("007").unwrap(), Expr::Literal(Literal::Long(7)));
        assert!(matches!(expression("--1").unwrap(), Expr::Neg(_)));
        for text in [
            "9223372036854775808",
            "-9223372036854775809",
            "-9223372036854775808.x",
            "99999999999999999999",
        ] {
            assert!(matches!(refused_expression(text), Problem::NumberTooLarge { .. }), "{text}");
        }
    }

    #[test]
    fn nesting_is_refused_beyond_the_limit_and_not_below() {
        let limit = Problem::TooDeep { limit: MAX_DEPTH };
        let parentheses = |n| format!("{}true{}", "(".repeat(n), ")".repeat(n));
        expression(&parentheses(MAX_DEPTH - 1)).unwrap();
        assert_eq!(refused_expression(&parentheses(MAX_DEPTH)), limit);
        assert_eq!(refused_expression(&parentheses(100_000)), limit);
        let members = |n| format!("context{}", ".a".repeat(n));
        expression(&members(MAX_DEPTH - 1)).unwrap();
        assert_eq!(refused_expression(&members(MAX_DEPTH)), limit);
        assert_eq!(refused_expression(&members(100_000)), limit);
        let sums = |n| format!("1{}", " + 1".repeat(n));
        expression(&sums(MAX_DEPTH - 1)).unwrap();
        assert_eq!(refused_expression(&sums(MAX_DEPTH)), limit);
        let alternate = "(true || false && 1 < 2 + 3 * -[".repeat(10_000);
        assert_eq!(refused_expression(&alternate), limit);
    }

    #[test]
    fn a_long_chain_of_ands_or_ors_is_not_deep() {
        let text = format!(
            "{} || {}",
            vec!["true && 1 == 1"; 20_000].join(" && "),
            vec!["(false)"; 20_000].join(" || ")
        );
        let Expr::Or(any) = expression(&text).unwrap() else { panic!() };
        assert_eq!(any.len(), 20_001);
    }

    #[test]
    fn a_text_beyond_the_limit_is_refused() {
        let text = " ".repeat(MAX_LEN + 1);
        assert_eq!(
            refused(&text),
            "p:1:1: it has 33554433 bytes, and 33554432 are the most that are read"
        );
    }

    #[test]
    fn the_deepest_text_fits_into_the_stack_of_a_thread_of_a_debug_build() {
        let deep = "true || false && 1 < 2 + 3 * -[".repeat(MAX_DEPTH - 1) + "1";
        let read = move || expression(&deep).map(drop).unwrap_err();
        std::thread::Builder::new().stack_size(1536 * 1024).spawn(read).unwrap().join().unwrap();
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = policies("p", &text);
            let _ = expression(&text);
        }

        #[test]
        fn any_tokens_are_read_or_refused(
            tokens in proptest::collection::vec(
                proptest::sample::select(vec![
                    "permit", "forbid", "(", ")", "principal", "action", "resource", ",", ";", "when",
                    "unless", "{", "}", "[", "]", "==", "in", "is", "has", "like", "&&", "||", "!", "-",
                    "+", "*", "<", "::", ":", ".", "\"a\"", "\"*\\*\"", "User", "1", "if", "then", "else",
                    "?principal", "@", "contains", "ip", "true", "context",
                ]),
                0..60,
            ),
        ) {
            let text = tokens.join(" ");
            let _ = policies("p", &text);
            let _ = expression(&text);
        }
    }
}

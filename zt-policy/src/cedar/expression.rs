//! The grammar of expressions.

#![expect(clippy::wildcard_enum_match_arm, reason = "a token that no arm names is unexpected")]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lexer::{Token, unescape_pattern};
use super::parser::{Parsed, Parser, duplicate};
use super::refusal::{Found, Problem};
use crate::expr::{BinaryOp, CallStyle, Expr, Function, HasPath, Literal, MAX_DEPTH, Var};
use crate::name::{EntityType, EntityUid};
use crate::pattern::Pattern;

/// An expression and how deep it is.
pub(super) struct Node {
    pub(super) expr: Expr,
    depth: usize,
}

/// From the weakest operator to the strongest. All recursion goes through `expr`.
impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Parsed<Node> {
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

#[cfg(test)]
mod tests {
    use super::super::text::{expression, policies};
    use super::*;

    fn refused_expression(text: &str) -> Problem {
        expression(text).map(drop).unwrap_err().refusals.remove(0).problem
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
    fn the_deepest_text_fits_into_the_stack_of_a_thread_of_a_debug_build() {
        let deep = "true || false && 1 < 2 + 3 * -[".repeat(MAX_DEPTH - 1) + "1";
        let read = move || expression(&deep).map(drop).unwrap_err();
        std::thread::Builder::new().stack_size(1536 * 1024).spawn(read).unwrap().join().unwrap();
    }
}

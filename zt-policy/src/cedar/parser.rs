//! What both grammars of Cedar text, policies and expressions, are read with.

use std::sync::Arc;

use super::lexer::{Lexer, Token, unescape};
use super::refusal::{Found, Problem};
use crate::name::{EntityType, EntityUid, is_reserved, is_word};

pub(super) type Parsed<T> = Result<T, Found>;

pub(super) struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The token that is next, and where it begins.
    pub(super) token: Token<'t>,
    pub(super) at: usize,
    /// How many expressions the next token lies in.
    pub(super) nesting: usize,
}

impl<'t> Parser<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let mut lexer = Lexer::new(text);
        let (at, token) = lexer.next();
        Self { lexer, token, at, nesting: 0 }
    }

    pub(super) fn advance(&mut self) -> Token<'t> {
        let (at, token) = self.lexer.next();
        self.at = at;
        std::mem::replace(&mut self.token, token)
    }

    pub(super) fn is(&self, mark: &str) -> bool {
        matches!(self.token, Token::Mark(found) if found == mark)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.token, Token::Word(found) if found == word)
    }

    pub(super) fn eat(&mut self, mark: &str) -> bool {
        let eats = self.is(mark);
        if eats {
            self.advance();
        }
        eats
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let eats = self.is_word(word);
        if eats {
            self.advance();
        }
        eats
    }

    pub(super) fn expect(&mut self, mark: &str) -> Parsed<()> {
        if self.eat(mark) { Ok(()) } else { Err(self.unexpected(&format!("`{mark}`"))) }
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.eat_word(word) { Ok(()) } else { Err(self.unexpected(&format!("`{word}`"))) }
    }

    pub(super) fn unexpected(&self, expected: &str) -> Found {
        let problem = if let Token::Bad(problem) = &self.token {
            problem.clone()
        } else {
            Problem::expected(expected, &self.token.shown())
        };
        Found::new(self.at, problem)
    }

    /// Any word, reserved or not.
    pub(super) fn word(&mut self, expected: &str) -> Parsed<&'t str> {
        let Token::Word(word) = self.token else {
            return Err(self.unexpected(expected));
        };
        if !is_word(word) {
            return Err(self.unexpected(expected));
        }
        self.advance();
        Ok(word)
    }

    pub(super) fn identifier(&mut self, expected: &str) -> Parsed<&'t str> {
        let at = self.at;
        let word = self.word(expected)?;
        if is_reserved(word) {
            return Err(Found::new(at, Problem::Reserved { word: word.into() }));
        }
        Ok(word)
    }

    pub(super) fn string(&mut self, expected: &str) -> Parsed<Arc<str>> {
        let Token::Text(raw) = self.token else {
            return Err(self.unexpected(expected));
        };
        let text = unescape(raw).map_err(|problem| Found::new(self.at, problem))?;
        self.advance();
        Ok(text.into())
    }

    /// Up to the end of this policy: `;` stands nowhere else.
    pub(super) fn skip_policy(&mut self) {
        while self.token != Token::End && !self.eat(";") {
            self.advance();
        }
        self.nesting = 0;
    }

    /// Items with commas between them, up to the mark that ends them. One more comma may stand
    /// before it.
    pub(super) fn list<T>(
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

    /// Something between any number of parentheses.
    pub(super) fn in_parentheses<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Parsed<T>,
    ) -> Parsed<T> {
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

    /// Identifiers joined by `::`, and the ID where one follows.
    pub(super) fn path(&mut self, expected: &str) -> Parsed<(String, Option<Arc<str>>)> {
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

    pub(super) fn entity_type(&mut self) -> Parsed<EntityType> {
        let at = self.at;
        let (path, id) = self.path("the name of an entity type")?;
        if id.is_some() {
            let problem = Problem::expected("the name of an entity type", "an entity");
            return Err(Found::new(at, problem));
        }
        EntityType::parse(&path).map_err(|problem| Found::new(at, problem))
    }

    pub(super) fn entity(&mut self) -> Parsed<EntityUid> {
        if let Token::Slot(slot) = self.token {
            return Err(Found::new(self.at, Problem::MisplacedSlot { slot: slot.into() }));
        }
        let at = self.at;
        let (path, id) = self.path("an entity")?;
        let id = id.ok_or_else(|| self.unexpected("`::` and the ID of an entity"))?;
        let kind = EntityType::parse(&path).map_err(|problem| Found::new(at, problem))?;
        Ok(EntityUid::new(kind, id))
    }
}

pub(super) fn duplicate(what: &'static str, name: &str) -> Problem {
    Problem::Duplicate { what, name: name.into() }
}

//! The grammar of CEL by recursive descent. Depth is bounded; the first error ends it.

use minik_meta::cel::RESERVED;

use super::ast::{Call, DEPTH_MAX, Entry, Expr, Item, Kind, Literal, StructField};
use super::balance::{Logical, balance};
use super::lex::{Token, Word, Wrong, words};
use super::macros;
use super::{CompileError, Source};

const STARTS: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, \
                      NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// Parses an expression; also says how many nodes there are.
pub(crate) fn parse(source: Source<'_>) -> Result<(Expr, usize), CompileError> {
    let parsed = words(source.0).and_then(|words| {
        let mut parser = Parser { text: source.0, words, at: 0, nodes: 0, nesting: 0 };
        let expr = parser.expr()?;
        match parser.peek() {
            Word::End => Ok((expr, parser.nodes as usize)),
            _ => Err(parser.mismatch("<EOF>")),
        }
    });
    parsed.map_err(|wrong| source.error(wrong.at, wrong.message))
}

pub(super) struct Parser<'s> {
    text: &'s str,
    words: Vec<Token>,
    at: usize,
    nodes: u32,
    nesting: u16,
}

type Parsed = Result<Expr, Wrong>;

impl Parser<'_> {
    fn peek(&self) -> &Word {
        &self.words[self.at].word
    }

    fn place(&self) -> u32 {
        self.words[self.at].at
    }

    fn advance(&mut self) -> Word {
        let word = self.words[self.at].word.clone();
        // The last word, the end, stays.
        self.at = (self.at + 1).min(self.words.len() - 1);
        word
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Word::Sign(one) if *one == sign)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Wrong> {
        if self.eat(sign) { Ok(()) } else { Err(self.mismatch(&format!("'{sign}'"))) }
    }

    fn mismatch(&self, expected: &str) -> Wrong {
        let token = &self.words[self.at];
        let found = match token.word {
            Word::End => "<EOF>",
            _ => &self.text[token.at as usize..token.end as usize],
        };
        Wrong::syntax(token.at, format_args!("mismatched input '{found}' expecting {expected}"))
    }

    /// A new node.
    pub(super) fn node(&mut self, at: u32, kind: Kind) -> Parsed {
        let mut below = 0;
        kind.each(|expr| below = below.max(expr.depth));
        if below >= DEPTH_MAX {
            return Err(too_deep(at));
        }
        let id = self.nodes;
        self.nodes += 1;
        Ok(Expr { id, at, depth: below + 1, kind })
    }

    pub(super) fn call(&mut self, at: u32, function: &str, args: Vec<Expr>) -> Parsed {
        let call = Call { function: function.into(), target: None, args };
        self.node(at, Kind::Call(Box::new(call)))
    }

    fn expr(&mut self) -> Parsed {
        self.nesting += 1;
        if self.nesting > DEPTH_MAX {
            return Err(too_deep(self.place()));
        }
        let condition = self.logical(Logical::Or)?;
        let at = self.place();
        let result = if self.eat("?") {
            let yes = self.logical(Logical::Or)?;
            self.expect(":")?;
            let no = self.expr()?;
            self.node(at, Kind::Conditional(Box::new([condition, yes, no])))
        } else {
            Ok(condition)
        };
        self.nesting -= 1;
        result
    }

    fn logical(&mut self, logical: Logical) -> Parsed {
        let sign = if logical == Logical::Or { "||" } else { "&&" };
        let mut terms = Vec::new();
        let mut places = Vec::new();
        loop {
            terms.push(match logical {
                Logical::Or => self.logical(Logical::And)?,
                Logical::And => self.binary(0)?,
            });
            let at = self.place();
            if !self.eat(sign) {
                break;
            }
            places.push(at);
        }
        balance(terms, &places, &mut |at, left, right| self.node(at, logical.kind(left, right)))
    }

    fn operator(&self) -> Option<(u8, &'static str)> {
        Some(match self.peek() {
            Word::Ident(name) if name == "in" => (1, "@in"),
            Word::Sign("==") => (1, "_==_"),
            Word::Sign("!=") => (1, "_!=_"),
            Word::Sign("<") => (1, "_<_"),
            Word::Sign("<=") => (1, "_<=_"),
            Word::Sign(">") => (1, "_>_"),
            Word::Sign(">=") => (1, "_>=_"),
            Word::Sign("+") => (2, "_+_"),
            Word::Sign("-") => (2, "_-_"),
            Word::Sign("*") => (3, "_*_"),
            Word::Sign("/") => (3, "_/_"),
            Word::Sign("%") => (3, "_%_"),
            _ => return None,
        })
    }

    /// Operators that bind tighter than `above`, left to right.
    fn binary(&mut self, above: u8) -> Parsed {
        let mut left = self.unary()?;
        while let Some((binding, function)) = self.operator()
            && binding > above
        {
            let at = self.place();
            self.advance();
            let right = self.binary(binding)?;
            left = self.call(at, function, vec![left, right])?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        let at = self.place();
        let sign = match self.peek() {
            Word::Sign("!") => "!",
            Word::Sign("-") => "-",
            _ => return self.member(false),
        };
        let mut count = 0;
        while self.eat(sign) {
            count += 1;
        }
        let number = matches!(self.peek(), Word::Int(_) | Word::Double(_));
        let negative = sign == "-" && number;
        let operand = self.member(negative)?;
        let left = if negative { count - 1 } else { count };
        match (left % 2, sign) {
            (0, _) => Ok(operand),
            (_, "!") => self.call(at, "!_", vec![operand]),
            _ => self.call(at, "-_", vec![operand]),
        }
    }

    fn member(&mut self, negative: bool) -> Parsed {
        let mut expr = self.primary(negative)?;
        loop {
            let at = self.place();
            if self.eat(".") {
                let optional = self.eat("?");
                let Word::Ident(name) = self.peek().clone() else {
                    return Err(self.mismatch("IDENTIFIER"));
                };
                self.advance();
                let open = self.place();
                expr = if optional {
                    self.node(at, Kind::OptionalSelect(Box::new(expr), name.into()))?
                } else if self.eat("(") {
                    let args = self.arguments()?;
                    macros::call(self, open, &name, Some(expr), args)?
                } else {
                    self.node(at, Kind::Select(Box::new(expr), name.into()))?
                };
            } else if self.eat("[") {
                let function = if self.eat("?") { "_[?_]" } else { "_[_]" };
                let index = self.expr()?;
                self.expect("]")?;
                expr = self.call(at, function, vec![expr, index])?;
            } else if self.is("{")
                && let Some(name) = expr.qualified_name()
            {
                self.advance();
                let fields = self.fields()?;
                expr = self.node(at, Kind::Struct(name.into(), fields))?;
            } else {
                return Ok(expr);
            }
        }
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, Wrong> {
        let mut args = Vec::new();
        if self.eat(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if !self.eat(",") {
                self.expect(")")?;
                return Ok(args);
            }
        }
    }

    fn fields(&mut self) -> Result<Vec<StructField>, Wrong> {
        let mut fields = Vec::new();
        loop {
            if self.eat("}") {
                return Ok(fields);
            }
            let optional = self.eat("?");
            let Word::Ident(name) = self.peek().clone() else {
                return Err(self.mismatch("{'}', ',', IDENTIFIER}"));
            };
            self.advance();
            let at = self.place();
            self.expect(":")?;
            let value = self.expr()?;
            fields.push(StructField { optional, at, name: name.into(), value });
            if !self.eat(",") {
                self.expect("}")?;
                return Ok(fields);
            }
        }
    }

    fn primary(&mut self, negative: bool) -> Parsed {
        let at = self.place();
        let literal = match self.peek().clone() {
            Word::Int(number) => Literal::Int(signed(number, negative, at)?),
            Word::Uint(number) => Literal::Uint(number),
            Word::Double(number) => Literal::Double(if negative { -number } else { number }),
            Word::String(text) => Literal::String(text.into()),
            Word::Bytes(bytes) => Literal::Bytes(bytes.into()),
            Word::Ident(name) => match name.as_str() {
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                "null" => Literal::Null,
                "in" => return Err(self.mismatch(STARTS)),
                _ => return self.name(name),
            },
            Word::Sign("(") => {
                self.advance();
                let expr = self.expr()?;
                self.expect(")")?;
                return Ok(expr);
            }
            Word::Sign("[") => return self.list(),
            Word::Sign("{") => return self.map(),
            Word::Sign(".") => {
                self.advance();
                let Word::Ident(name) = self.peek().clone() else {
                    return Err(self.mismatch("IDENTIFIER"));
                };
                return self.name(name);
            }
            Word::Sign(_) | Word::End => return Err(self.mismatch(STARTS)),
        };
        self.advance();
        self.node(at, Kind::Literal(literal))
    }

    fn name(&mut self, name: String) -> Parsed {
        let at = self.place();
        self.advance();
        if RESERVED.contains(&name.as_str()) {
            return Err(Wrong::new(at, format!("reserved identifier: {name}")));
        }
        let open = self.place();
        if self.eat("(") {
            let args = self.arguments()?;
            return macros::call(self, open, &name, None, args);
        }
        self.node(at, Kind::Ident(name.into()))
    }

    fn list(&mut self) -> Parsed {
        let at = self.place();
        self.advance();
        let mut items = Vec::new();
        while !self.eat("]") {
            let optional = self.eat("?");
            items.push(Item { optional, value: self.expr()? });
            if !self.eat(",") {
                self.expect("]")?;
                break;
            }
        }
        self.node(at, Kind::List(items))
    }

    fn map(&mut self) -> Parsed {
        let at = self.place();
        self.advance();
        let mut entries = Vec::new();
        while !self.eat("}") {
            let optional = self.eat("?");
            let key = self.expr()?;
            self.expect(":")?;
            entries.push(Entry { optional, key, value: self.expr()? });
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        self.node(at, Kind::Map(entries))
    }
}

fn too_deep(at: u32) -> Wrong {
    Wrong::new(at, format!("expression recursion limit exceeded: {DEPTH_MAX}"))
}

fn signed(number: u64, negative: bool, at: u32) -> Result<i64, Wrong> {
    let wide = if negative { -i128::from(number) } else { i128::from(number) };
    i64::try_from(wide).map_err(|_| Wrong::new(at, "invalid int literal"))
}

#[cfg(test)]
mod tests;

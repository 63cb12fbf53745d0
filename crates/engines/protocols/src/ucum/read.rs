//! The grammar of a unit (UCUM §5 to §12): products and quotients from left to right, parentheses,
//! exponents, whole numbers, and annotations in braces.

use super::atoms::{ATOMS, Atom, Dimension, PREFIXES};
use super::linear::Scale;

/// How deep parentheses may stand in each other.
const DEPTH: usize = 8;
/// The greatest exponent.
const GREATEST: i32 = 30;

/// A unit: a value of it is `value × scale + offset` in base units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    pub(super) scale: Scale,
    pub(super) offset: f64,
    pub(super) dimension: Dimension,
}

impl Unit {
    const ONE: Self =
        Self { scale: Scale::ONE, offset: 0.0, dimension: Dimension { exponents: [0; 7], own: None } };

    fn power(self, exponent: i32) -> Option<Self> {
        let factor = i8::try_from(exponent).ok()?;
        let mut dimension = self.dimension;
        for e in &mut dimension.exponents {
            *e = e.checked_mul(factor)?;
        }
        dimension.own = match dimension.own {
            Some((own, e)) => Some((own, e.checked_mul(factor)?)).filter(|(_, e)| *e != 0),
            None => None,
        };
        Some(Self { scale: self.scale.power(exponent), offset: 0.0, dimension })
    }

    fn times(self, other: Self) -> Option<Self> {
        let mut dimension = self.dimension;
        for (e, o) in dimension.exponents.iter_mut().zip(other.dimension.exponents) {
            *e = e.checked_add(o)?;
        }
        dimension.own = match (self.dimension.own, other.dimension.own) {
            (own, None) | (None, own) => own,
            (Some((a, m)), Some((b, n))) if a == b => Some((a, m.checked_add(n)?)).filter(|(_, e)| *e != 0),
            // Two kinds that nothing converts to, in one product.
            (Some(_), Some(_)) => return None,
        };
        Some(Self { scale: self.scale.times(other.scale), offset: 0.0, dimension })
    }
}

/// Reads a unit.
pub(super) fn unit(text: &str) -> Result<Unit, String> {
    if text.is_empty() {
        return Err("is empty; a number without unit is 1".into());
    }
    let mut reader = Reader { rest: text, depth: 0, alone: None, parts: 0 };
    let unit = reader.term()?;
    if !reader.rest.is_empty() {
        return Err(format!("{:?} was not expected", first(reader.rest)));
    }
    let Some(alone) = reader.alone else {
        return if unit.scale.is_sound() { Ok(unit) } else { Err("its scale is beyond all measure".into()) };
    };
    if reader.parts > 1 {
        let code = alone.code;
        return Err(format!(
            "{code} cannot be part of a product, since its scale does not begin at nothing; use K"
        ));
    }
    Ok(Unit { scale: alone.scale, offset: alone.offset, dimension: alone.dimension })
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
    /// A unit that may only stand alone, when one was met.
    alone: Option<&'static Atom>,
    /// How many things were multiplied or raised.
    parts: usize,
}

impl<'a> Reader<'a> {
    fn eat(&mut self, c: char) -> bool {
        let eaten = self.rest.strip_prefix(c);
        if let Some(rest) = eaten {
            self.rest = rest;
        }
        eaten.is_some()
    }

    /// `a.b/c`, from left to right; `/a` is one over a.
    fn term(&mut self) -> Result<Unit, String> {
        let mut unit = Unit::ONE;
        let mut divide = self.eat('/');
        self.parts += usize::from(divide);
        loop {
            let next = self.component()?;
            let next = if divide { next.power(-1) } else { Some(next) };
            unit = next
                .and_then(|next| unit.times(next))
                .ok_or("its exponents are beyond all measure, or it multiplies what cannot be multiplied")?;
            divide = if self.eat('.') {
                false
            } else if self.eat('/') {
                true
            } else {
                return Ok(unit);
            };
        }
    }

    fn component(&mut self) -> Result<Unit, String> {
        if self.eat('(') {
            self.depth += 1;
            if self.depth > DEPTH {
                return Err(format!("parentheses stand more than {DEPTH} deep"));
            }
            let unit = self.term()?;
            self.depth -= 1;
            return if self.eat(')') { Ok(unit) } else { Err("a parenthesis does not end".into()) };
        }
        if self.rest.starts_with('{') {
            self.annotation()?;
            return Ok(Unit::ONE);
        }
        self.parts += 1;
        let unit = match self.rest.starts_with("10*") || self.rest.starts_with("10^") {
            false if self.rest.starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
            _ => self.simple()?,
        };
        if self.rest.starts_with('{') {
            self.annotation()?;
        }
        Ok(unit)
    }

    fn annotation(&mut self) -> Result<(), String> {
        let end = self.rest.find('}').ok_or("an annotation does not end")?;
        self.rest = &self.rest[end + 1..];
        Ok(())
    }

    fn digits(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits
    }

    fn number(&mut self) -> Result<Unit, String> {
        let number: u32 = self.digits().parse().map_err(|_| "a number in it is too large")?;
        if number == 0 {
            return Err("a factor is 0".into());
        }
        Ok(Unit { scale: Scale::new(f64::from(number), 0), ..Unit::ONE })
    }

    fn simple(&mut self) -> Result<Unit, String> {
        let symbol = self.symbol()?;
        let (prefix, atom) = find(symbol).ok_or_else(|| format!("no unit {symbol:?} is known"))?;
        if atom.stands_alone() {
            self.alone = Some(atom);
        }
        let scale = prefix.map_or(atom.scale, |prefix| prefix.times(atom.scale));
        let unit = Unit { scale, offset: 0.0, dimension: atom.dimension };
        let negative = self.eat('-');
        let signed = negative || self.eat('+');
        let digits = self.digits();
        if digits.is_empty() {
            return if signed { Err("an exponent has a sign and no digits".into()) } else { Ok(unit) };
        }
        let exponent: i32 = digits
            .parse()
            .ok()
            .filter(|e| *e <= GREATEST)
            .ok_or(format!("an exponent is above {GREATEST}"))?;
        self.parts += 1;
        unit.power(if negative { -exponent } else { exponent })
            .ok_or_else(|| "its exponents are beyond all measure".into())
    }

    /// Everything up to what cannot be part of a symbol; what stands in brackets can.
    fn symbol(&mut self) -> Result<&'a str, String> {
        let text = self.rest;
        let mut end = 0;
        if let Some(ten) = ["10*", "10^"].into_iter().find(|ten| text.starts_with(ten)) {
            end = ten.len();
        } else {
            let mut bracket = false;
            for (at, c) in text.char_indices() {
                match c {
                    '[' => bracket = true,
                    ']' => bracket = false,
                    _ if bracket => {}
                    '.' | '/' | '(' | ')' | '{' | '}' | '+' | '-' | '0'..='9' => break,
                    _ => {}
                }
                end = at + c.len_utf8();
            }
            if bracket {
                return Err("a bracket does not end".into());
            }
        }
        if end == 0 {
            return Err(if text.is_empty() {
                "something is missing at its end".into()
            } else {
                format!("{:?} was not expected", first(text))
            });
        }
        let (symbol, rest) = text.split_at(end);
        self.rest = rest;
        Ok(symbol)
    }
}

fn first(text: &str) -> &str {
    text.chars().next().map_or("", |c| &text[..c.len_utf8()])
}

/// The unit of a symbol, with its prefix if it has one. A whole symbol goes first: `min` is a
/// minute and `cd` a candela.
fn find(symbol: &str) -> Option<(Option<Scale>, &'static Atom)> {
    let atom = |code: &str| ATOMS.iter().find(|a| a.code == code);
    if let Some(atom) = atom(symbol) {
        return Some((None, atom));
    }
    PREFIXES.iter().find_map(|(prefix, scale)| {
        let atom = atom(symbol.strip_prefix(prefix)?).filter(|a| a.metric)?;
        Some((Some(*scale), atom))
    })
}

//! Conditions of gateways, in CEL (Common Expression Language).
//!
//! A condition sees `data` (all of the case's data), `outcome` and `values` (of the user task
//! completed last on the token's way; `null` and an empty object before any), and every member of
//! `data` whose name is an identifier under its own name. It must yield a boolean.
//!
//! Bounded: at most [`MAX_SOURCE`] bytes of text, brackets at most [`MAX_NESTING`] deep, and loops
//! (`all`, `exists`, `map`, `filter`) that do not nest, so that an evaluation costs at most the text
//! times the data. Strings are plain ones in single or double quotes.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr};
use cel::{Context, Env, Program};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// The longest condition, in bytes.
pub const MAX_SOURCE: usize = 1000;

/// How deep brackets may nest. CEL's parser takes up to 190 KiB of stack for each in an unoptimised
/// build (a thread has 2 MiB), and its own limit counts other things.
pub const MAX_NESTING: usize = 6;
/// How deep operators may nest, for the same reason when evaluating (32 KiB each): `1 + 1 + …`
/// counts every sign.
const MAX_DEPTH: usize = 24;

/// CEL's standard library; built once, because every evaluation needs it.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// What a condition may call besides operators. A name that is not here would only be found out
/// when a case comes to the gateway, so it is refused at load.
const FUNCTIONS: &[&str] =
    &["size", "contains", "startsWith", "endsWith", "int", "uint", "double", "string", "bool", "type", "dyn"];

/// A condition that compiles.
#[derive(Clone, Debug)]
pub struct Condition {
    source: String,
    program: Arc<Program>,
}

/// Why a condition cannot be used, or cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Longer than [`MAX_SOURCE`].
    #[error("the condition has {0} bytes, at most {MAX_SOURCE} are allowed: decide in several gateways")]
    TooLong(usize),
    /// Not CEL.
    #[error("the condition is not valid CEL: {0}")]
    Syntax(String),
    /// Calls what the engine does not have.
    #[error("the condition calls {0:?}, which there is not; functions are {list}", list = FUNCTIONS.join(", "))]
    Function(String),
    /// Brackets or operators too deep.
    #[error("the condition nests too deep (brackets at most {MAX_NESTING}): decide in several gateways")]
    TooDeep,
    /// A loop inside a loop.
    #[error("the condition has a loop inside a loop (all, exists, map, filter): use one")]
    NestedLoop,
    /// The data lacks something, or has another type than the condition expects.
    #[error("{0}")]
    Evaluation(String),
    /// Neither true nor false.
    #[error("it gives {0}, not true or false")]
    NotBoolean(&'static str),
}

/// What a condition is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The case's data.
    pub data: &'a Map<String, Value>,
    /// The answers of the user task completed last, if one was.
    pub values: Option<&'a Value>,
}

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    /// When it is too long, not CEL, nests loops or calls an unknown function.
    pub fn compile(source: &str) -> Result<Self, ConditionError> {
        let source = source.trim();
        if source.len() > MAX_SOURCE {
            return Err(ConditionError::TooLong(source.len()));
        }
        check_nesting(source)?;
        let program = STANDARD.compile(source).map_err(|e| {
            ConditionError::Syntax(e.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
        })?;
        inspect(program.expression(), 0, false)?;
        Ok(Self { source: source.to_owned(), program: Arc::new(program) })
    }

    /// The text, without white space around it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// When it refers to what is not there, compares what cannot be compared, or gives no boolean.
    pub fn holds(&self, facts: Facts<'_>) -> Result<bool, ConditionError> {
        let mut context = Context::with_env(Arc::clone(&STANDARD));
        for (name, value) in facts.data {
            if self.program.references().has_variable(name) {
                context.add_variable_from_value(name.as_str(), to_cel(value));
            }
        }
        // After the members of `data`, so that a member of one of these names cannot hide them.
        let outcome = facts.values.and_then(|v| v.get("outcome")).map_or(cel::Value::Null, to_cel);
        context.add_variable_from_value("outcome", outcome);
        context.add_variable_from_value("values", facts.values.map_or_else(|| object(&Map::new()), to_cel));
        context.add_variable_from_value("data", object(facts.data));
        match self.program.execute(&context) {
            Ok(cel::Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(ConditionError::NotBoolean(type_name(&other))),
            Err(e) => Err(ConditionError::Evaluation(e.to_string())),
        }
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.source)
    }
}

/// Measures how deep brackets nest before the parser gets the text. Only plain strings are let
/// through, so that what is a bracket and what is text is beyond doubt.
fn check_nesting(source: &str) -> Result<(), ConditionError> {
    let syntax = |reason: &str| Err(ConditionError::Syntax(reason.to_owned()));
    let mut depth = 0usize;
    let mut before = ' ';
    let mut rest = source.chars();
    while let Some(c) = rest.next() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '/' if before == '/' => return syntax("comments are not allowed; use <documentation>"),
            '"' | '\'' if before.is_alphanumeric() || before == '"' || before == '\'' => {
                return syntax("only plain strings are allowed, in single or double quotes");
            }
            '"' | '\'' => loop {
                match rest.next() {
                    Some('\\') => drop(rest.next()),
                    Some('\n' | '\r') | None => return syntax("a string does not end on its line"),
                    Some(end) if end == c => break,
                    Some(_) => {}
                }
            },
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err(ConditionError::TooDeep);
        }
        before = c;
    }
    Ok(())
}

/// Walks the expression for depth, loops inside loops and unknown functions.
fn inspect(e: &IdedExpr, depth: usize, in_loop: bool) -> Result<(), ConditionError> {
    if depth > MAX_DEPTH {
        return Err(ConditionError::TooDeep);
    }
    let inner = |e: &IdedExpr| inspect(e, depth + 1, in_loop);
    match &e.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Ok(()),
        Expr::Call(call) => {
            let operator = call.func_name.starts_with(|c: char| !c.is_ascii_alphabetic());
            if !operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                return Err(ConditionError::Function(call.func_name.clone()));
            }
            call.target.iter().map(AsRef::as_ref).chain(&call.args).try_for_each(inner)
        }
        Expr::Comprehension(_) if in_loop => Err(ConditionError::NestedLoop),
        Expr::Comprehension(c) => {
            let parts = [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result];
            parts.into_iter().try_for_each(|e| inspect(e, depth + 1, true))
        }
        Expr::List(list) => list.elements.iter().try_for_each(inner),
        Expr::Select(select) => inner(&select.operand),
        Expr::Map(map) => map.entries.iter().flat_map(parts_of).try_for_each(inner),
        Expr::Struct(of) => of.entries.iter().flat_map(parts_of).try_for_each(inner),
    }
}

fn parts_of(entry: &IdedEntryExpr) -> Vec<&IdedExpr> {
    match &entry.expr {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

/// JSON as CEL sees it: whole numbers are `int` whenever they fit, so that `data.count + 1` works.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(b) => cel::Value::Bool(*b),
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => cel::Value::Int(i),
            (None, Some(u)) => cel::Value::UInt(u),
            (None, None) => cel::Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(s) => cel::Value::String(Arc::new(s.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(members) => object(members),
    }
}

fn object(members: &Map<String, Value>) -> cel::Value {
    cel::Value::from(members.iter().map(|(k, v)| (k.clone(), to_cel(v))).collect::<HashMap<_, _>>())
}

fn type_name(value: &cel::Value) -> &'static str {
    match value {
        cel::Value::Null => "null",
        cel::Value::Int(_) | cel::Value::UInt(_) | cel::Value::Float(_) => "a number",
        cel::Value::String(_) => "a string",
        cel::Value::List(_) => "a list",
        cel::Value::Map(_) => "an object",
        _ => "another value",
    }
}

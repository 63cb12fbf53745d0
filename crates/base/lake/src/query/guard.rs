//! Which statements are run at all.
//!
//! One statement that reads, and one that can be planned in bounded time on a bounded stack: the
//! parser bounds how deep parentheses go, and here is bounded what makes a plan deep (operators,
//! joins, set operations) or wide (a common table expression is planned once for every mention,
//! so that a few lines may stand for millions of tables).

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Statement as Sql, Visit as _, Visitor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::QueryError;

/// Bytes of a statement.
pub const MAX_TEXT: usize = 64 << 10;
/// How deep expressions and queries stand in each other.
const MAX_DEPTH: usize = 48;
/// What makes plans deep, all together.
const MAX_OPERATORS: usize = 512;
/// Tables after common table expressions have been written out.
const MAX_TABLES: u64 = 64;
/// Bytes of all text constants: one may be repeated for every row.
const MAX_CONSTANTS: usize = 16 << 10;

/// A statement that may be run.
pub(crate) struct Accepted {
    pub(crate) statement: Statement,
    /// It asks for the plan, not for rows.
    pub(crate) explain: bool,
}

/// Reads a statement and refuses what is not a single reading one.
pub(crate) fn accept(text: &str) -> Result<Accepted, QueryError> {
    let refused = |why: &str| Err(QueryError::Refused(why.to_owned()));
    if text.len() > MAX_TEXT {
        return refused("the statement is longer than 64 KiB; shorten it");
    }
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().map_err(|e| {
        QueryError::Statement {
            message: e.message.clone(),
            position: Some((e.location.line, e.location.column)),
        }
    })?;
    let plain = || tokens.iter().map(|t| &t.token);
    let constants: usize = plain().filter_map(constant).map(str::len).sum();
    if constants > MAX_CONSTANTS {
        return refused("the texts in quotes are longer than 16 KiB together; shorten them");
    }
    if plain().filter(|token| deepens(token)).count() > MAX_OPERATORS {
        return refused("the statement has more than 512 operators, joins and set operations; split it");
    }
    let mut statements = DFParserBuilder::new(tokens)
        .with_dialect(&PostgreSqlDialect {})
        .with_recursion_limit(MAX_DEPTH)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|e| at_the_end(super::run::statement_error(e), text))?;
    let statement = match (statements.pop_front(), statements.len()) {
        (None, _) => return refused("there is no statement; write a SELECT"),
        (Some(one), 0) => one,
        _ => return refused("only one statement at a time; remove what follows the first"),
    };
    let explain = match &statement {
        Statement::Statement(sql) => is_reading(sql)?,
        Statement::Explain(explained) => {
            if explained.options.analyze || explained.options.verbose {
                return refused("EXPLAIN is allowed without ANALYZE and VERBOSE");
            }
            match &*explained.statement {
                Statement::Statement(sql) if matches!(**sql, Sql::Query(_)) => true,
                _ => return refused("EXPLAIN is allowed of a SELECT only"),
            }
        }
        _ => return refused(READS_ONLY),
    };
    let inner = match &statement {
        Statement::Explain(explained) => &*explained.statement,
        other => other,
    };
    if let Statement::Statement(sql) = inner {
        let mut weigher = Weigher { of: HashMap::new(), names: HashMap::new(), open: vec![0] };
        if let ControlFlow::Break(()) = sql.visit(&mut weigher) {
            return refused(
                "the statement mentions more than 64 tables once its WITH clauses are written out; split it",
            );
        }
    }
    Ok(Accepted { statement, explain })
}

/// The parser says "found: EOF" without saying where that is.
fn at_the_end(error: QueryError, text: &str) -> QueryError {
    match error {
        QueryError::Statement { message, position: None } if message.contains("found: EOF") => {
            let line = text.lines().count().max(1) as u64;
            let column = text.lines().last().map_or(0, |last| last.chars().count()) as u64 + 1;
            QueryError::Statement { message, position: Some((line, column)) }
        }
        other => other,
    }
}

const READS_ONLY: &str = "only statements that read are run: one SELECT, WITH … SELECT or EXPLAIN";

fn is_reading(sql: &Sql) -> Result<bool, QueryError> {
    match sql {
        Sql::Query(query) => {
            if query.with.as_ref().is_some_and(|with| with.recursive) {
                return Err(QueryError::Refused("WITH RECURSIVE is not run".into()));
            }
            Ok(false)
        }
        Sql::Explain { analyze: false, verbose: false, statement, .. }
            if matches!(**statement, Sql::Query(_)) =>
        {
            Ok(true)
        }
        Sql::Explain { .. } => {
            Err(QueryError::Refused("EXPLAIN is allowed of a SELECT, without ANALYZE and VERBOSE".into()))
        }
        _ => Err(QueryError::Refused(READS_ONLY.into())),
    }
}

fn constant(token: &Token) -> Option<&str> {
    match token {
        Token::SingleQuotedString(text)
        | Token::NationalStringLiteral(text)
        | Token::EscapedStringLiteral(text)
        | Token::UnicodeStringLiteral(text)
        | Token::HexStringLiteral(text)
        | Token::DoubleQuotedString(text) => Some(text),
        Token::DollarQuotedString(text) => Some(&text.value),
        _ => None,
    }
}

/// Whether a token may nest one part of a plan in another without a parenthesis.
fn deepens(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            const DEEP: [&str; 22] = [
                "AND",
                "OR",
                "XOR",
                "NOT",
                "IS",
                "LIKE",
                "ILIKE",
                "SIMILAR",
                "BETWEEN",
                "IN",
                "AT",
                "COLLATE",
                "DIV",
                "JOIN",
                "UNION",
                "INTERSECT",
                "EXCEPT",
                "MINUS",
                "SELECT",
                "FROM",
                "CASE",
                "OVER",
            ];
            word.quote_style.is_none() && DEEP.iter().any(|deep| word.value.eq_ignore_ascii_case(deep))
        }
        Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::SemiColon
        | Token::Whitespace(_)
        | Token::Number(..)
        | Token::Placeholder(_)
        | Token::EOF => false,
        other => constant(other).is_none(),
    }
}

/// Counts tables, a common table expression as many as it stands for.
struct Weigher {
    /// By name: what a mention of it costs. Of two with one name the heavier counts.
    of: HashMap<String, u64>,
    /// Queries that are common table expressions, by their place in memory.
    names: HashMap<*const Query, String>,
    /// Of the queries being read, what they weigh so far.
    open: Vec<u64>,
}

impl Weigher {
    fn add(&mut self, weight: u64) -> ControlFlow<()> {
        let Some(open) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        *open = open.saturating_add(weight);
        if *open > MAX_TABLES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Visitor for Weigher {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.names.insert(&raw const *cte.query, cte.alias.name.value.to_lowercase());
        }
        self.open.push(0);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        // A query without a table is still planned.
        let weight = self.open.pop().unwrap_or_default().max(1);
        if let Some(name) = self.names.get(&(&raw const *query)) {
            let known = self.of.entry(name.clone()).or_default();
            *known = weight.max(*known);
        }
        self.add(weight)
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let name = relation.0.last().and_then(|part| part.as_ident()).map(|name| name.value.to_lowercase());
        let weight = name.and_then(|name| self.of.get(&name).copied()).unwrap_or(1);
        self.add(weight)
    }
}

/// Where a message of the parser says that it is, and the message without it.
pub(crate) fn position(message: &str) -> Option<(String, (u64, u64))> {
    let at = message.find(" at Line: ")?;
    let rest = &message[at + " at Line: ".len()..];
    let (line, rest) = rest.split_once(", Column: ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((message[..at].to_owned(), (line.trim().parse().ok()?, digits.parse().ok()?)))
}

/// What is wrong as the parser says it, without the names of its types.
pub(crate) fn plain(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let mut text = text.as_str();
    for prefix in [
        "SQL error: ",
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "Arrow error: ",
        "Invalid argument error: ",
        "Optimizer rule ",
        "External error: ",
        "This feature is not implemented: ",
    ] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    unwrapped(text)
}

/// A message without the parser's name around it.
pub(crate) fn unwrapped(text: &str) -> String {
    let text = ["ParserError(\"", "TokenizerError(\""]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    text.strip_suffix("\")").unwrap_or(text).to_owned()
}

//! Lists: one typed filter tree that always carries the caller's scope, and cursor paging.
//!
//! Nothing else in the hub builds SQL text. Column names and the select's head are `&'static
//! str`, every value is a parameter.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::AreaPath;
use serde::{Deserialize, Serialize};

use crate::sql::FromAnyRow;
use crate::{Store, StoreError, Value};

/// A condition on the rows of a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every row.
    All,
    /// No row.
    Nothing,
    /// The column equals the value.
    Is(&'static str, Value),
    /// The column is one of the values.
    In(&'static str, Vec<Value>),
    /// The column is at least the value.
    AtLeast(&'static str, Value),
    /// The column is less than the value.
    Below(&'static str, Value),
    /// The column is NULL.
    Null(&'static str),
    /// The column (an area path) lies in one of the areas: the scope. No area, no row.
    Within(&'static str, Vec<AreaPath>),
    /// The text occurs in one of the columns; ASCII letters in either case.
    Contains(Vec<&'static str>, String),
    /// All of them.
    And(Vec<Filter>),
    /// Any of them.
    Or(Vec<Filter>),
    /// Not that.
    Not(Box<Filter>),
}

impl Filter {
    /// `self` and `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::All => other,
            Self::And(mut all) => {
                all.push(other);
                Self::And(all)
            }
            one => Self::And(vec![one, other]),
        }
    }

    fn write(&self, sql: &mut String, args: &mut Vec<Value>) {
        let mut param = |sql: &mut String, value: Value| {
            args.push(value);
            sql.push('$');
            sql.push_str(&args.len().to_string());
        };
        match self {
            Self::All => sql.push_str("1=1"),
            Self::Nothing => sql.push_str("1=0"),
            Self::Is(column, value) => {
                sql.push_str(column);
                sql.push('=');
                param(sql, value.clone());
            }
            Self::AtLeast(column, value) => {
                sql.push_str(column);
                sql.push_str(">=");
                param(sql, value.clone());
            }
            Self::Below(column, value) => {
                sql.push_str(column);
                sql.push('<');
                param(sql, value.clone());
            }
            Self::Null(column) => {
                sql.push_str(column);
                sql.push_str(" IS NULL");
            }
            Self::In(_, values) if values.is_empty() => sql.push_str("1=0"),
            Self::In(column, values) => {
                sql.push_str(column);
                sql.push_str(" IN (");
                for (i, value) in values.iter().enumerate() {
                    if i > 0 {
                        sql.push(',');
                    }
                    param(sql, value.clone());
                }
                sql.push(')');
            }
            Self::Within(_, areas) if areas.is_empty() => sql.push_str("1=0"),
            Self::Within(column, areas) => {
                sql.push('(');
                for (i, area) in areas.iter().enumerate() {
                    if i > 0 {
                        sql.push_str(" OR ");
                    }
                    // A prefix as a range, so that the index serves it: paths end in '/', and
                    // the next character after '/' is '0'.
                    let from = area.as_str();
                    let to = format!("{}0", from.strip_suffix('/').unwrap_or(from));
                    sql.push('(');
                    sql.push_str(column);
                    sql.push_str(">=");
                    param(sql, Value::from(from));
                    sql.push_str(" AND ");
                    sql.push_str(column);
                    sql.push('<');
                    param(sql, Value::from(to));
                    sql.push(')');
                }
                sql.push(')');
            }
            Self::Contains(columns, text) => {
                let pattern: String = text
                    .to_lowercase()
                    .chars()
                    .flat_map(|c| if matches!(c, '%' | '_' | '\\') { vec!['\\', c] } else { vec![c] })
                    .collect();
                let pattern = format!("%{pattern}%");
                sql.push('(');
                for (i, column) in columns.iter().enumerate() {
                    if i > 0 {
                        sql.push_str(" OR ");
                    }
                    sql.push_str("lower(");
                    sql.push_str(column);
                    sql.push_str(") LIKE ");
                    param(sql, Value::from(&pattern));
                    sql.push_str(" ESCAPE '\\'");
                }
                sql.push(')');
            }
            Self::And(all) if all.is_empty() => sql.push_str("1=1"),
            Self::Or(any) if any.is_empty() => sql.push_str("1=0"),
            Self::And(many) | Self::Or(many) => {
                let between = if matches!(self, Self::And(_)) { " AND " } else { " OR " };
                sql.push('(');
                for (i, one) in many.iter().enumerate() {
                    if i > 0 {
                        sql.push_str(between);
                    }
                    one.write(sql, args);
                }
                sql.push(')');
            }
            Self::Not(one) => {
                sql.push_str("NOT (");
                one.write(sql, args);
                sql.push(')');
            }
        }
    }
}

/// A column (or expression) to order by. It must not be NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ascending.
    Up(&'static str),
    /// Descending.
    Down(&'static str),
}

impl Order {
    fn column(self) -> &'static str {
        match self {
            Self::Up(c) | Self::Down(c) => c,
        }
    }
}

/// What a list asks for.
#[derive(Clone, Debug)]
pub struct Select {
    /// The text up to `WHERE`: `SELECT … FROM alerts`.
    pub head: &'static str,
    /// Which rows; carries the scope.
    pub filter: Filter,
    /// The order; the last one must be unique.
    pub order: Vec<Order>,
}

/// Which page of a list, as the client asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PageRequest {
    /// Rows a page, 1 to 500; 50 when absent.
    pub limit: Option<i64>,
    /// What the page before gave as `next`.
    pub after: Option<String>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Ask for the page after this one with `after` set to it; `None` on the last page.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// The same page with each row made something else.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}

/// A value of a cursor: what the last row of a page held in an ordering column.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Key {
    I64(i64),
    F64(f64),
    Text(String),
}

/// The value of an ordering column, for the cursor.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyValue {
    /// An integer column.
    I64(i64),
    /// A double column.
    F64(f64),
    /// A text column.
    Text(String),
}

/// A row that says what it holds in the ordering columns of its list.
pub trait Keyed {
    /// Its values in the ordering columns, in their order.
    fn key(&self) -> Vec<KeyValue>;
}

/// The largest page.
pub const LARGEST_PAGE: i64 = 500;

impl Store {
    /// One page of a list.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`] for an `after` that the list did not give out.
    pub async fn list<T: FromAnyRow + Keyed>(
        &self,
        select: Select,
        page: &PageRequest,
    ) -> Result<Page<T>, StoreError> {
        let limit = page.limit.unwrap_or(50).clamp(1, LARGEST_PAGE);
        let (sql, args) = build(&select, page.after.as_deref(), limit + 1)?;
        let mut items: Vec<T> = self.read().built(sql, args).await.map_err(|e| match e {
            // PostgreSQL compares no number with a text: the cursor holds another list's values.
            StoreError::Statement(_) if page.after.is_some() => StoreError::BadCursor,
            e => e,
        })?;
        let next = if items.len() as i64 > limit {
            items.truncate(limit as usize);
            items.last().map(|row| encode(row.key()))
        } else {
            None
        };
        Ok(Page { items, next })
    }

    /// All rows of a list, `most` at most: for exports and counts, with the same filters.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn select<T: FromAnyRow>(&self, select: &Select, most: i64) -> Result<Vec<T>, StoreError> {
        let (sql, args) = build(select, None, most)?;
        self.read().built(sql, args).await
    }
}

fn encode(key: Vec<KeyValue>) -> String {
    let keys: Vec<Key> = key
        .into_iter()
        .map(|v| match v {
            KeyValue::I64(v) => Key::I64(v),
            KeyValue::F64(v) => Key::F64(v),
            KeyValue::Text(v) => Key::Text(v),
        })
        .collect();
    // Numbers and texts always serialise.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&keys).unwrap_or_default())
}

fn build(select: &Select, after: Option<&str>, limit: i64) -> Result<(String, Vec<Value>), StoreError> {
    let mut sql = String::with_capacity(256);
    let mut args = Vec::new();
    sql.push_str(select.head);
    sql.push_str(" WHERE ");
    select.filter.write(&mut sql, &mut args);
    if let Some(after) = after {
        let bytes = URL_SAFE_NO_PAD.decode(after).map_err(|_| StoreError::BadCursor)?;
        let keys: Vec<Key> = serde_json::from_slice(&bytes).map_err(|_| StoreError::BadCursor)?;
        if keys.len() != select.order.len() {
            return Err(StoreError::BadCursor);
        }
        let values: Vec<Value> = keys
            .into_iter()
            .map(|k| match k {
                Key::I64(v) => Value::from(v),
                Key::F64(v) => Value::from(v),
                Key::Text(v) => Value::from(v),
            })
            .collect();
        // (a, b) after (x, y) with mixed directions: (a > x OR (a = x AND (b < y)))
        let mut condition = String::new();
        for (i, (order, value)) in select.order.iter().zip(values).enumerate().rev() {
            let column = order.column();
            let sign = if matches!(order, Order::Up(_)) { '>' } else { '<' };
            args.push(value);
            let n = args.len();
            condition = if i + 1 == select.order.len() {
                format!("({column} {sign} ${n})")
            } else {
                format!("({column} {sign} ${n} OR ({column} = ${n} AND {condition}))")
            };
        }
        sql.push_str(" AND ");
        sql.push_str(&condition);
    }
    sql.push_str(" ORDER BY ");
    for (i, order) in select.order.iter().enumerate() {
        if i > 0 {
            sql.push_str(", ");
        }
        sql.push_str(order.column());
        sql.push_str(if matches!(order, Order::Up(_)) { " ASC" } else { " DESC" });
    }
    args.push(Value::from(limit));
    sql.push_str(&format!(" LIMIT ${}", args.len()));
    Ok((sql, args))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_is_a_range_and_values_are_parameters() {
        let select = Select {
            head: "SELECT * FROM t",
            filter: Filter::Within("area", vec![AreaPath::parse("50/1/").unwrap()])
                .and(Filter::Contains(vec!["name"], "5%".into())),
            order: vec![Order::Up("severity"), Order::Down("at"), Order::Up("id")],
        };
        let after = encode(vec![KeyValue::I64(1), KeyValue::I64(2), KeyValue::Text("x".into())]);
        let (sql, args) = build(&select, Some(&after), 10).unwrap();
        assert_eq!(
            sql,
            "SELECT * FROM t WHERE (((area>=$1 AND area<$2)) AND (lower(name) LIKE $3 ESCAPE '\\')) AND \
             (severity > $6 OR (severity = $6 AND (at < $5 OR (at = $5 AND (id > $4))))) \
             ORDER BY severity ASC, at DESC, id ASC LIMIT $7"
        );
        assert_eq!(args[..3], [Value::from("50/1/"), Value::from("50/10"), Value::from("%5\\%%")]);
        for bad in ["", "!", "bm8", "WzFd"] {
            assert!(matches!(build(&select, Some(bad), 1), Err(StoreError::BadCursor)), "{bad}");
        }
    }
}

//! Rows as JSON, as a table for a spreadsheet, as an Arrow stream.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use jiff::tz::TimeZone;
use lake::query::{Cell, Kind, arrow_stream, cells, kind};
use model::Micros;
use platform::http::{self, HttpResult, Problem, Table};
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ColumnKind {
    /// Yes or no.
    Boolean,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
    /// Texts.
    Text,
    /// Instants.
    Time,
}

impl From<Kind> for ColumnKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Boolean => Self::Boolean,
            Kind::Integer => Self::Integer,
            Kind::Number => Self::Number,
            Kind::Text => Self::Text,
            Kind::Time => Self::Time,
        }
    }
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Csv,
    Arrow,
}

impl Form {
    /// The first form that the request accepts; JSON when it names none of ours.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut kinds = accepted.flat_map(|value| value.split(',')).filter_map(|part| part.split(';').next());
        kinds
            .find_map(|kind| match kind.trim() {
                "text/csv" => Some(Self::Csv),
                ARROW => Some(Self::Arrow),
                "application/json" => Some(Self::Json),
                _ => None,
            })
            .unwrap_or(Self::Json)
    }
}

const ARROW: &str = "application/vnd.apache.arrow.stream";

/// What was found.
pub(super) struct Found {
    pub(super) schema: lake::query::Schema,
    pub(super) batches: Vec<lake::query::Batch>,
    pub(super) truncated: bool,
    pub(super) seconds: f64,
    pub(super) scanned: u64,
}

/// The answer. Whether it was cut off stands in the header `X-Truncated`, for forms that have no
/// place for it.
pub(super) async fn written(found: Found, form: Form, zone: TimeZone) -> HttpResult<Response> {
    let truncated = found.truncated;
    // Writing a hundred thousand rows takes long enough to hold up others.
    let body = tokio::task::spawn_blocking(move || match form {
        Form::Json => json(&found),
        Form::Csv => csv(&found, &zone),
        Form::Arrow => arrow_stream(&found.schema, &found.batches).map_err(|e| e.to_string()),
    });
    let body = body.await.map_err(|_| Problem::internal())?.map_err(|e| {
        tracing::error!(error = %e, "an answer could not be written");
        Problem::internal()
    })?;
    let kind = match form {
        Form::Json => "application/json",
        Form::Csv => "text/csv; charset=utf-8",
        Form::Arrow => ARROW,
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::HeaderName::from_static("x-truncated"), if truncated { "true" } else { "false" }),
    ];
    let mut response = (headers, Body::from(body)).into_response();
    if form == Form::Csv {
        let name = header::HeaderValue::from_static("attachment; filename=\"query.csv\"");
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

#[derive(Serialize)]
struct Written<'f> {
    columns: Vec<super::AnswerColumn>,
    rows: Rows<'f>,
    truncated: bool,
    seconds: f64,
    scanned_rows: u64,
}

struct Rows<'f>(&'f Found);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(None)?;
        for batch in &self.0.batches {
            for row in cells(batch).map_err(serde::ser::Error::custom)? {
                rows.serialize_element(&row.iter().map(Value).collect::<Vec<_>>())?;
            }
        }
        rows.end()
    }
}

struct Value<'c>(&'c Cell);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Cell::Null => serializer.serialize_none(),
            Cell::Boolean(value) => serializer.serialize_bool(*value),
            Cell::Integer(value) => serializer.serialize_i64(*value),
            Cell::Large(value) => serializer.serialize_u64(*value),
            // JSON has no infinity and no NaN: they become null.
            Cell::Number(value) => serializer.serialize_f64(*value),
            Cell::Text(text) => serializer.serialize_str(text),
            Cell::Time(at) => at.serialize(serializer),
        }
    }
}

fn json(found: &Found) -> Result<Vec<u8>, String> {
    let columns = found.schema.fields().iter().map(|field| super::AnswerColumn {
        name: field.name().clone(),
        r#type: kind(field.data_type()).into(),
    });
    let written = Written {
        columns: columns.collect(),
        rows: Rows(found),
        truncated: found.truncated,
        seconds: found.seconds,
        scanned_rows: found.scanned,
    };
    serde_json::to_vec(&written).map_err(|e| e.to_string())
}

fn csv(found: &Found, zone: &TimeZone) -> Result<Vec<u8>, String> {
    // A heading is whatever the statement calls it: no more trusted than a cell.
    let names: Vec<String> = found
        .schema
        .fields()
        .iter()
        .map(|field| match field.name().chars().next() {
            Some('=' | '+' | '-' | '@' | '\t' | '\r' | '＝' | '＋' | '－' | '＠') => {
                format!("'{}", field.name())
            }
            _ => field.name().clone(),
        })
        .collect();
    let headings: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let mut table = Table::new(false, zone, &headings).map_err(|e| e.to_string())?;
    for batch in &found.batches {
        for row in cells(batch).map_err(|e| e.to_string())? {
            table.row(row.into_iter().map(|cell| in_table(cell, zone))).map_err(|e| e.to_string())?;
        }
    }
    table.finish().map_err(|e| e.to_string())
}

fn in_table(cell: Cell, zone: &TimeZone) -> http::Cell {
    match cell {
        Cell::Null => http::Cell::Plain(String::new()),
        Cell::Boolean(value) => http::Cell::Plain(value.to_string()),
        Cell::Integer(value) => whole(value.to_string()),
        Cell::Large(value) => http::Cell::Plain(value.to_string()),
        Cell::Number(value) => http::Cell::Number(Some(value)),
        Cell::Text(text) => http::Cell::Plain(text),
        Cell::Time(at) => http::Cell::Plain(local(at, zone)),
    }
}

/// A whole number keeps all its digits; a negative one is a number and no formula.
fn whole(text: String) -> http::Cell {
    #[expect(clippy::cast_precision_loss, reason = "only taken when it loses nothing")]
    match text.parse::<i64>() {
        Ok(value) if value < 0 && value > -(1 << 53) => http::Cell::Number(Some(value as f64)),
        _ => http::Cell::Plain(text),
    }
}

/// In the hub's zone, with what there is below the second.
fn local(at: Micros, zone: &TimeZone) -> String {
    at.timestamp().to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.f").to_string()
}

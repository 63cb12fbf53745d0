//! A list as CSV (RFC 4180) that a spreadsheet opens: with a byte order mark, times in the hub's
//! zone, and no cell that would run as a formula.

use jiff::tz::TimeZone;
use model::{Micros, Severity, Text};

/// A cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words in the table's language.
    Words(Text),
    /// A text as it is.
    Plain(String),
    /// A number, or nothing.
    Number(Option<f64>),
    /// An instant, or nothing.
    Time(Option<Micros>),
    /// A warning colour, or nothing.
    Severity(Option<Severity>),
}

/// A table being written.
pub struct Table<'z> {
    english: bool,
    zone: &'z TimeZone,
    out: csv::Writer<Vec<u8>>,
}

impl<'z> Table<'z> {
    /// A table with its headings, Chinese and English.
    ///
    /// # Errors
    /// None in memory; the writer's own otherwise.
    pub fn new(english: bool, zone: &'z TimeZone, headings: &[(&str, &str)]) -> Result<Self, csv::Error> {
        let mut out = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer("\u{feff}".as_bytes().to_vec());
        out.write_record(headings.iter().map(|(zh, en)| if english { en } else { zh }))?;
        Ok(Self { english, zone, out })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When it has more or fewer cells than there are headings.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) -> Result<(), csv::Error> {
        let cells: Vec<String> = cells.into_iter().map(|cell| self.text(cell)).collect();
        self.out.write_record(cells)
    }

    /// The bytes.
    ///
    /// # Errors
    /// None in memory; the writer's own otherwise.
    pub fn finish(self) -> Result<Vec<u8>, csv::Error> {
        self.out.into_inner().map_err(|e| csv::Error::from(e.into_error()))
    }

    fn text(&self, cell: Cell) -> String {
        let pick = |zh: &str, en: &str| if self.english { en.to_owned() } else { zh.to_owned() };
        match cell {
            Cell::Words(words) => harmless(pick(&words.zh, &words.en)),
            Cell::Plain(text) => harmless(text),
            Cell::Number(value) => value.map(|v| v.to_string()).unwrap_or_default(),
            Cell::Time(at) => at
                .map(|at| at.timestamp().to_zoned_datetime(self.zone.clone()))
                .map(|at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
                .unwrap_or_default(),
            Cell::Severity(None) => String::new(),
            Cell::Severity(Some(Severity::Red)) => pick("红色", "red"),
            Cell::Severity(Some(Severity::Orange)) => pick("橙色", "orange"),
            Cell::Severity(Some(Severity::Yellow)) => pick("黄色", "yellow"),
            Cell::Severity(Some(Severity::Blue)) => pick("蓝色", "blue"),
        }
    }
}

/// A text that a spreadsheet shows and does not run: one that begins as formulas do (in the
/// full-width forms that East Asian spreadsheets take, too) gets an apostrophe before it.
pub(super) fn harmless(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']) {
        format!("'{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_only_shown_and_cells_are_quoted() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let mut table =
            Table::new(false, &zone, &[("名称", "Name"), ("时间", "Time"), ("数值", "Value")]).unwrap();
        for name in ["=1+1", "@SUM(A1)", "-2", "＝1", "3 栋", "a=1", "a,\"b\""] {
            table
                .row([Cell::Plain(name.into()), Cell::Time(Some(Micros(0))), Cell::Number(Some(-0.5))])
                .unwrap();
        }
        let text = String::from_utf8(table.finish().unwrap()).unwrap();
        let names: Vec<&str> = text.lines().skip(1).map(|l| l.rsplitn(3, ',').last().unwrap()).collect();
        assert_eq!(names, ["'=1+1", "'@SUM(A1)", "'-2", "'＝1", "3 栋", "a=1", "\"a,\"\"b\"\"\""]);
        assert!(text.starts_with("\u{feff}名称,时间,数值\r\n'=1+1,1970-01-01 08:00:00,-0.5\r\n"), "{text}");
    }
}

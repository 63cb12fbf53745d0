//! Alerts as CSV (RFC 4180) that a spreadsheet opens: with a byte order mark, times in the hub's
//! zone, and no cell that would run as a formula.

use jiff::tz::TimeZone;
use model::{Micros, Severity};

use super::alerts::{Alert, AlertState};

/// The table.
pub(super) fn alerts(alerts: &[Alert], english: bool, zone: &TimeZone) -> Result<Vec<u8>, csv::Error> {
    let pick = |zh: &str, en: &str| if english { en.to_owned() } else { zh.to_owned() };
    let time = |at: Option<Micros>| {
        at.map(|at| at.timestamp().to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string())
            .unwrap_or_default()
    };
    let number = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
    let mut out = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer("\u{feff}".as_bytes().to_vec());
    out.write_record([
        pick("编号", "Number"),
        pick("级别", "Severity"),
        pick("状态", "State"),
        pick("标题", "Title"),
        pick("对象", "Thing"),
        pick("名称", "Name"),
        pick("位置", "Place"),
        pick("区域", "Area"),
        pick("数值", "Value"),
        pick("单位", "Unit"),
        pick("发生时间", "Opened"),
        pick("签收时间", "Acknowledged"),
        pick("签收人", "By"),
        pick("恢复时间", "Resolved"),
    ])?;
    for alert in alerts {
        let severity = match alert.severity {
            Severity::Red => pick("红色", "red"),
            Severity::Orange => pick("橙色", "orange"),
            Severity::Yellow => pick("黄色", "yellow"),
            Severity::Blue => pick("蓝色", "blue"),
        };
        let state = match alert.state {
            AlertState::Open => pick("未签收", "open"),
            AlertState::Acknowledged => pick("已签收", "acknowledged"),
            AlertState::Resolved => pick("已恢复", "resolved"),
        };
        out.write_record([
            harmless(alert.number.clone()),
            severity,
            state,
            harmless(pick(&alert.title.zh, &alert.title.en)),
            harmless(alert.thing.clone()),
            harmless(pick(&alert.thing_name.zh, &alert.thing_name.en)),
            harmless(pick(&alert.place.zh, &alert.place.en)),
            harmless(pick(&alert.area.name.zh, &alert.area.name.en)),
            number(alert.value),
            harmless(alert.unit.clone()),
            time(Some(alert.opened_at)),
            time(alert.acknowledged_at),
            harmless(alert.acknowledged_by.clone().unwrap_or_default()),
            time(alert.resolved_at),
        ])?;
    }
    out.into_inner().map_err(|e| csv::Error::from(e.into_error()))
}

/// A text that a spreadsheet shows and does not run: one that begins as formulas do gets an
/// apostrophe before it.
fn harmless(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    #[test]
    fn formulas_are_only_shown() {
        for (text, shown) in [
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-2", "'-2"),
            ("3 栋", "3 栋"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(super::harmless(text.to_owned()), shown);
        }
    }
}

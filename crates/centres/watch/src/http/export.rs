//! Alerts as a table for a spreadsheet.

use jiff::tz::TimeZone;
use model::Text;
use platform::http::{Cell, Table};

use super::alerts::{Alert, AlertState};

/// The table.
pub(super) fn alerts(alerts: &[Alert], english: bool, zone: &TimeZone) -> Result<Vec<u8>, csv::Error> {
    let mut table = Table::new(
        english,
        zone,
        &[
            ("编号", "Number"),
            ("级别", "Severity"),
            ("状态", "State"),
            ("标题", "Title"),
            ("对象", "Thing"),
            ("名称", "Name"),
            ("位置", "Place"),
            ("区域", "Area"),
            ("数值", "Value"),
            ("单位", "Unit"),
            ("发生时间", "Opened"),
            ("签收时间", "Acknowledged"),
            ("签收人", "By"),
            ("恢复时间", "Resolved"),
        ],
    )?;
    for alert in alerts {
        let state = match alert.state {
            AlertState::Open => Text::new("未签收", "open"),
            AlertState::Acknowledged => Text::new("已签收", "acknowledged"),
            AlertState::Resolved => Text::new("已恢复", "resolved"),
        };
        table.row([
            Cell::Plain(alert.number.clone()),
            Cell::Severity(Some(alert.severity)),
            Cell::Words(state),
            Cell::Words(alert.title.clone()),
            Cell::Plain(alert.thing.clone()),
            Cell::Words(alert.thing_name.clone()),
            Cell::Words(alert.place.clone()),
            Cell::Words(alert.area.name.clone()),
            Cell::Number(alert.value),
            Cell::Plain(alert.unit.clone()),
            Cell::Time(Some(alert.opened_at)),
            Cell::Time(alert.acknowledged_at),
            Cell::Plain(alert.acknowledged_by.clone().unwrap_or_default()),
            Cell::Time(alert.resolved_at),
        ])?;
    }
    table.finish()
}

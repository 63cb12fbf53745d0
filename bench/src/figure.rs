//! What a bench says: tables for people, and one JSON line a figure.

use serde::Serialize;

/// One figure, as the last lines of a bench print it.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Which bench.
    pub bench: &'static str,
    /// What the figure is of.
    pub what: String,
    /// The figure.
    pub figure: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it must be.
    pub must: Option<String>,
    /// What we aim at.
    pub aim: Option<String>,
    /// Which of the two it meets; nothing when it has neither.
    pub met: Option<Met>,
    /// Who else was measured in the same run.
    pub peer: Option<Peer>,
    /// Ours to the peer's.
    pub ratio: Option<f64>,
    /// The machine's cores.
    pub cores: usize,
}

/// A named peer of the same run.
#[derive(Clone, Debug, Serialize)]
pub struct Peer {
    /// Its name and version.
    pub name: String,
    /// Its figure.
    pub figure: f64,
}

/// What a figure meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Met {
    /// The aim, and with it what must be.
    Aim,
    /// What must be.
    Must,
    /// Neither.
    No,
}

impl Figure {
    /// A figure that is only printed.
    pub fn new(bench: &'static str, what: impl Into<String>, figure: f64, unit: &'static str) -> Self {
        Self {
            bench,
            what: what.into(),
            figure: (figure * 1000.0).round() / 1000.0,
            unit,
            must: None,
            aim: None,
            met: None,
            peer: None,
            ratio: None,
            cores: crate::machine::cores(),
        }
    }

    /// Beside a peer; the figure's ratio to the peer's is what bounds are of.
    pub fn beside(mut self, name: impl Into<String>, figure: f64) -> Self {
        self.peer = Some(Peer { name: name.into(), figure: (figure * 1000.0).round() / 1000.0 });
        self.ratio = Some((self.figure / figure * 1000.0).round() / 1000.0);
        self
    }

    /// With bounds from below, of the ratio where there is a peer.
    pub fn at_least(mut self, must: f64, aim: f64, condition_held: bool) -> Self {
        self.must = Some(format!(">= {must}"));
        self.aim = Some(format!(">= {aim}"));
        self.met = Some(match self.ratio.unwrap_or(self.figure) {
            _ if !condition_held => Met::No,
            f if f >= aim => Met::Aim,
            f if f >= must => Met::Must,
            _ => Met::No,
        });
        self
    }

    /// With bounds that the figure must stay below.
    pub fn below(mut self, must: f64, aim: f64) -> Self {
        self.must = Some(format!("< {must}"));
        self.aim = Some(format!("< {aim}"));
        self.met = Some(match self.figure {
            f if f < aim => Met::Aim,
            f if f < must => Met::Must,
            _ => Met::No,
        });
        self
    }

    /// With an upper bound that must hold and a lower one that is aimed at. When the condition
    /// that the bound was promised under did not hold (less load, something lost), nothing is met.
    /// The bounds are of the ratio where there is a peer.
    pub fn at_most(mut self, must: f64, aim: f64, condition_held: bool) -> Self {
        self.must = Some(format!("<= {must}"));
        self.aim = Some(format!("<= {aim}"));
        self.met = Some(match self.ratio.unwrap_or(self.figure) {
            _ if !condition_held => Met::No,
            f if f <= aim => Met::Aim,
            f if f <= must => Met::Must,
            _ => Met::No,
        });
        self
    }
}

/// A table in columns: the first to the left, the others to the right.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count());
        cells.chain(header.get(column).map(|h| h.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (column, cell) in cells.enumerate() {
            let width = widths.get(column).copied().unwrap_or(0);
            let cell = if column == 0 { format!("  {cell:<width$}") } else { format!("  {cell:>width$}") };
            text.push_str(&cell);
        }
        format!("{}\n", text.trim_end())
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_says_what_it_meets() {
        for (figure, held, met) in [
            (150.0, true, Met::Aim),
            (150.1, true, Met::Must),
            (500.0, true, Met::Must),
            (500.1, true, Met::No),
            (10.0, false, Met::No),
        ] {
            let judged = Figure::new("b", "w", figure, "ms").at_most(500.0, 150.0, held);
            assert_eq!(judged.met, Some(met), "{figure}");
        }
    }

    #[test]
    fn bounds_are_of_the_ratio_where_there_is_a_peer() {
        let figure = |ours: f64| Figure::new("b", "w", ours, "/s").beside("peer 1", 100.0);
        for (ours, held, met) in [
            (100.0, true, Met::Aim),
            (99.9, true, Met::Must),
            (50.0, true, Met::Must),
            (49.9, true, Met::No),
            (500.0, false, Met::No),
        ] {
            assert_eq!(figure(ours).at_least(0.5, 1.0, held).met, Some(met), "{ours}");
        }
        let judged = figure(150.0).at_most(2.0, 1.2, true);
        assert_eq!((judged.ratio, judged.met), (Some(1.5), Some(Met::Must)));
    }

    #[test]
    fn the_line_has_every_field_of_the_house() {
        let line = serde_json::to_value(Figure::new("b", "p50 of w", 1.23456, "ms")).unwrap();
        let cores = crate::machine::cores();
        let expected = serde_json::json!({"bench": "b", "what": "p50 of w", "figure": 1.235, "unit": "ms",
            "must": null, "aim": null, "met": null, "peer": null, "ratio": null, "cores": cores});
        assert_eq!(line, expected);
        let judged =
            serde_json::to_value(Figure::new("b", "w", 1.0, "ms").at_most(500.0, 150.0, true)).unwrap();
        assert_eq!((&judged["must"], &judged["met"]), (&"<= 500".into(), &"aim".into()));
    }

    #[test]
    fn columns_stand_under_each_other() {
        let text =
            table(&["a", "p50"], &[vec!["longer".into(), "1".into()], vec!["b".into(), "12345".into()]]);
        assert_eq!(text, "  a         p50\n  longer      1\n  b       12345\n");
    }
}

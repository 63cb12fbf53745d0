//! How long observations are kept, and how coarse the old ones become: declared by datastream.

use std::collections::BTreeMap;

use model::{DatastreamKey, IsoDuration, Micros};

/// How long a datastream's observations are kept. Without any word: for ever, as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Keep {
    /// Days that ended so long ago are deleted, as they came and by step.
    pub retention: Option<IsoDuration>,
    /// What is kept of older days instead of every sample; none, one, or several, ever coarser.
    pub downsample: Vec<Downsample>,
}

/// Days that ended `after` ago keep mean, lowest, highest, first, last and count by `step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Downsample {
    /// How long after the end of a day.
    pub after: IsoDuration,
    /// The step: whole seconds that divide a day.
    pub step: IsoDuration,
}

impl Keep {
    /// What is wrong with it, as a fragment.
    ///
    /// # Errors
    /// A retention or a step that makes no sense, or steps that do not become coarser with time
    /// so that the finer fits into the coarser.
    pub fn check(&self) -> Result<(), String> {
        if self.retention.is_some_and(|r| r.0 < Micros::DAY) {
            return Err("a retention must be a day or more".into());
        }
        let mut before: Option<&Downsample> = None;
        for d in &self.downsample {
            let (after, step) = (d.after, d.step);
            if step.0 < Micros::SECOND || step.0 % Micros::SECOND != 0 || Micros::DAY % step.0 != 0 {
                return Err(format!("the step {step} must be whole seconds that divide a day"));
            }
            if after.0 < Micros::DAY {
                return Err(format!("the step {step} must begin a day or more after"));
            }
            if self.retention.is_some_and(|r| r.0 <= after.0) {
                return Err(format!("the step {step} begins when nothing is kept any more"));
            }
            if before.is_some_and(|b| b.after.0 >= after.0 || b.step.0 >= step.0 || step.0 % b.step.0 != 0) {
                return Err(format!(
                    "the step {step} must begin later than the finer one before it and be a multiple of it"
                ));
            }
            before = Some(d);
        }
        Ok(())
    }

    /// What is due of a day that ended at `end`.
    fn due(&self, end: i64, now: i64) -> Option<Due> {
        let ago = now.saturating_sub(end);
        if self.retention.is_some_and(|r| r.0 <= ago) {
            return Some(Due::Delete);
        }
        let step = self.downsample.iter().rev().find(|d| d.after.0 <= ago)?;
        i32::try_from(step.step.0 / Micros::SECOND).ok().map(Due::Step)
    }
}

/// What is to become of a datastream's observations of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Due {
    /// Deleted.
    Delete,
    /// Only by this step (seconds).
    Step(i32),
}

/// What is declared of all datastreams.
pub(crate) type Keeps = BTreeMap<i32, Keep>;

/// Whom something is due of a day (days since 1970-01-01).
pub(crate) fn due(keeps: &Keeps, day: i64, now: Micros) -> BTreeMap<i32, Due> {
    let end = day.saturating_add(1).saturating_mul(Micros::DAY);
    keeps.iter().filter_map(|(key, keep)| Some((*key, keep.due(end, now.0)?))).collect()
}

/// Declarations by datastream.
pub(crate) fn by_key(keeps: Vec<(DatastreamKey, Keep)>) -> Keeps {
    keeps.into_iter().map(|(key, keep)| (key.0, keep)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(retention: Option<&str>, steps: &[(&str, &str)]) -> Keep {
        let duration = |text: &str| IsoDuration::parse(text).unwrap();
        Keep {
            retention: retention.map(duration),
            downsample: steps
                .iter()
                .map(|(after, step)| Downsample { after: duration(after), step: duration(step) })
                .collect(),
        }
    }

    #[test]
    fn declarations_that_make_no_sense_are_refused() {
        for (retention, steps, wrong) in [
            (None, &[][..], None),
            (Some("P400D"), &[("P30D", "PT5M"), ("P90D", "PT1H")], None),
            (Some("PT12H"), &[], Some("a day or more")),
            (None, &[("P30D", "PT7M")], Some("divide a day")),
            (None, &[("P30D", "PT0.5S")], Some("divide a day")),
            (None, &[("PT1H", "PT5M")], Some("a day or more after")),
            (Some("P30D"), &[("P30D", "PT5M")], Some("nothing is kept")),
            (None, &[("P30D", "PT5M"), ("P20D", "PT1H")], Some("later than the finer")),
            (None, &[("P30D", "PT10M"), ("P60D", "PT15M")], Some("multiple")),
        ] {
            let found = keep(retention, steps).check();
            match wrong {
                None => assert_eq!(found, Ok(()), "{retention:?} {steps:?}"),
                Some(wrong) => assert!(found.clone().is_err_and(|e| e.contains(wrong)), "{found:?}"),
            }
        }
    }

    #[test]
    fn what_is_due_is_the_coarsest_that_has_begun() {
        let keeps =
            Keeps::from([(1, keep(Some("P10D"), &[("P2D", "PT5M"), ("P4D", "PT1H")])), (2, Keep::default())]);
        for (days_ago, expected) in [
            (0, None),
            (2, None),
            (3, Some(Due::Step(300))),
            (5, Some(Due::Step(3600))),
            (10, Some(Due::Step(3600))),
            (11, Some(Due::Delete)),
        ] {
            let now = Micros(100 * Micros::DAY);
            let found = due(&keeps, 100 - days_ago, now);
            assert_eq!((found.get(&1).copied(), found.get(&2)), (expected, None), "{days_ago} days ago");
        }
    }
}
